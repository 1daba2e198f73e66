"""The fields of a pool file's [[cards]] table, in the noun's names and units.

Asked:  what does this line of the file say?
Answer: `values`: a table as the keywords of `Cards`; a field that there is not, or a value without its unit, is an error with its
        line.
Units:  files say "400 Gbit/s", "80 GB", "1.2 kW", "313 TFLOP/s", and a price as "2.10" in the pool's currency.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from forebay import units
from forebay.errors import BadInput, nearest
from forebay.fabric.quantity import line_of, speed, where, whole
from forebay.plan.kernels.known import NARROW

MOST = 100_000_000  # cards of a kind
KEYS = {
    "chip": "chip",
    "count": "count",
    "island": "island",
    "mesh": "mesh",
    "scale_up": "up_bytes_per_s",
    "scale_out": "out_bytes_per_s",
    "scale_up_latency_s": "up_latency_s",
    "scale_out_latency_s": "out_latency_s",
    "oversubscription": "oversubscription",
    "price_per_hour": "price_per_hour",
    "power": "watts",
    "memory": "memory_bytes",
    "bandwidth": "memory_bytes_per_s",
    "peak": "flop_per_s",
    "label": "label",
}


def known_keys(table: Mapping[str, Any], keys: tuple[str, ...], file: str, text: str) -> None:
    for key, value in table.items():
        if key not in keys:
            at = where(key, 0 if isinstance(value, (dict, list)) else line_of(text, key, value))
            said = f"{file}, {at}" if file else at
            raise BadInput(f"{said}: no field of that name.", found=key, hint=", ".join(nearest(key, list(keys)) or keys))


def values(row: Mapping[str, Any], currency: str, text: str) -> dict[str, Any]:
    """The fields of one [[cards]] table in the noun's names and units."""
    known_keys(row, tuple(KEYS), "", text)
    told: dict[str, Any] = {}
    for key, value in row.items():
        line = line_of(text, key, value)
        told[KEYS[key]] = _value(key, value, line, currency)
    for key in ("chip", "count"):
        if key not in told:
            line = line_of(text, "chip", row["chip"]) if "chip" in row else 0
            raise BadInput(f"{where('cards', line)}: {key} is missing.", hint='chip = "h100-sxm" and count = 64')
    return told


def _value(key: str, value: Any, line: int, currency: str) -> Any:
    at = where(key, line)
    if key == "mesh":
        return whole(value, key, line, least=0)
    if key in ("count", "island"):
        if isinstance(value, str) or whole(value, key, line, least=1) > MOST:
            raise BadInput(f"{at}: a whole number, 1 to {MOST:,}.", found=repr(value))
        return int(value)
    if key in ("scale_up", "scale_out", "bandwidth"):
        return speed(value, key, line)
    if key == "peak":
        return _peaks(value, at)
    if key in ("chip", "label"):
        if not isinstance(value, str) or (key == "chip" and not value):
            raise BadInput(f"{at}: a text.", found=repr(value))
        return value
    if key in ("power", "memory"):
        parse, example = (units.parse_watts, "700 W") if key == "power" else (units.parse_bytes, "80 GB")
        if not isinstance(value, str) or not re.search(r"[a-zA-Z]", value):
            raise BadInput(f"{at}: a quantity with its unit.", found=repr(value), hint=f'"{example}"')
        return _told(parse, value, at)
    if key == "price_per_hour":
        return _price(value, at, currency)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise BadInput(f"{at}: a number above zero.", found=repr(value))
    return float(value)


def _peaks(value: Any, at: str) -> dict[str, float]:
    """Dense peaks by number format."""
    example = 'peak = { bf16 = "313 TFLOP/s", fp8 = "626 TFLOP/s" }'
    if not isinstance(value, dict) or not value:
        raise BadInput(f"{at}: a dense peak for each number format.", found=repr(value), hint=example)
    for form, peak in value.items():
        if form not in NARROW:
            raise BadInput(f"{at}: no number format of that name.", found=form, hint=", ".join(NARROW))
        if not isinstance(peak, str) or not re.search(r"[a-zA-Z]", peak):
            raise BadInput(f"{at}: a quantity with its unit.", found=repr(peak), hint=example)
    return {form: float(_told(units.parse_flop_per_s, peak, at)) for form, peak in value.items()}


def _told(parse: Any, value: str, at: str) -> Any:
    try:
        x = parse(value)
    except BadInput as bad:
        raise BadInput(f"{at}: {bad.text[0].lower()}{bad.text[1:]}", found=repr(value), hint=bad.hint) from None
    if not x > 0:
        raise BadInput(f"{at}: above zero.", found=repr(value))
    return x


def _price(value: Any, at: str, currency: str) -> int:
    """Whole micro-units of the pool's currency."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise BadInput(f"{at}: an amount of money.", found=repr(value), hint='"2.10"')
    amount, _, unit = str(value).strip().partition(" ")
    if not currency:
        raise BadInput(f"{at}: a price without a currency.", found=repr(value), hint='currency = "CNY" at the top of the file')
    if unit and unit != currency:
        raise BadInput(f"{at}: the pool's currency is {currency}.", found=repr(value), hint=f"a price in {currency}")
    try:
        return units.parse_money(amount)
    except BadInput as bad:
        raise BadInput(f"{at}: {bad.text[0].lower()}{bad.text[1:]}", found=repr(value), hint='"2.10"') from None
