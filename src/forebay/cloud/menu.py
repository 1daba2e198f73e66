"""Make the menu of a script: which chips can run it, in which counts.

Asked:  a tenant's program and what they said (--cards, --chip); the chips that the pool has. What may the scheduler choose from?
Answer: the chips that the report on the program allows, times the counts. A chip that was asked for by name and can't run it
        is refused with the report's reason; chips that nobody named are only taken where real cards are.
Limits: programs are read in a worker process, because they are a stranger's text; what was read is remembered by bundle and
        entry.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path

from forebay.chips.catalogue import find, load
from forebay.cloud.core.job import Option
from forebay.cloud.core.state import State
from forebay.data.bundle import unpack
from forebay.errors import BadInput, BadScript, DoesNotFit, Unavailable, nearest
from forebay.porting.findings import Verdict
from forebay.porting.report import verdicts
from forebay.porting.scan import scan_script
from forebay.units import MIB

LARGEST_CODE_BYTES = 1024 * MIB  # unpacked
GOOD = ("runs", "emulated")


class Reader:
    """Reads programs in a worker process, and remembers what it found."""

    def __init__(self, place: Path) -> None:
        """`place`: an empty folder, where programs are unpacked to be read."""
        self._place = place
        self._worker: ProcessPoolExecutor | None = None
        self._known: dict[tuple[str, str], dict[str, Verdict]] = {}

    async def verdicts(self, archive: Path, entry: str) -> dict[str, Verdict]:
        """What each chip of the catalogue would make of the program `entry` in a packed folder. Raises BadScript."""
        key = (archive.name, entry)
        if key not in self._known:
            worker = self._worker = self._worker or ProcessPoolExecutor(
                1, mp_context=multiprocessing.get_context("spawn"), initializer=_leave_with_the_cloud
            )
            try:
                found = await asyncio.get_running_loop().run_in_executor(worker, _read, str(archive), entry, str(self._place))
            except BrokenProcessPool:
                if self._worker is worker:
                    self._worker = None  # the next program gets a new one
                raise Unavailable(
                    "The process that reads programs died.",
                    asked=entry,
                    found="killed, or out of memory",
                    hint="try again; if it happens again, tell the operator",
                ) from None
            if isinstance(found, BadScript):
                raise found
            self._known[key] = found
        return self._known[key]

    def close(self) -> None:
        if self._worker:
            self._worker.shutdown(wait=False, cancel_futures=True)


def menu(
    state: State,
    judged: dict[str, Verdict],
    chips: Sequence[str],
    cards: Sequence[int],
    takes: Mapping[str, float] | None = None,
) -> tuple[Option, ...]:
    """The options, best first: chips in the order asked (or the pool's), counts in the order asked. `takes`: seconds that the job
    takes on a chip ("h100-sxm"), or on so many cards of it ("h100-sxm:8").
    """
    usable = [chip for chip in chips if _named(state, chip, judged)] if chips else _any(state, judged)
    takes = takes or {}
    known = {name for chip in usable for count in cards for name in (chip, f"{chip}:{count}")}
    for name in takes:
        if name not in known:
            find(name.partition(":")[0])  # raises Unknown with the nearest names
            raise BadInput("That isn't in the job's menu.", asked=f"takes {name}", found=", ".join(sorted(known)))
    return tuple(
        Option(chip=chip, cards=count, expected_s=takes.get(f"{chip}:{count}", takes.get(chip)))
        for chip in usable
        for count in cards
    )


def _named(state: State, chip: str, judged: dict[str, Verdict]) -> bool:
    find(chip)  # raises Unknown with the nearest names
    if not state.total.get(chip):
        there = ", ".join(f"{n} x {name}" for name, n in sorted(state.total.items())) or "no cards at all"
        close = nearest(chip, list(state.total))
        raise DoesNotFit(
            f"No centre has {chip}.",
            asked=chip,
            found=f"the pool has {there}",
            hint=f"--chip {close[0]}" if close else "`forebay pool`",
        )
    verdict = judged.get(chip)
    if verdict and verdict.verdict.value not in GOOD and _real(state, chip):
        raise BadScript(
            f"The script doesn't run on {chip} as it is.",
            asked=chip,
            found="; ".join(verdict.why),
            hint=f"forebay port SCRIPT --to {chip}",
        )
    return True


def _any(state: State, judged: dict[str, Verdict]) -> list[str]:
    good = [chip for chip in sorted(state.total) if _real(state, chip) and (not judged or judged[chip].verdict.value in GOOD)]
    if not good:
        why = (
            "; ".join(f"{chip}: {'; '.join(judged[chip].why)}" for chip in sorted(state.total) if chip in judged)
            or "the pool has no real card"
        )
        raise DoesNotFit("No chip of the pool can run this.", found=why, hint="name a pretend chip with --chip to rehearse")
    # A chip that runs it as it is comes before one that emulates it.
    return sorted(good, key=lambda chip: (bool(judged) and judged[chip].verdict.value != "runs", chip))


def _real(state: State, chip: str) -> bool:
    return state.rooms.real[chip] > 0


def _leave_with_the_cloud() -> None:
    """In the worker: end when the cloud does, by `kill -9` too. It holds both ends of its queue, so it never sees that closed."""
    cloud = multiprocessing.parent_process()
    assert cloud is not None

    def watch() -> None:
        wait([cloud.sentinel])
        os._exit(0)

    threading.Thread(target=watch, name="watch", daemon=True).start()


def _read(archive: str, entry: str, place: str) -> dict[str, Verdict] | BadScript:
    """In the worker: the verdicts for a program, or why it can't be read.

    Programs that aren't Python need nothing of a chip that we know.
    """
    with tempfile.TemporaryDirectory(dir=place) as folder:
        code = Path(folder) / "code"
        try:
            unpack(Path(archive), code, limit_bytes=LARGEST_CODE_BYTES)
            script = code / entry
            if not script.is_file():
                names = [str(path.relative_to(code)) for path in code.rglob("*") if path.is_file()]
                close = ", ".join(nearest(entry, names)) or ", ".join(names[:5])
                raise BadScript(
                    "The code folder has no such file.", asked=entry, found=close, hint="name the script as it is in the folder"
                )
            if script.suffix != ".py":
                return {}
            return {verdict.chip: verdict for verdict in verdicts(scan_script(script), load().values())}
        except BadInput as error:
            return BadScript(error.text, asked=entry, found=error.found.replace(f"{code}/", ""), hint=error.hint)
