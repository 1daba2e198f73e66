"""What a scorecard tells the planner: achieved speeds, and the share of the peak that they are.

Asked:  a plan is priced with the speed that a chip reaches, not its vendor's. Which figures are these?
Answer: a Calibration with gemm_FORMAT_flop_per_s, attention_FORMAT_forward_flop_per_s, copy_bytes_per_s,
        ALL_REDUCE_bytes_per_s and their kin, and NAME_of_peak beside each that the chip's sheet has a peak for. `efficiency`
        reads one of these shares back.
Limits: of one card, at its best size. A card that cores stood in for has no speed and no calibration. Shares above 1 are kept:
        a sheet may be lower than what is measured.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from forebay.chips.chip import Chip
from forebay.chips.scorecard import SIMULATED, Ceiling, Scorecard
from forebay.codec import decode, encode
from forebay.errors import BadInput, ForebayError
from forebay.plan.calibration import Calibration


def calibration(card: Scorecard, chip: Chip | None) -> Calibration | None:
    """The card's figures for the planner. None: it holds no measured speed."""
    if card.stands == SIMULATED:
        return None
    figures: dict[str, float] = {}
    for one in card.ceilings:
        if one.value is not None:
            name = figure_name(one)
            figures[f"{name}_{one.unit.replace('/', '_per_')}"] = one.value
            if peak := _peak(one, chip):
                figures[f"{name}_of_peak"] = one.value / peak
    if not figures:
        return None
    return Calibration(
        subject=card.chip, measured=card.measured_on, software=card.software, figures=figures, command=card.command
    )


def efficiency(found: Calibration, number_format: str) -> float | None:
    """The share of the peak that a large matrix product reaches in this format. None: not measured, or no peak to share."""
    return found.figures.get(f"gemm_{number_format}_of_peak")


def keep(found: Calibration, folder: Path) -> Path:
    """Write it as CHIP.json, by rename."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found.subject}.json"
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(encode(found), indent=1) + "\n", encoding="utf-8")
    os.replace(draft, path)
    return path


def kept(subject: str, folder: Path) -> Calibration | None:
    """The calibration that is kept there. None: there is none. Raises BadInput where it can't be read."""
    path = folder / f"{subject}.json"
    try:
        return decode(Calibration, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, ForebayError) as error:
        raise BadInput("The calibration can't be read.", asked=str(path), found=str(error)) from error


def figure_name(ceiling: Ceiling) -> str:
    """ "gemm_bf16", "attention_bf16_causal_forward", "copy_host_to_card_pinned", "all_reduce"."""
    words = ceiling.name.replace(",", "").replace("-", " ").split()
    kind = {"matmul": ["gemm"], "collective": []}.get(ceiling.kind, [ceiling.kind])
    return "_".join([*kind, *words])


def _peak(ceiling: Ceiling, chip: Chip | None) -> float | None:
    if chip is None:
        return None
    if ceiling.unit == "flop/s":
        return chip.flop_per_s.get(ceiling.name.partition(" ")[0])
    return chip.memory_bytes_per_s if ceiling.name == "on the card" else None
