"""Parse and show quantities. The only file of the house with 1e9, 1024 or 8 in it.

Inside are bytes, seconds, flop, and whole micro-units of the operator's currency; people write "80 GB", "2h30m" and "0.35".
"GB" is 10^9 bytes and "GiB" is 2^30, as the standards say (IEC 80000-13).
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from forebay.errors import BadInput

KB, MB, GB, TB = 10**3, 10**6, 10**9, 10**12
KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40
BITS_PER_BYTE = 8
NS_PER_S = 10**9
NS_PER_MS = 10**6
MICRO_PER_UNIT = 10**6

_BYTES = {"b": 1, "kb": KB, "mb": MB, "gb": GB, "tb": TB, "kib": KIB, "mib": MIB, "gib": GIB, "tib": TIB,
          "k": KIB, "m": MIB, "g": GIB, "t": TIB, "": 1}  # fmt: skip
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_FLOP = {"gflop/s": 1e9, "gflops": 1e9, "tflop/s": 1e12, "tflops": 1e12, "pflop/s": 1e15, "pflops": 1e15}
_WATTS = {"w": 1.0, "kw": 1e3}
_RATE = {"b/s": 1, "kb/s": KB, "mb/s": MB, "gb/s": GB, "tb/s": TB,
         "bit/s": 1 / 8, "kbit/s": KB // 8, "mbit/s": MB // 8, "gbit/s": GB // 8, "tbit/s": TB // 8}  # fmt: skip


def parse_bytes(text: str) -> int:
    """Bytes in "80 GB", "1.5GiB", "512m" (a lone letter is binary, as in dd and Docker) or "1024"."""
    return int(_parse(text, _BYTES, "a size such as 80GB, 1.5GiB or 1024"))


def parse_seconds(text: str) -> float:
    """Seconds in "90", "90s", "2h30m", "1.5h", "1d"."""
    bare = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", bare):
        return float(bare)
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(ms|min|s|m|h|d)", bare)
    if not parts or "".join(n + u for n, u in parts) != bare.replace(" ", ""):
        raise BadInput("That is no length of time.", asked=repr(text), hint="90, 90s, 15m, 2h30m or 1d")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def parse_flop_per_s(text: str) -> float:
    """Flop a second in "312 TFLOP/s"."""
    return _parse(text, _FLOP, "a speed such as 312 TFLOP/s")


def parse_bytes_per_s(text: str) -> float:
    """Bytes a second in "3350 GB/s", "400 Gbit/s" or "400 Gbps". "400 Gb/s" is bits to some, bytes to others: refused."""
    if small := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgtKMGT]?)b/s\s*", text):
        said = f"{small[1]} {small[2] if small[2] == 'k' else small[2].upper()}"
        raise BadInput("Bits or bytes?", asked=repr(text), hint=f"{said}bit/s or {said}B/s")
    spelt = re.sub(r"(?<=[a-zA-Z])([bB])ps(?=\s*$)", lambda b: "bit/s" if b[1] == "b" else "B/s", text)
    return _parse(spelt, _RATE, "a rate such as 3350 GB/s or 400 Gbit/s")


def parse_watts(text: str) -> float:
    """Watts in "747 W" or "1.7 kW"."""
    return _parse(text, _WATTS, "a power such as 747 W or 1.7 kW")


def parse_money(text: str) -> int:
    """Whole micro-units in "0.35". Exact: no float on the way."""
    try:
        micro = Decimal(text.strip()) * MICRO_PER_UNIT
    except InvalidOperation:
        raise BadInput("That is no amount of money.", asked=repr(text), hint="a number such as 0.35") from None
    if not micro.is_finite() or micro < 0 or micro != micro.to_integral_value():
        raise BadInput("An amount is zero or more, with at most six digits after the point.", asked=repr(text))
    return int(micro)


def _parse(text: str, units: dict[str, int] | dict[str, float], example: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z/]*)\s*", text)
    if not found or found[2].lower() not in units:
        raise BadInput("That is no quantity that I can read.", asked=repr(text), hint=example)
    return float(found[1]) * units[found[2].lower()]


def show_bytes(n: float) -> str:
    """ "1.5 GB": decimal, three digits that count."""
    return _show(n, [(TB, "TB"), (GB, "GB"), (MB, "MB"), (KB, "kB")], "B")


def show_flop_per_s(x: float) -> str:
    return _show(x, [(10**15, "PFLOP/s"), (10**12, "TFLOP/s"), (10**9, "GFLOP/s"), (10**6, "MFLOP/s")], "FLOP/s")


def show_watts(x: float) -> str:
    return _show(x, [(10**6, "MW"), (10**3, "kW")], "W")


def show_joules(x: float) -> str:
    return _show(x, [(10**9, "GJ"), (10**6, "MJ"), (10**3, "kJ")], "J")


def show_bytes_per_s(x: float) -> str:
    return show_bytes(x) + "/s"


def write_bytes_per_s(x: float) -> str:
    """ "400 Gbit/s", "450 GB/s" where `parse_bytes_per_s` reads exactly that back; else every digit of "B/s"."""
    for text in (f"{x * BITS_PER_BYTE / GB:.10g} Gbit/s", f"{x / GB:.10g} GB/s"):
        if "e" not in text and len(text) < 16 and parse_bytes_per_s(text) == x:
            return text
    return f"{Decimal(x):f} B/s"


def _show(x: float, steps: list[tuple[int, str]], base: str) -> str:
    for size, name in steps:
        if x >= size:
            return f"{x / size:.3g} {name}" if x < 1000 * size else f"{x / size:,.0f} {name}"
    return f"{x:.3g} {base}"


def show_seconds(s: float) -> str:
    """ "0.35 s", "42 s", "3 m 20 s", "2 h 05 m"."""
    if s < 10:
        return f"{s:.2f} s"
    if s < 60:
        return f"{s:.0f} s"
    minutes, seconds = divmod(round(s), 60)
    if minutes < 60:
        return f"{minutes} m {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} m" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def show_money(micro: int, currency: str = "") -> str:
    """ "0.352000": all six digits, because bills add up."""
    whole, rest = divmod(abs(micro), MICRO_PER_UNIT)
    sign = "-" if micro < 0 else ""
    return f"{sign}{whole:,}.{rest:06d}" + (f" {currency}" if currency else "")
