"""Speeds that go with a trace: steps a second of each model, by chip and number of cards (Gavel's table and its kin).

`v100_unconsolidated` is the speed on v100 of cards that are spread over more nodes than they need.
Limits: a number of cards that wasn't measured gets the speed a card of the nearest smaller number that was.
"""

from __future__ import annotations

import csv
from pathlib import Path

from forebay.cloud.replay.readers.files import open_text
from forebay.cloud.replay.trace import Line
from forebay.errors import BadInput

COLUMNS = ("worker_type", "model", "num_gpus", "steps_per_s")
_SPREAD = "_unconsolidated"


class Speeds:
    """Steps a second by model, chip and cards."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._by: dict[str, dict[str, dict[int, float]]] = {}  # model -> chip -> cards -> steps a second
        self.guessed = 0
        with open_text(path) as lines:
            rows = csv.DictReader(lines)
            if tuple(rows.fieldnames or ()) != COLUMNS:
                raise BadInput(
                    "That file holds no speeds.",
                    asked=str(path),
                    found=f"the header {','.join(rows.fieldnames or ())!r}",
                    hint=f"the header {','.join(COLUMNS)!r}",
                )
            for row in rows:
                if float(row["steps_per_s"]) > 0:
                    chips = self._by.setdefault(row["model"], {})
                    chips.setdefault(row["worker_type"], {})[int(row["num_gpus"])] = float(row["steps_per_s"])

    def lines(self, model: str, cards: int, steps: float) -> tuple[Line, ...]:
        """A line a chip, fastest first."""
        if model not in self._by:
            raise BadInput("The speeds don't name a model of the trace.", asked=model, found=str(self._path))
        found = []
        for chip, by_cards in self._by[model].items():
            if chip.endswith(_SPREAD):
                continue
            speed = self._speed(by_cards, cards)
            spread = self._speed(self._by[model].get(chip + _SPREAD, {}), cards)
            if speed:
                spread_s = steps / spread if spread and cards > 1 else None
                found.append(Line(chip=chip, cards=cards, seconds=steps / speed, spread_s=spread_s))
        return tuple(sorted(found, key=lambda line: (line.seconds, line.chip)))

    def _speed(self, by_cards: dict[int, float], cards: int) -> float:
        if cards in by_cards:
            return by_cards[cards]
        smaller = max((n for n in by_cards if n < cards), default=0)
        self.guessed += 1
        return by_cards[smaller] * cards / smaller if smaller else 0.0
