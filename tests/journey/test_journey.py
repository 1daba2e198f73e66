"""docs/journey.md, executed: its commands in order, in one shell, against a real cloud in a temporary folder.

Every command must end with 0 (where the page shows an error it says `; echo "exit code $?"` after it), and every line that the
page shows under a command must be found among what the command printed. `…` on the page stands for anything, or for nothing.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from forebay.chips.catalogue import load

PAGE = Path(__file__).parents[2] / "docs" / "journey.md"
NOT_RUN = "<!-- not run by the test -->\n"
OVER = "the-command-is-over"


@dataclass(frozen=True)
class Step:
    """A command of the page, and the lines that the page shows under it."""

    command: str
    shown: tuple[str, ...]


def steps(page: str) -> list[Step]:
    """The commands of a page's console blocks. A command goes on to the end of its here-document."""
    found: list[Step] = []
    for skipped, block in re.findall(rf"({re.escape(NOT_RUN)})?^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if skipped:
            continue
        lines = block.splitlines()
        while lines:
            command = lines.pop(0).removeprefix("$ ")
            here = re.search(r"<<'(\w+)'", command)
            while here and not command.endswith(f"\n{here[1]}"):
                command += "\n" + lines.pop(0)
            shown = []
            while lines and not lines[0].startswith("$ "):
                shown.append(lines.pop(0))
            found.append(Step(command, tuple(shown)))
    return found


def unseen(shown: tuple[str, ...], printed: str) -> list[str]:
    """The lines of the page that the command didn't print. Spaces between columns don't count."""
    left = [" ".join(line.split()) for line in printed.splitlines()]
    missing = []
    for line in shown:
        wanted = re.compile(r"\s*.*\s*".join(re.escape(" ".join(part.split())) for part in line.split("…")))
        hit = next((have for have in left if wanted.fullmatch(have)), None)
        if hit is None and line != "…":
            missing.append(line)
        elif hit is not None and line != "…":
            left.remove(hit)
    return missing


class Shell:
    """One bash session. Variables, functions and the working folder stay from one command to the next."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        """The exit code of a command, and what it printed on both streams."""
        assert self._bash.stdin is not None and self._bash.stdout is not None
        self._bash.stdin.write(f"{{ {command}\n}} </dev/null; printf '\\n%s %s\\n' {OVER} $?\n")
        self._bash.stdin.flush()
        printed = []
        for line in self._bash.stdout:
            if line.startswith(OVER):
                return int(line.split()[1]), "".join(printed)
            printed.append(line)
        raise AssertionError(f"the shell ended in the middle of: {command}\n{''.join(printed)}")

    def close(self) -> None:
        os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.wait()


@pytest.fixture
def shell() -> Iterator[Shell]:
    folder = Path(tempfile.mkdtemp(prefix="forebay-journey-"))
    folder.chmod(0o711)
    hidden = {chip.visible_devices_env: "" for chip in load().values() if chip.visible_devices_env}  # the page has CPU cards
    mine = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_") and name != "COLUMNS"}
    env = mine | hidden | {"PATH": f"{Path(sys.executable).parent}:{mine['PATH']}", "XDG_CONFIG_HOME": str(folder / "config")}
    opened = Shell(folder, env)
    try:
        yield opened
    finally:
        opened.close()
        down = [sys.executable, "-m", "forebay.cli", "down", "--stop-runs", "--data", str(folder / "forebay")]
        subprocess.run(down, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)  # already down, if all went well
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(300)  # half a minute on two idle cores
def test_the_commands_of_the_journey_do_what_the_page_says(shell: Shell) -> None:
    for step in steps(PAGE.read_text()):
        code, printed = shell.run(step.command)
        assert code == 0, f"$ {step.command}\n{printed}"
        assert unseen(step.shown, printed) == [], f"$ {step.command}\n{printed}"


def test_the_journey_leaves_no_verb_of_a_tenant_out() -> None:
    words = {shlex.split(part)[1] for step in steps(PAGE.read_text()) for part in re.findall(r"forebay [a-z]+", step.command)}
    everyday = "up org price quota key data port run jobs show logs story bill pool cancel down"
    assert words >= set(everyday.split())


def test_a_line_of_the_page_is_found_whatever_stands_for_its_dots() -> None:
    assert unseen(("job j…", "a b … c"), "job jab2\na   b  1  2 c\n") == []
    assert unseen(("exit code 4",), "exit code 40\n") == ["exit code 4"]
    assert unseen(("same", "same"), "same\n") == ["same"]
