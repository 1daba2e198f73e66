"""What the samples of one case have shown so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from forebay.porting.certify.compare import EXACT, Distance
from forebay.porting.certify.verdict import Word, worse


@dataclass
class Tally:
    """What the samples of one case have shown so far."""

    word: Word = Word.STRICT
    distances: list[Distance] = field(default_factory=lambda: [EXACT])
    host_bytes: int = 0
    seconds: float = 0.0
    reference_seconds: float = 0.0
    samples: int = 0
    varied: int = 0  # samples that were also called in another way
    drawn: int = 0  # of them, those whose values are drawn
    said: dict[Word, str] = field(default_factory=dict)
    note: str = ""

    def see(self, word: Word, detail: str = "") -> None:
        self.word = worse(self.word, word)
        self.said.setdefault(word, detail)

    def seen(self, distance: Distance, what: str = "") -> None:
        self.distances.append(distance)
        self.see(distance.word, what + distance.detail)
