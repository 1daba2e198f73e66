"""Keep calibrations in a folder and read them back. An edge: it reads and writes files.

Asked:  which of the user's own measurements speak of the planner's chips?
Answer: all that the folder holds. One file a chip, number format and software: CHIP.FORMAT.RELEASE.json; a later measurement of
        the three replaces the former. `plan.knowledge` takes the newest that fits.
Limits: a file that can't be read is an error with its path, never skipped in silence. CHIP.json beside them are scorecards'
        (`plan.efficiency`); they are read too, and say nothing of long jobs.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from forebay.codec import decode, encode
from forebay.errors import BadInput, ForebayError
from forebay.plan.calibration import Calibration

SLOWER = "slower_"


def read(folder: Path) -> tuple[Calibration, ...]:
    """The calibrations of a folder, by name of file. (): there is no such folder."""
    return tuple(_read(path) for path in sorted(folder.glob("*.json"))) if folder.is_dir() else ()


def keep(found: Calibration, folder: Path) -> Path:
    """Write it, by rename, as CHIP.FORMAT.RELEASE.json."""
    path = folder / name(found)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.write_text(json.dumps(encode(found), indent=1) + "\n", encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        raise BadInput("The calibration can't be written.", asked=str(path), found=str(error)) from error
    return path


def name(found: Calibration) -> str:
    """The file of a calibration: a layer benchmark and a run of one release stand beside each other."""
    formats = sorted(one.removeprefix(SLOWER) for one in found.figures if one.startswith(SLOWER))
    software = [*(f"{key}-{value}" for key, value in found.software.items())]
    kind = ["layer"] if "layer_benchmark" in found.figures else []
    return ".".join(re.sub(r"[^\w-]+", "-", part) for part in (found.subject, *formats, *software, *kind)) + ".json"


def _read(path: Path) -> Calibration:
    try:
        return decode(Calibration, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ForebayError) as error:
        raise BadInput(
            "The calibration can't be read.", asked=str(path), found=str(error), hint="remove it, or measure again"
        ) from error
