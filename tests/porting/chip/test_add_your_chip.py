"""The page for vendors is true: its files are written, its commands are run, and what they print is what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.porting.shim.chip.adapter import Adapter

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "add-your-chip.md").read_text()
FILES = dict(re.findall(r"`([\w.]+)`:\n\n```python\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = [
    (lines.splitlines()[0], lines.splitlines()[1:])
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    for lines in block.split("$ ")[1:]
]


def test_the_page_has_two_files_and_three_commands():
    assert (sorted(FILES), len(COMMANDS)) == (["hello.py", "my_adapter.py"], 3)


def test_every_field_that_the_page_explains_is_an_adapters():
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)))
    assert set(named) <= set(Adapter.__dataclass_fields__) and "tag" in named


@pytest.mark.parametrize("command, printed", COMMANDS, ids=[command for command, _ in COMMANDS])
def test_the_pages_commands_run(fakechip, cache, tmp_path, command, printed):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    words = command.replace("forebay chips", "python -m forebay.cli chips").replace("python", sys.executable, 1).split()
    where = ["--cache", str(cache)]
    words = [*words[:3], *where, *words[3:]] if "shim" in words[2] else [*words, *where]
    search = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
    environment = {**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    ended = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110, check=False)
    assert "Traceback" not in ended.stderr, ended.stderr
    assert ended.stdout.splitlines()[: len(printed)] == printed
    assert ended.stdout, ended.stderr
