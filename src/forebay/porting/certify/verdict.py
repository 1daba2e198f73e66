"""The nouns Case and Verdict: what is asked of a chip about one operator, and what it did."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


class Word(enum.Enum):
    """What became of an operator, best first. The worst thing seen over all its samples is its word."""

    STRICT = "strict"  # right: as near to the truth as the reference chip comes, in every sample
    BASIC = "basic"  # usable: right within torch's own tolerance for the operator, yet farther off than the reference chip
    NONDETERMINISTIC = "nondeterministic"  # right, but not the same twice, where the reference chip gives the same twice
    HOST_FALLBACK = "host fallback"  # right, but computed on the host: its inputs were silently copied there
    WRONG = "wrong"  # another value, shape, format, place or alias than the truth's
    ERROR = "error"  # it raised
    TIMEOUT = "timeout"  # it didn't end in time, and its worker was stopped
    CRASH = "crash"  # it ended its worker's process
    UNTESTED = "untested"  # no sample could be made, or the truth couldn't be computed: the measure's fault, not the chip's


ORDER = tuple(Word)


def worse(one: Word, other: Word) -> Word:
    return max(one, other, key=ORDER.index)


@dataclass(frozen=True)
class Case:
    """One operator in one number format and one direction: what gets a verdict. It isn't one call: it has several samples."""

    operator: str  # as torch's database calls it, with its variant: "linalg.norm.subgradients_at_zero"
    format: str  # "float32", "bfloat16", "float16", "int64", ...
    direction: str  # "forward" or "backward"


@dataclass(frozen=True)
class Verdict:
    """One line of a certification. It isn't a timing of a kernel: seconds here are those of small samples, launches included."""

    operator: str
    format: str
    direction: str
    word: Word
    samples: int  # compared
    error: float | None = None  # the largest distance from the float64 truth, in units of the format's rounding
    reference_error: float | None = None  # the same of the reference chip, on the same samples
    host_bytes: int = 0  # copied to the host during the calls, of tensors that live on the chip
    seconds: float | None = None  # all calls together, on the chip
    reference_seconds: float | None = None
    detail: str = ""  # why it isn't strict, in one line

    @property
    def case(self) -> Case:
        return Case(self.operator, self.format, self.direction)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "word": self.word.value}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Verdict:
        """Raises KeyError, TypeError or ValueError where the body isn't a verdict's."""
        return cls(**{**body, "word": Word(body["word"])})
