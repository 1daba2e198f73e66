"""How much of what people run does a chip run? One figure, 0 to 100, with the formula on this page; and effective compute.

Asked:  a scorecard has thousands of verdicts. How good is the chip's ecosystem, in one number that can't be gamed by speed?
Answer: index = 100 x sum of w(op) c(op) / sum of w(op), over every operator of torch's database that was asked for.
          c(op) the mean of CREDIT over the formats and directions that the database asks of it, each operator once;
          w(op) one, and one more for every public project of the sample whose text calls it (`chips.use`).
        Beside it the unweighted index, w = 1, which no sample of projects can bend. An operator that wasn't tested counts as
        failed, so that leaving one out never pays; the band's upper end counts it as strict.
        effective compute = measured matrix product rate x covered, where covered is the share of the sample's files whose
        operators are all usable in the format, forward and backward; projects count alike. A product and not a mean, since a
        program that lacks one operator gets nothing from the others' speed.
Units:  the index in points; effective compute in flop a second.
Limits: an operator is one letter a cell, however many samples failed. Small samples: what fails only at large sizes isn't
        seen. The credits of `basic`, `nondeterministic` and `host fallback` are a judgement (decisions/0045).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forebay.chips.scorecard import ABSENT, SIMULATED, USABLE, Scorecard
from forebay.chips.use import Use

CREDIT: Mapping[str, float] = {"s": 1.0, "b": 0.9, "n": 0.5, "h": 0.25, "w": 0.0, "e": 0.0, "t": 0.0, "c": 0.0, "u": 0.0}
FORMAT_OF = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}  # the sheet's word -> torch's


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """The inclusiveness of a chip, in points from 0 to 100. It says nothing of speed."""

    value: float  # weighted by use; the untested count as failed
    most: float  # the same, had all that wasn't tested been strict
    unweighted: float
    operators: int  # that were asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """What a card's speed comes to for the programs of the sample. Not what one program gets."""

    format: str  # "bf16"
    flop_per_s: float
    covered: float  # share of the sample's files, 0 to 1


def index(card: Scorecard, use: Use) -> Index | None:
    """The card's index. None: no operator was asked for."""
    asked = {name: letters for name, letters in card.operators.items() if letters.strip(ABSENT)}
    if not asked:
        return None
    weights = {name: 1 + use.projects_calling(name) for name in asked}
    plain = dict.fromkeys(asked, 1)
    return Index(
        value=_mean(asked, weights),
        most=_mean({name: letters.replace("u", "s") for name, letters in asked.items()}, weights),
        unweighted=_mean(asked, plain),
        operators=len(asked),
    )


def credit(letters: str) -> float:
    """What an operator is worth: the mean over its formats and directions."""
    told = [CREDIT[letter] for letter in letters if letter != ABSENT]
    return sum(told) / len(told)


def effective(card: Scorecard, use: Use) -> Effective | None:
    """Effective compute, in the format of bf16, fp16 and fp32 where it is largest. None: no speed, or only stood in for."""
    if card.stands == SIMULATED:
        return None
    found = []
    for short, long in FORMAT_OF.items():
        rate = card.ceiling("matmul", short)
        if rate is not None and any(column.startswith(long) for column in card.columns):
            covered = coverage(card, use, long)
            found.append(Effective(format=short, flop_per_s=rate * covered, covered=covered))
    return max(found, key=lambda one: one.flop_per_s, default=None)


def coverage(card: Scorecard, use: Use, number_format: str) -> float:
    """The share of the sample's files whose operators are all usable; each project's files together count one."""
    columns = [at for at, column in enumerate(card.columns) if column.startswith(number_format)]
    usable = {
        name for name, letters in card.operators.items() if all(letters[at] in USABLE or letters[at] == ABSENT for at in columns)
    }
    return use.share_of_files(usable)


def _mean(asked: Mapping[str, str], weights: Mapping[str, int]) -> float:
    """Summed in the order of names, so that the same card gives the same digits."""
    total = sum(weights[name] for name in asked)
    return min(100.0, 100 * sum(weights[name] * credit(asked[name]) for name in sorted(asked)) / total)
