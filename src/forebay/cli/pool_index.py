"""What a card of one chip counts for in cards of another, by their scorecards."""

from __future__ import annotations

from forebay.chips import catalogue, certified, use
from forebay.chips.inclusiveness import Effective, effective
from forebay.errors import BadInput, Unknown


def from_scorecards(chip: str, against: str) -> tuple[float, str]:
    """The ratio of effective compute, and in words where it is from. Unknown where a card tells of no speed."""
    if not against:
        raise BadInput(
            "What does a card of it count for?", asked=chip, hint=f"--against REFERENCE, or forebay pool index {chip} 0.8"
        )
    mine, theirs = _effective(chip), _effective(against)
    told = (
        f"effective compute {mine.flop_per_s / 1e12:.3g} over {theirs.flop_per_s / 1e12:.3g} Tflop/s of {against}, by scorecards"
    )
    return round(mine.flop_per_s / theirs.flop_per_s, 6), told


def _effective(chip: str) -> Effective:
    catalogue.find(chip)  # Unknown with the nearest names
    card = certified.load().get(chip)
    found = effective(card, use.shipped()) if card else None
    if found is None or not found.flop_per_s:
        raise Unknown(
            "No scorecard tells what this chip comes to.",
            asked=chip,
            found="none is kept here" if card is None else "its card tells of no speed",
            hint=f"forebay chips certify {chip}, or say it: forebay pool index {chip} 0.8 --source '…'",
        )
    return found
