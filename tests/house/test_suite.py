"""What the suite says of itself."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_the_files_that_are_dealt_first_are_there():
    named = re.findall(r'^    "(\S+\.py)",$', (TESTS / "conftest.py").read_text(), re.MULTILINE)
    assert len(named) == len(set(named)) >= 20
    assert [name for name in named if not (TESTS / name).is_file()] == []
