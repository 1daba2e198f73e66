"""Where the planner's calibrations are kept, and what is there."""

from __future__ import annotations

from pathlib import Path

from forebay.chips import certified
from forebay.plan import calibrations
from forebay.plan.calibration import Calibration


def calibration_folder() -> Path:
    """Beside the user's scorecards, where a certification leaves its own."""
    return certified.default_folder() / "calibration"


def kept_calibrations() -> tuple[Calibration, ...]:
    """The user's own measurements, for `search` and its kin."""
    return calibrations.read(calibration_folder())
