"""Each bug that is planted in a copy of the code is found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .bugs import BUGS, plant

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "forebay"
LIVES, STEPS = 40, 1_000  # at most; most bugs are found in the first life


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_planted_where_its_piece_of_code_stands_once(name):
    for file, there, _ in BUGS[name].changes:
        assert (SOURCE / file).read_text().count(there) == 1, f"plant {name} anew"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", BUGS)
def test_the_simulation_finds(name, tmp_path):
    plant(BUGS[name], SOURCE, tmp_path / "forebay")
    lives = ["--seed", "1", "--lives", str(LIVES), "--steps", str(STEPS), "--on", BUGS[name].on, "--until-found"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *lives],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=850,
    )
    assert done.returncode == 1, f"{BUGS[name].breaks}, and nobody noticed:\n{done.stdout[-2000:]}"
    assert "again: python -m tests.simulation" in done.stdout
