"""Measure a chip's ceilings, in processes of their own.

Asked:  what are the ceilings of this chip, whatever of its software hangs or crashes?
Answer: a process a kind, with a deadline; what it printed before it ended counts, and what it didn't is absent with the reason.
        Collectives run as one process a card. `shares` holds a ceiling against the chip's sheet and against another card.
Limits: a chip that cores stand in for isn't measured: its speed would be the host's. A machine with one card has no collectives.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import forebay
from forebay.chips.chip import Chip
from forebay.chips.scorecard import Ceiling, Scorecard
from forebay.codec import decode
from forebay.errors import BadInput

KINDS = ("matmul", "copy", "attention")
_PATIENCE = 3.0  # times the seconds that a kind was given; a device that needs longer hangs
_START_S = 120.0  # for importing torch and a vendor's plug-in, and compiling kernels
_BOTH_DIRECTIONS = 2  # a sheet's link is both directions summed, a collective's rate is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One ceiling, held against what it could be. None: there is nothing to hold it against."""

    ceiling: Ceiling
    of_sheet: float | None
    of_reference: float | None


def measure(
    device: str,
    *,
    imports: Sequence[str] = (),
    backend: str = "",
    cards: int = 1,
    seconds: float = 60.0,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> tuple[Ceiling, ...]:
    """All ceilings of a device. `seconds` is for each of the four kinds, about."""
    environ = {**(os.environ if environment is None else environment)}
    environ["PYTHONPATH"] = os.pathsep.join([str(Path(forebay.__file__).parents[1]), *filter(None, [environ.get("PYTHONPATH")])])
    more = ["--import", *imports] if imports else []
    found: list[Ceiling] = []
    for kind in KINDS:
        command = [python, "-m", "forebay.porting.certify.ceilings_worker", "--device", device, "--kind", kind]
        found += _run(kind, [([*command, "--seconds", str(seconds), *more], environ)], seconds)
    if cards > 1 and backend:
        command = [
            python,
            "-m",
            "forebay.porting.certify.ceilings_ranks",
            "--device",
            device,
            "--backend",
            backend,
            "--port",
            str(_port()),
        ]
        command += ["--seconds", str(seconds), *more]
        ranks = [(command, {**environ, "RANK": str(rank), "WORLD_SIZE": str(cards)}) for rank in range(cards)]
        found += _run("collective", ranks, seconds)
    else:
        why = "one card" if backend else "no backend of torch.distributed is known for this chip"
        found.append(Ceiling(kind="collective", name="all", unit="bytes/s", reason=why))
    return tuple(found)


def shares(card: Scorecard, chip: Chip | None, reference: Scorecard | None = None) -> tuple[Share, ...]:
    """Each ceiling as a share of the chip's sheet and of another chip's ceiling of the same name. Shares above 1 are kept."""
    return tuple(
        Share(
            ceiling=one,
            of_sheet=_share(one.value, nominal(one, chip)),
            of_reference=_share(one.value, reference.ceiling(one.kind, one.name) if reference else None),
        )
        for one in card.ceilings
    )


def nominal(ceiling: Ceiling, chip: Chip | None) -> float | None:
    """What the chip's sheet says of this ceiling, in its unit. None: nothing."""
    if chip is None:
        return None
    if ceiling.kind in ("matmul", "attention"):
        return chip.flop_per_s.get(ceiling.name.partition(" ")[0])
    if ceiling.kind == "collective":
        return chip.scale_up_bytes_per_s / _BOTH_DIRECTIONS if chip.scale_up_bytes_per_s else None
    return chip.memory_bytes_per_s if ceiling.name == "on the card" else None


def _share(value: float | None, whole: float | None) -> float | None:
    return value / whole if value is not None and whole else None


def _run(kind: str, ranks: Sequence[tuple[Sequence[str], Mapping[str, str]]], seconds: float) -> list[Ceiling]:
    """Start the processes of one kind and read what the first prints."""
    started = [
        subprocess.Popen(
            command, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for command, env in ranks
    ]
    try:
        told, complaint = started[0].communicate(timeout=seconds * _PATIENCE + _START_S)
        why = "" if started[0].returncode == 0 else _ending(started[0].returncode, complaint)
    except subprocess.TimeoutExpired:
        for process in started:
            process.kill()
        told, why = started[0].communicate()[0], "it hung and was stopped"
    finally:
        for process in started:
            process.kill()
            process.communicate()
    found = [one for line in told.splitlines() if (one := _ceiling(line)) is not None]
    if why:
        unit = "bytes/s" if kind in ("copy", "collective") else "flop/s"
        found.append(Ceiling(kind=kind, name="the rest" if found else "all", unit=unit, reason=why))
    return found


def _ceiling(line: str) -> Ceiling | None:
    """A worker's line; libraries print lines of their own."""
    try:
        return decode(Ceiling, json.loads(line))
    except (ValueError, BadInput):
        return None


def _ending(code: int, complaint: str) -> str:
    last = (complaint.strip().splitlines() or [""])[-1][:160]
    return f"its process was ended by signal {-code}" if code < 0 else f"its process ended with {code}: {last}"


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
