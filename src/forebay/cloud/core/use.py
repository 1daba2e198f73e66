"""How busy the cards of runs are: the noun Used, and what the pool did with its cards as lines that a person reads.

Asked:  of the cards of the pool, a centre, a chip or an organisation: how much of the time were they down, idle, held, active by
        the vendor's monitor, and productive, covered by steps that count?
Answer: the ledger's tallies, summed. Each figure is a number of card-nanoseconds with the one that it is a share of, so that
        nothing is guessed: what no monitor measured is `held - measured`, and counts as neither active nor idle.
Limits: held, measured, active and productive are as told so far, so a run that goes on is behind by some minutes. Effective
        compute is told for chips that have an index, and the others are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forebay.cloud.core import ledger
from forebay.cloud.core.ledger import READ, Tally

if TYPE_CHECKING:
    from forebay.cloud.core.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What was told of one run so far, in card-nanoseconds."""

    told_at_ns: int = 0  # by the cloud's clock; 0: nothing yet
    held_ns: int = 0
    measured_ns: int = 0
    active_ns: int = 0
    productive_ns: int = 0
    idle_ns: int = 0  # how long it has been idle without a break, and not times its cards
    warned: bool = False  # of being idle, since it was last busy
    stamp_ns: int = 0  # its newest checkpoint, by its centre's clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What some cards of the pool did from a moment on, in card-nanoseconds. `used + idle + down = elapsed`."""

    of: str  # "pool", "centre", "chip", "organisation"
    name: str = ""
    pretend: bool = False
    cards: int = 0  # now
    elapsed_ns: int = 0
    used_ns: int = 0
    idle_ns: int = 0
    down_ns: int = 0
    others_ns: int = 0  # of down: held by others at their centre
    held_ns: int = 0
    measured_ns: int = 0
    active_ns: int = 0
    productive_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All lines from a moment on: first in card-time, then the same in effective compute."""

    from_ns: int  # the moment from which is counted; a full hour or day at or before the one that was asked for; 0: the beginning
    to_ns: int
    lines: tuple[Line, ...]
    compute: tuple[Line, ...] = ()  # in card-nanoseconds of the reference chip
    without_index: tuple[str, ...] = ()  # chips that aren't in `compute`, because nobody measured them


def report(state: State, now_ns: int, *, from_ns: int = 0, organisation: str = "") -> Report:
    """`organisation`: only what its own line says, and no other's."""
    start = ledger.since(state, from_ns)
    spans = [(tally, _span(tally, start.tallies.get(key), now_ns)) for key, tally in state.t.tallies.items()]
    if organisation:
        spans = [(tally, span) for tally, span in spans if tally.organisation == organisation]
    chips = dict.fromkeys(tally.chip for tally, _ in spans)
    indexed = [(tally, [n * state.t.indexes[tally.chip] for n in span]) for tally, span in spans if tally.chip in state.t.indexes]
    return Report(
        from_ns=start.at_ns,
        to_ns=now_ns,
        lines=tuple(_lines(spans)),
        compute=tuple(_lines(indexed)),
        without_index=tuple(chip for chip in chips if chip not in state.t.indexes),
    )


def _span(tally: Tally, before: tuple[int, ...] | None, now_ns: int) -> list[float]:
    now = tally.reading(max(now_ns, tally.at_ns))
    return [a - b for a, b in zip(now, before or (0,) * len(READ), strict=True)]


def _lines(spans: Iterable[tuple[Tally, list[float]]]) -> Iterator[Line]:
    sums: dict[tuple[bool, int, str], tuple[list[float], int]] = {}
    for tally, span in spans:
        names = [(3, tally.organisation)] if tally.organisation else [(0, ""), (1, tally.centre), (2, tally.chip)]
        for order, name in names:
            known, cards = sums.get((tally.pretend, order, name), ([0] * len(span), 0))
            there = tally.used + tally.idle + tally.down + tally.others
            sums[tally.pretend, order, name] = ([a + b for a, b in zip(known, span, strict=True)], cards + there)
    for (pretend, order, name), (span, cards) in sorted(sums.items()):
        told = dict(zip(READ, (round(n) for n in span), strict=True))
        elapsed = told["used_ns"] + told["idle_ns"] + told["down_ns"]
        of = ("pool", "centre", "chip", "organisation")[order]
        yield Line(of=of, name=name, pretend=pretend, cards=cards, elapsed_ns=elapsed, **told)
