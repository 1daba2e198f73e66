"""What a chip's scorecard adds to a verdict that was read from the text.

Asked:  the script calls these operators by name; the chip was measured. Does that change what becomes of the script?
Answer: an operator that ended with an error, a crash or a timeout, or gave wrong values, in a format and direction that
        the script uses: its lines must change (`rewrite`). One that was silently computed on the host runs, and slowly
        (`emulated`). The reasons name operators and lines. Formats are float32 and those that the scan found; backward counts
        where the script asks for gradients.
Limits: the worst of the samples that were measured decides, and the script's own call may be none of these; hence "in some
        call". An operator of several variants counts by its best one, since the text doesn't tell which is called; what is only
        nondeterministic, or less exact than the reference, is told and worsens nothing. Operators that aren't called by name
        aren't judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from forebay.chips.scorecard import ABSENT, LETTERS, Scorecard, worst
from forebay.porting.findings import Verdict, Word
from forebay.porting.operators import Called, Calls, base

BECOMES: Mapping[str, Word] = dict.fromkeys("wetc", Word.REWRITE) | {"h": Word.EMULATED}
SAYS: Mapping[str, str] = {
    "c": "ended the process in some call",
    "t": "didn't end in some call",
    "e": "raised an error in some call",
    "w": "gave wrong values in some call",
    "h": "slow: computed on the host",
    "n": "wasn't the same twice",
}
_FORMATS = {"bf16": "bfloat16", "fp16": "float16", "fp64": "float64"}
_MOST = 4  # operators named for each reason


def card_of(chip: str, cards: Mapping[str, Scorecard]) -> Scorecard | None:
    """The card that speaks for a chip. On processor cores the simulated device carries scripts, so its card counts."""
    return cards.get("simulated", cards.get("cpu")) if chip == "cpu" else cards.get(chip)


def failing(card: Scorecard) -> frozenset[str]:
    """The operators, without variants, of which something would be said: where scripts call these is worth a look."""
    return frozenset(base(entry) for entry, letters in card.operators.items() if not SAYS.keys().isdisjoint(letters))


def worsened(verdict: Verdict, calls: Calls, needs: Sequence[str], card: Scorecard) -> Verdict:
    """The verdict, with what was measured: never better than what was read."""
    formats = ("float32", *(_FORMATS[need] for need in needs if need in _FORMATS))
    columns = tuple(
        column
        for column in card.columns
        if column.partition(" ")[0] in formats and (calls.gradients or column.endswith(" forward"))
    )
    best = _best(card, columns)
    found: dict[str, dict[str, list[Called]]] = {}
    for call in calls.called:
        letter = best.get(call.operator, ABSENT)
        if letter in SAYS:
            found.setdefault(letter, {}).setdefault(call.operator, []).append(call)
    worse = [letter for letter in SAYS if letter in found]
    word = max([verdict.verdict, *(BECOMES[letter] for letter in worse if letter in BECOMES)], key=list(Word).index)
    reasons = [f"{_reason(letter, found[letter])} (measured on {card.measured_on})" for letter in worse]
    first, rest = (reasons, verdict.why) if word is not verdict.verdict else ((), (*verdict.why, *reasons))
    return replace(verdict, verdict=word, why=(*first, *rest))


def _best(card: Scorecard, columns: Sequence[str]) -> dict[str, str]:
    """Operator without variant -> the worst letter of its best variant, over the columns."""
    places = [card.columns.index(column) for column in columns]
    order = "".join(LETTERS)
    found: dict[str, str] = {}
    for entry, letters in card.operators.items():
        letter = worst("".join(letters[place] for place in places))
        if letter not in (ABSENT, "u"):
            name = base(entry)
            found[name] = min(found.get(name, letter), letter, key=order.index)
    return found


def _reason(letter: str, operators: Mapping[str, Sequence[Called]]) -> str:
    """ "fft.fft (train.py:12), einsum (train.py:8 and 3 more): ..."."""
    named = []
    for name, calls in sorted(operators.items(), key=lambda pair: -len(pair[1]))[:_MOST]:
        more = f" and {len(calls) - 1} more" if len(calls) > 1 else ""
        named.append(f"{name} ({calls[0].file}:{calls[0].line}{more})")
    rest = f" and {len(operators) - _MOST} more operators" if len(operators) > _MOST else ""
    return f"{', '.join(named)}{rest}: {SAYS[letter]}"
