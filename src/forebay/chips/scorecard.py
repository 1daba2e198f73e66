"""The nouns of a measured chip: Scorecard, and in it Ceiling, Accuracy, Outlier.

Asked:  what did this chip do when we tried it: which operators, how exactly, how fast?
Answer: a letter for each operator in each number format and direction (`LETTERS`), the distances from the truth as a histogram,
        the speeds reached. All of it fits into a file of a few dozen kilobytes, which a person can read.
Limits: one card, one day, one set of software. What the letters mean is for `porting.certify` to say, which writes them, and
        what they are worth for `chips.inclusiveness`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

# Letter -> word, best first. The words are those of porting.certify.verdict; a test holds them together.
LETTERS: Mapping[str, str] = {
    "s": "strict",
    "b": "basic",
    "n": "nondeterministic",
    "h": "host fallback",
    "w": "wrong",
    "e": "error",
    "t": "timeout",
    "c": "crash",
    "u": "untested",
}
ABSENT = "-"  # torch's database doesn't ask this operator for this format or direction
USABLE = frozenset("sbn")  # computed on the chip, and right
CARD, SIMULATED = "card", "simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """One speed at the size at which it was highest. Where it lies above the vendor's sheet, it is kept as it is."""

    kind: str  # "matmul", "copy", "attention" or "collective"
    name: str  # "bf16", "on the card", "bf16 forward", "all-reduce"
    unit: str  # "flop/s" or "bytes/s"
    value: float | None = None  # the median of the runs; None: not measured, and `reason` says why
    spread: float = 0.0  # half the distance between the quartiles, as a share of the median
    runs: int = 0
    size: str = ""  # "4096 x 4096 x 4096", "256 MB"
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """One of the operators that are farthest from the truth, as multiples of the reference chip's own distance."""

    operator: str
    column: str
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How far from the float64 truth, as multiples of the reference chip's distance on the same samples: 1 is as good."""

    compared: int  # operators, formats and directions that both could compute
    median: float
    p90: float
    histogram: Mapping[str, int]  # a power of two, the bin's upper edge -> how many: {"1": 1203, "2": 88, ...}
    worst: tuple[Outlier, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorecard:
    """What one card of a chip was measured to do, on one day, with one set of software.

    Not a promise for other cards or later software, and never a vendor's figure: those are in Chip.
    """

    chip: str
    measured_on: str  # ISO date
    stands: str = CARD  # "simulated": cores stood in for the chip, so that nothing here tells of a chip's speed
    device: str = ""  # as the driver names it
    measure: str = ""  # the version of the measure itself: figures of another one aren't compared
    command: str = ""  # that made it
    notes: str = ""  # under which conditions: what else the machine was doing
    software: Mapping[str, str] = field(default_factory=dict)  # {"torch": "2.6.0+metax", "driver": "..."}
    mode: str = ""  # "full", "smoke" (one sample each), or "part" (not all operators, or not to the end)
    entries: int | None = None  # that torch's database has, asked for or not
    reference: str | None = None  # the chip whose results it was compared with
    columns: tuple[str, ...] = ()  # "float32 forward", "float32 backward", "bfloat16 forward", ...
    operators: Mapping[str, str] = field(default_factory=dict)  # operator -> a letter for each column
    reasons: Mapping[str, str] = field(default_factory=dict)  # operator -> why it isn't usable everywhere, in a line
    seconds_a_sample: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # operator -> here, on the reference
    accuracy: Accuracy | None = None
    ceilings: tuple[Ceiling, ...] = ()

    def cells(self) -> Iterator[tuple[str, str, str]]:
        """(operator, column, letter) of all that was asked for."""
        for operator, letters in self.operators.items():
            for column, letter in zip(self.columns, letters, strict=True):
                if letter != ABSENT:
                    yield operator, column, letter

    def counts(self) -> dict[str, int]:
        """Word -> how many operators, formats and directions; best word first, all words."""
        found = Counter(letter for _, _, letter in self.cells())
        return {word: found[letter] for letter, word in LETTERS.items()}

    def failing(self) -> tuple[str, ...]:
        """The operators that are somewhere not usable, as far as they were tested."""
        fine = USABLE | {"u", ABSENT}
        return tuple(name for name, letters in self.operators.items() if not fine.issuperset(letters))

    def untested(self) -> tuple[str, ...]:
        """The operators of which nothing at all could be tested."""
        return tuple(name for name, letters in self.operators.items() if set(letters) - {ABSENT} == {"u"})

    def letter(self, operator: str, column: str) -> str:
        """What became of it; ABSENT where it wasn't asked for."""
        letters = self.operators.get(operator)
        return letters[self.columns.index(column)] if letters and column in self.columns else ABSENT

    def ceiling(self, kind: str, name: str) -> float | None:
        """The speed of that name. None: not measured."""
        return next((one.value for one in self.ceilings if (one.kind, one.name) == (kind, name)), None)


def worst(letters: str) -> str:
    """The worst letter of some; ABSENT where there is none."""
    order = "".join(LETTERS)
    return max((letter for letter in letters if letter != ABSENT), key=order.index, default=ABSENT)
