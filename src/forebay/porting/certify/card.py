"""A scorecard out of a certification's verdicts and ceilings.

Asked:  the engine left thousands of lines, the speeds a few dozen. What goes on the card?
Answer: a letter a verdict; the reason of the worst where an operator isn't usable everywhere; seconds against the reference's;
        and how far from the truth, as a ratio: max(error, 1/2) / max(reference's error, 1/2), in units of the format's
        rounding. Half a unit is what correct rounding itself may cost, so below it nobody is better than anybody.
Limits: a ratio is only taken where both sides have an error, finite, and the result counts as right or wrong by its values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from forebay.chips.scorecard import ABSENT, CARD, LETTERS, SIMULATED, USABLE, Accuracy, Ceiling, Outlier, Scorecard
from forebay.porting.certify.record import Run
from forebay.porting.certify.verdict import ORDER, Verdict

PRETENDED = ("simulated", "mapped", "fakechip")  # carriers behind which cores do the work; other adapters stand before a card
MEASURE = "1"  # figures of another version aren't compared with these
_LETTER = {word: letter for letter, word in LETTERS.items()}
_HALF = 0.5
_BINS = tuple(2.0**power for power in range(-3, 11))
_WORST, _REASON = 20, 160


def scorecard(run: Run, ceilings: Iterable[Ceiling] = (), *, device: str = "", command: str = "", notes: str = "") -> Scorecard:
    """The card of a run. A chip that cores stand in for gets no ceilings, whatever was measured."""
    header = run.header
    stands = SIMULATED if header.carrier in PRETENDED else CARD
    columns = _columns(run.verdicts)
    by_operator: dict[str, dict[str, Verdict]] = {}
    for verdict in run.verdicts:
        by_operator.setdefault(verdict.operator, {})[_column(verdict)] = verdict
    return Scorecard(
        chip=header.chip,
        measured_on=header.started[:10],
        stands=stands,
        device=device or header.device,
        measure=MEASURE,
        command=command,
        notes=notes,
        software=dict(header.software),
        mode=header.mode if run.whole and not header.only else "part",
        entries=header.entries,
        reference=header.reference,
        columns=columns,
        operators={
            name: "".join(_LETTER[found[column].word.value] if column in found else ABSENT for column in columns)
            for name, found in sorted(by_operator.items())
        },
        reasons=_reasons(by_operator),
        seconds_a_sample=_seconds(by_operator) if stands == CARD else {},
        accuracy=_accuracy(run.verdicts),
        ceilings=tuple(ceilings) if stands == CARD else (),
    )


def ratio(verdict: Verdict) -> float | None:
    """How many times the reference chip's distance from the truth. None: one of them couldn't be taken."""
    mine, other = verdict.error, verdict.reference_error
    if mine is None or other is None or not math.isfinite(mine) or not math.isfinite(other):
        return None
    return max(mine, _HALF) / max(other, _HALF)


def _column(verdict: Verdict) -> str:
    return f"{verdict.format} {verdict.direction}"


def _columns(verdicts: Iterable[Verdict]) -> tuple[str, ...]:
    """The three formats that every chip is asked for first, then what else there was."""
    first = ("float32", "bfloat16", "float16")
    found = {(verdict.format, verdict.direction) for verdict in verdicts}
    order = sorted(found, key=lambda one: (first.index(one[0]) if one[0] in first else len(first), one[0], one[1] != "forward"))
    return tuple(f"{number_format} {direction}" for number_format, direction in order)


def _reasons(by_operator: Mapping[str, Mapping[str, Verdict]]) -> dict[str, str]:
    found = {}
    for name, verdicts in sorted(by_operator.items()):
        bad = max(verdicts.values(), key=lambda verdict: ORDER.index(verdict.word))
        if _LETTER[bad.word.value] not in USABLE and bad.detail:
            found[name] = f"{_column(bad)}: {' '.join(bad.detail.split())}"[:_REASON]
    return found


def _seconds(by_operator: Mapping[str, Mapping[str, Verdict]]) -> dict[str, tuple[float, ...]]:
    """Of a sample, here and on the reference: small ones, so mostly the cost of a launch."""
    found = {}
    for name, verdicts in sorted(by_operator.items()):
        told = [one for one in verdicts.values() if one.seconds and one.reference_seconds and one.samples]
        if told:
            samples = sum(one.samples for one in told)
            both = (sum(one.seconds or 0.0 for one in told), sum(one.reference_seconds or 0.0 for one in told))
            found[name] = tuple(float(f"{seconds / samples:.3g}") for seconds in both)
    return found


def _accuracy(verdicts: Iterable[Verdict]) -> Accuracy | None:
    told = sorted(((found, verdict) for verdict in verdicts if (found := ratio(verdict)) is not None), key=lambda pair: pair[0])
    if not told:
        return None
    histogram = dict.fromkeys((f"{edge:g}" for edge in _BINS), 0) | {"more": 0}
    for found, _ in told:
        histogram[next((f"{edge:g}" for edge in _BINS if found <= edge), "more")] += 1
    ratios = [found for found, _ in told]
    return Accuracy(
        compared=len(told),
        median=_rank(ratios, 0.5),
        p90=_rank(ratios, 0.9),
        histogram=histogram,
        worst=tuple(
            Outlier(operator=verdict.operator, column=_column(verdict), ratio=float(f"{found:.4g}"))
            for found, verdict in told[::-1][:_WORST]
            if found > 1
        ),
    )


def _rank(ordered: list[float], share: float) -> float:
    """The smallest value with that share of all at or below it."""
    return float(f"{ordered[math.ceil(share * len(ordered)) - 1]:.4g}")
