"""Estimate how many hours a person needs to carry a project to a chip.

Asked:  a scan found 300 places: is that an afternoon or a month, and how much of it does the rewrite take off?
Answer: each rule has minutes for its first place in a file (porting.rules, porting.source_rules). The next places of that rule in
        that file cost less: place n costs minutes x n^log2(0.8), so that each doubling of the count makes a place a fifth
        cheaper (Wright, Factors Affecting the Cost of Airplanes, 1936; 80 % is the slope that is quoted most). Their sum
        is the effort. Counted are the places that need a pen: on a chip those whose word is rewrite or blocked, for
        `everywhere` all that tie the text to CUDA. A rule without minutes of its own counts 5.
Limits: minutes are our estimates, checked against nobody's time sheet; between two projects they compare, as a promise they
        don't serve. Finding hardware, building, and learning the project are not in it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from forebay.chips.chip import Chip
from forebay.porting.findings import Finding, Findings, Word
from forebay.porting.report import becomes
from forebay.porting.rules import RULES

LEARNING = math.log2(0.8)
UNKNOWN_MINUTES = 5.0
EVERYWHERE = "any chip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """The work that a project is to a person. An estimate from a table of minutes, not a measurement and no offer."""

    chip: str  # or EVERYWHERE: to make the text name no vendor at all
    places: int  # that need a pen
    settled: int  # of these by the rewrite, `forebay port --write`
    hours: float  # for the places that then remain
    hours_by_hand: float  # for all of them, without the rewrite

    @property
    def remaining(self) -> int:
        return self.places - self.settled


def effort(findings: Findings, chip: Chip, settled: Collection[Finding] = ()) -> Effort:
    """The work that is left on this chip, where what the shim carries needs none. `settled` is what the rewrite did."""
    pen = [finding for finding in findings.findings if becomes(finding.rule, chip) in (Word.REWRITE, Word.BLOCKED)]
    return _effort(chip.name, pen if "a device" in findings.needs else [], settled)


def everywhere(findings: Findings, settled: Collection[Finding] = ()) -> Effort:
    """The work of making the text name no vendor, so that plain torch runs it on any chip."""
    return _effort(EVERYWHERE, list(findings.findings), settled)


def hours(findings: Iterable[Finding]) -> float:
    """What these places cost one after the other, by rule and file."""
    groups = Counter((finding.file, finding.rule) for finding in findings)
    return sum(_minutes(rule) * _places(count) for (_, rule), count in groups.items()) / 60


def in_words(amount: float) -> str:
    """ "20 minutes", "3.5 hours", "9 days" of eight hours."""
    if amount < 1:
        minutes = round(amount * 60)
        return f"{minutes} minute{'' if minutes == 1 else 's'}"
    if amount < 16:
        return f"{amount:.1f} hours"
    return f"{amount / 8:.0f} days"


def _effort(chip: str, pen: list[Finding], settled: Collection[Finding]) -> Effort:
    done = frozenset(settled)
    left = [finding for finding in pen if finding not in done]
    return Effort(
        chip=chip, places=len(pen), settled=len(pen) - len(left), hours=round(hours(left), 2), hours_by_hand=round(hours(pen), 2)
    )


def _minutes(rule: str) -> float:
    return RULES[rule].minutes or UNKNOWN_MINUTES


def _places(count: int) -> float:
    """How many first places so many places cost."""
    return sum(math.pow(place, LEARNING) for place in range(1, count + 1))
