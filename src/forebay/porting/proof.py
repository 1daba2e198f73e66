"""What was last run on a chip, by whom it doesn't matter: the date, the driver, the torch, and how much of the suite held.

Asked:  is an adapter true on its chip?
Answer: `accept` asks it every sentence of the acceptance suite, under the adapter's identity layer, and the answer is kept as a
        small file that `forebay port` and `forebay chips accept` read.
Limits: a run on fakechip proves the layer, not a card: it is kept apart by `on_card`. A driver is what its monitor prints first.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forebay.porting.accept import suite
from forebay.porting.shim import load
from forebay.porting.shim.build import find_torch
from forebay.porting.shim.carrier import choose
from forebay.porting.shim.chip.adapter import Adapter, card_is_here, version_of

NEVER = "never"


@dataclass(frozen=True)
class Proof:
    """One run of the acceptance suite over an adapter."""

    adapter: str
    date: str  # UTC, the day alone
    on_card: bool  # a card's device file was there
    driver: str  # "" when its monitor didn't say
    torch: str
    plugin: str  # package and version
    passed: int
    told: int  # checks that could be answered there
    areas: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Proof:
        return cls(**{**body, "areas": tuple(body["areas"])})

    def in_words(self) -> str:
        """For a table: what was run, or that it never was on a card."""
        if not self.on_card:
            return NEVER
        driver = f"driver {self.driver}, " if self.driver else ""
        return f"{self.date}: {driver}torch {self.torch}, {self.passed} of {self.told} checks"


def accept(
    adapter: Adapter,
    *,
    chip: str = "",
    cache: Path,
    cards: int,
    areas: Sequence[str] = suite.AREAS,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[tuple[suite.Verdict, ...], Proof]:
    """Run the suite under the adapter, which `chip` names where it lies in a module of its own.

    Raises what `carrier.choose` raises when the plug-in can't be used.
    """
    carrier = choose(cache, say, chip or adapter.name)
    environment = {**os.environ, **load.child_environment(carrier, cards)}
    verdicts = suite.run(areas=areas, environment=environment, python=sys.executable, say=say)
    told = [verdict for verdict in verdicts if verdict.verdict != "skipped"]
    return verdicts, Proof(
        adapter=adapter.name,
        date=datetime.now(UTC).date().isoformat(),
        on_card=bool(card_is_here(adapter)),
        driver=_driver(adapter),
        torch=find_torch().version,
        plugin=f"{adapter.package} {version_of(adapter)}".rstrip(),
        passed=sum(verdict.verdict == "pass" for verdict in told),
        told=len(told),
        areas=tuple(areas),
    )


def default_folder() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "forebay" / "proofs"


def keep(proof: Proof, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{proof.adapter}.json"
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(proof.to_json(), indent=1) + "\n")
    os.replace(draft, path)
    return path


def kept(adapter: str, folder: Path) -> Proof | None:
    """The last run of this adapter that was kept there, or None."""
    try:
        return Proof.from_json(json.loads((folder / f"{adapter}.json").read_text()))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _driver(adapter: Adapter) -> str:
    command = shutil.which(adapter.monitor) if adapter.monitor else None
    if command is None:
        return ""
    try:
        said = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next((line.strip() for line in said.splitlines() if line.strip()), "")
