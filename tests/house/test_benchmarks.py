"""Every benchmark can be asked what it does, and says what its figure is held against."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
BENCHMARKS = sorted(path for path in FOLDER.glob("*.py") if "__main__" in path.read_text())


def test_there_are_the_benchmarks_that_the_page_lists():
    listed = set(re.findall(r"`python benchmarks/(\w+\.py)", (FOLDER.parent / "docs" / "benchmarks.md").read_text()))
    assert listed == {path.name for path in BENCHMARKS}


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_explains_itself(path):
    told = subprocess.run(
        [sys.executable, str(path), "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 0, told.stderr
    assert "--json" in told.stdout


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_says_its_command_and_its_bar_or_peer(path):
    opening = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert f"python benchmarks/{path.name}" in opening
    assert re.search(r"\b(bars?|peer|ratio)\b", opening, re.IGNORECASE), "neither a bar, a peer nor a ratio"
