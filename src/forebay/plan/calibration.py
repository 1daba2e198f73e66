"""The noun Calibration: dated measurements that the next plan reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was measured of a chip or an island, when, and with which software.

    Figures of another release or day are another calibration; nothing is averaged silently.
    """

    subject: str  # a chip or an island
    measured: str  # ISO date
    software: Mapping[str, str]  # {"torch": "2.13.0"}
    figures: Mapping[str, float]  # by name with its unit: {"gemm_bf16_flop_per_s": 6.4e14}
    command: str  # that made them
