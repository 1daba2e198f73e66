"""A vendor's work list: which operators cost the pool's users how many card-seconds on a chip.

Asked:  over all runs, where is the next week of a chip's software team best spent?
Answer: each run's lost card-seconds are shared out over operators, at most once:
          missing        a run that an operator's error ended lost all that it held, to that operator
          wrong          else, a run that called operators that the scorecard has as wrong lost all that it held, in equal parts
          host fallback  else, a call lost all the seconds that it took, s, in which the card stood still
          slow           and others what they took longer than they ought to: max(0, s - k r)
        s and r are the scorecard's seconds of a sample here and on the reference, k the median of s / r over all operators. Where
        the run timed its operators itself, its own seconds count. The sum is never more than the run held.
        Operators that no run met are ranked after these: by how many public projects call them, times how much of them fails.
Limits: small samples' seconds, so what is lost at large sizes is estimated low. A run that a signal killed leaves no account.
        Reports are written by tenants' processes: what they say moves the ranking, never a bill.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from forebay.chips.inclusiveness import credit
from forebay.chips.scorecard import ABSENT, LETTERS, USABLE, Scorecard, worst
from forebay.chips.use import Use
from forebay.errors import BadInput
from forebay.porting.operators import base, of_aten

MISSING, WRONG, FALLBACK, SLOW, WEAK = "missing", "wrong", "host fallback", "slow", "not strict"
_ENDED = re.compile(r"aten::(\w+)|torch\.ops\.aten\.(\w+)|\"(\w+)\" not implemented for|operator '?(?:aten::)?(\w+)'? is not")
_MOST_OPERATORS = 5000  # in a report: torch has fewer


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What one run on a chip called, and what ended it. It holds no line and no value of the tenant's."""

    run: str
    card_seconds: float
    ended_by: str = ""
    calls: Mapping[str, int] = field(default_factory=dict)  # operator of torch's database, or as ATen calls it -> how often
    seconds: Mapping[str, float] = field(default_factory=dict)  # of all its calls, where the run timed them


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """One line of the work list: an operator, and what its state costs."""

    operator: str
    kind: str  # MISSING, WRONG, FALLBACK, SLOW or WEAK
    card_seconds: float  # lost in the runs
    runs: int  # that lost them
    calls: int  # in all runs
    projects: int  # of the public sample that call it
    score: float  # 0 to 100: the share of its formats and directions that fails
    why: str = ""


def account(report: Mapping[str, Any], run: str, card_seconds: float | None = None) -> Account:
    """A run's account from its shim report. Raises BadInput where that isn't one.

    Without `card_seconds`, as for a run outside a centre, the processes' own seconds count.
    """
    try:
        named = {str(name): int(calls) for name, calls in report["operators"]["of"].items()}
        timed = {str(name): float(spent) for name, spent in report.get("operator_seconds", {}).items()}
        held = float(report.get("seconds", 0.0)) if card_seconds is None else card_seconds
        ended = str(report.get("ended_by", ""))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput("That is no report of the shim.", asked=run, found=repr(error)) from error
    if len(named) > _MOST_OPERATORS:
        raise BadInput("A report names more operators than torch has.", asked=run, found=str(len(named)))
    return Account(run=run, card_seconds=held, ended_by=ended, calls=_summed(named), seconds=_summed(timed))


def work_list(accounts: Iterable[Account], card: Scorecard | None, use: Use) -> tuple[Gap, ...]:
    """All gaps, the dearest first."""
    lost: dict[str, float] = {}
    runs: dict[str, int] = {}
    calls: dict[str, int] = {}
    kinds: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for one in accounts:
        for operator, count in one.calls.items():
            calls[operator] = calls.get(operator, 0) + count
        for operator, (kind, spent, why) in losses(one, card).items():
            lost[operator] = lost.get(operator, 0.0) + spent
            runs[operator] = runs.get(operator, 0) + 1
            if kind == MISSING or operator not in kinds:
                kinds[operator], reasons[operator] = kind, why
    states = _states(card)
    reasons = {**_why(card), **{operator: why for operator, why in reasons.items() if why}}
    gaps = [
        Gap(
            operator=operator,
            kind=kinds.get(operator) or _kind(states[operator]),
            card_seconds=lost.get(operator, 0.0),
            runs=runs.get(operator, 0),
            calls=calls.get(operator, 0),
            projects=use.projects_calling(operator),
            score=100 * (1 - credit(states[operator])) if operator in states else 100.0,
            why=reasons.get(operator, ""),
        )
        for operator in lost.keys() | {name for name, letters in states.items() if worst(letters) not in ("s", ABSENT, "u")}
    ]
    return tuple(sorted(gaps, key=lambda gap: (-gap.card_seconds, -(1 + gap.projects) * gap.score, gap.operator)))


def losses(one: Account, card: Scorecard | None) -> dict[str, tuple[str, float, str]]:
    """Operator -> (kind, card-seconds, why) of one run. Together never more than the run held."""
    ender = ended_by(one.ended_by)
    if ender:
        return {ender: (MISSING, one.card_seconds, one.ended_by[:160])}
    if card is None:
        return {}
    states = _states(card)
    bad = [name for name in one.calls if worst(states.get(name, ABSENT)) == "w"]
    if bad:
        return {name: (WRONG, one.card_seconds / len(bad), "") for name in bad}
    times = _times(card)
    usual = statistics.median(here / there for here, there in times.values() if there) if times else 1.0
    found = {}
    for name, count in one.calls.items():
        here, there = times.get(name, (0.0, 0.0))
        spent = one.seconds[name] if name in one.seconds else count * here
        if worst(states.get(name, ABSENT)) == "h":
            found[name] = (FALLBACK, spent)
        elif here and spent * (1 - usual * there / here) > 0:
            found[name] = (SLOW, spent * (1 - usual * there / here))
    total = sum(excess for _, excess in found.values())
    fits = min(1.0, one.card_seconds / total) if total else 1.0
    return {name: (kind, excess * fits, "") for name, (kind, excess) in found.items()}


def ended_by(said: str) -> str:
    """The operator that an exception's text blames; "" where it blames none."""
    if not said.startswith(("NotImplementedError", "RuntimeError", "Refused")):
        return ""
    found = _ENDED.search(said)
    return of_aten(next(word for word in found.groups() if word)) if found else ""


def _kind(letters: str) -> str:
    state = worst(letters)
    return {"w": WRONG, "h": FALLBACK}.get(state, MISSING if state not in USABLE else WEAK)


def _states(card: Scorecard | None) -> dict[str, str]:
    """Operator without variant -> the letters of all its variants."""
    found: dict[str, str] = {}
    for entry, letters in card.operators.items() if card else ():
        if letters.strip(ABSENT + "u"):
            found[base(entry)] = found.get(base(entry), "") + letters.replace("u", ABSENT)
    assert all(set(letters) <= set(LETTERS) | {ABSENT} for letters in found.values())
    return found


def _times(card: Scorecard) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for entry, (here, there) in card.seconds_a_sample.items():
        before = found.get(base(entry), (0.0, 0.0))
        found[base(entry)] = (before[0] + here, before[1] + there)
    return found


def _why(card: Scorecard | None) -> dict[str, str]:
    return {base(entry): why for entry, why in sorted(card.reasons.items(), reverse=True)} if card else {}


def _summed(figures: Mapping[str, Any]) -> dict[str, Any]:
    """By operator of the database: overloads and in-place forms together."""
    found: dict[str, Any] = {}
    for name, figure in figures.items():
        found[of_aten(name)] = found.get(of_aten(name), 0) + figure
    return found
