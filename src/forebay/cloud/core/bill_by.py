"""A bill in a line for each organisation, project, member, chip or centre, or for any combination of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forebay.cloud.core.lent import Earned
from forebay.cloud.core.meter import Bill, Usage
from forebay.errors import BadInput

BY = ("organisation", "project", "member", "centre", "chip", "job")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The sums of what is alike in the fields that were asked for; the others are empty."""

    organisation: str = ""
    project: str = ""
    member: str = ""
    centre: str = ""
    chip: str = ""
    job: str = ""
    runs: int = 0
    card_ns: int = 0
    lost_card_ns: int = 0
    cost_micro: int = 0
    lost_micro: int = 0
    credited_micro: int = 0
    earned_micro: int = 0

    @property
    def billed_micro(self) -> int:
        return self.cost_micro - self.credited_micro - self.earned_micro


def grouped(whole: Bill, by: Sequence[str]) -> tuple[Row, ...]:
    """Rows that sum to the bill, in the order of their fields."""
    unknown = [field for field in by if field not in BY]
    if unknown:
        raise BadInput("A bill can't be split by that.", asked=", ".join(unknown), hint=f"any of {', '.join(BY)}")
    sums: dict[tuple[str, ...], list[int]] = {}
    lines: list[Usage | Earned] = [*whole.lines, *whole.earned]
    for line in lines:
        row = sums.setdefault(tuple(str(getattr(line, field, "")) for field in by), [0] * 7)
        for i, more in enumerate(_figures(line)):
            row[i] += more
    names = ("runs", "card_ns", "lost_card_ns", "cost_micro", "lost_micro", "credited_micro", "earned_micro")
    return tuple(
        Row(**dict(zip(by, key, strict=True)), **dict(zip(names, row, strict=True)))  # type: ignore[arg-type]
        for key, row in sorted(sums.items())
    )


def _figures(line: Usage | Earned) -> tuple[int, ...]:
    if isinstance(line, Earned):
        return (0, 0, 0, 0, 0, 0, line.earned_micro)
    lost_card_ns = line.cards * line.lost_ns
    return (1, line.card_ns, lost_card_ns, line.cost_micro, line.lost_micro, line.credited_micro, 0)
