"""docs/plan-commands.md: its commands are run, in order, and end as the page says.

FOREBAY_WRITE_PAGES=1 writes what they print into the page; figures move whenever the planner learns something.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "plan-commands.md"
CUT = "..."


def told(block: str, folder: Path) -> str:
    """The block with what its commands print now; what was cut after some lines still is."""
    blocks = []
    for one in re.split(r"^(?=\$ forebay )", block, flags=re.MULTILINE):
        command, _, old = one.partition("\n")
        if command:
            words = [sys.executable, "-m", "forebay.cli", *shlex.split(command)[2:]]
            done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env={**os.environ, "COLUMNS": "150"})
            lines = [line.rstrip() for line in (done.stdout + done.stderr).rstrip().splitlines()]
            if CUT in old.splitlines():
                lines = [*lines[: old.splitlines().index(CUT)], CUT]
            blocks += [command, *lines, *([f"(exit code {done.returncode})"] if done.returncode else [])]
    return "\n".join(blocks) + "\n"


@pytest.mark.slow
def test_the_pages_commands_end_as_it_says(tmp_path):
    page = PAGE.read_text(encoding="utf-8")
    pool = re.search(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert pool
    (tmp_path / "pool.toml").write_text(pool[1])
    new = re.sub(
        r"(?<=^```text\n)(\$ forebay .*?)(?=^```)", lambda found: told(found[1], tmp_path), page, flags=re.MULTILINE | re.DOTALL
    )
    if os.environ.get("FOREBAY_WRITE_PAGES"):
        PAGE.write_text(new, encoding="utf-8")
    assert [line for line in new.splitlines() if line.startswith(("$ forebay", "(exit code"))] == [
        line for line in page.splitlines() if line.startswith(("$ forebay", "(exit code"))
    ]
