"""Pages that show commands of plan and fabric: the commands are run, in order, and end as the pages say.

FOREBAY_WRITE_PAGES=1 writes what they print into the pages; figures move whenever the room learns something.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CUT = "..."


def told(block: str, folder: Path) -> str:
    """The block with what its commands print now; what was cut after some lines still is."""
    blocks = []
    for one in re.split(r"^(?=\$ forebay )", block, flags=re.MULTILINE):
        command, _, old = one.partition("\n")
        if command:
            words = [sys.executable, "-m", "forebay.cli", *shlex.split(command)[2:]]
            known = {name: value for name, value in os.environ.items() if name not in ("XDG_DATA_HOME", "FOREBAY_DATA")}
            env = {**known, "COLUMNS": "150", "HOME": str(folder)}
            done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=env)
            printed = (done.stdout + done.stderr).replace(str(folder), "~")
            lines = [line.rstrip() for line in printed.rstrip().splitlines()]
            shown = old.splitlines()
            if cut := next((i for i, line in enumerate(shown) if line.strip() == CUT), None):
                lines = [*lines[:cut], shown[cut]]
            blocks += [command, *lines, *([f"(exit code {done.returncode})"] if done.returncode else [])]
    return "\n".join(blocks) + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fabric-commands", "plan", "plan-commands", "plan-serving", "plan-why"])
def test_a_pages_commands_end_as_it_says(name, tmp_path):
    file = ROOT / "docs" / f"{name}.md"
    page = file.read_text(encoding="utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "quotes").symlink_to(ROOT / "examples" / "fabric-quotes")
    if pool := re.search(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        (tmp_path / "pool.toml").write_text(pool[1])
    blocks = re.compile(r"(^```(?:text|console)\n)(\$ forebay .*?)(?=^```)", re.MULTILINE | re.DOTALL)
    new = blocks.sub(lambda found: found[1] + told(found[2], tmp_path), page)
    if os.environ.get("FOREBAY_WRITE_PAGES"):
        file.write_text(new, encoding="utf-8")
    ends = [[line for line in text.splitlines() if line.startswith(("$ forebay", "(exit code"))] for text in (new, page)]
    assert ends[0] == ends[1]
