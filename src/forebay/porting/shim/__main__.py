"""python -m forebay.porting.shim [--cache DIR] [--cards N] [--chip NAME] [--report] script.py args...
python -m forebay.porting.shim build --cache DIR

The first runs a script with the carrier that fits this machine; the second compiles the simulated device and prints its
path. The script gets a Python of its own, so it is a true __main__: what it pickles and spawns works, and its tracebacks
are its own.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

from forebay.errors import BadScript, ForebayError
from forebay.porting.shim import journal, load
from forebay.porting.shim.build import build
from forebay.porting.shim.carrier import choose


def main(words: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a builder that is told to stop leaves no half behind
    try:
        return _build(words[1:]) if words[:1] == ["build"] else _run(words)
    except ForebayError as error:
        print(f"{error.kind}: {error}", file=sys.stderr)
        return error.exit_code


def _build(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m forebay.porting.shim build", description="compile the simulated device")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where it is kept (default: %(default)s)")
    print(build(parser.parse_args(words).cache, _say))
    return 0


def _run(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m forebay.porting.shim", description="run a script written for CUDA")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where it is kept (default: %(default)s)")
    parser.add_argument("--cards", type=int, default=1, help="cards that torch.cuda shows (default: 1)")
    parser.add_argument("--chip", default="", help="the chip's adapter, such as npu (default: what this machine has)")
    parser.add_argument("--report", action="store_true", help="show at exit what was carried, how faithfully and from where")
    parser.add_argument("script", type=Path)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    asked = parser.parse_args(words)
    if not asked.script.is_file():
        raise BadScript("The script isn't there.", asked=str(asked.script), hint="give the path of a Python file")
    _read(asked.script)
    carrier = choose(asked.cache, _say, asked.chip)
    _say(f"{carrier.kind}: {carrier.why}")
    sys.stderr.flush()
    environment = {**os.environ, **load.child_environment(carrier, asked.cards)}
    command = [sys.executable, str(asked.script), *asked.arguments]
    if not asked.report:
        os.execve(sys.executable, command, environment)
    return _reported(command, environment)


def _read(script: Path) -> None:
    """Raise BadScript unless this Python can read it: before anything is compiled for it."""
    if zipfile.is_zipfile(script):  # an application in an archive, which Python runs too
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the run itself will tell them
            compile(script.read_bytes(), str(script), "exec")
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise BadScript(
            f"This Python ({sys.version_info[0]}.{sys.version_info[1]}) can't read the script.",
            asked=f"{script}:{line}" if line else str(script),
            found=str(error),
            hint="a script written for Python 2 has to be brought to Python 3 first"
            if "print" in str(error)
            else "mend that line, or take a newer Python",
        ) from error


def _reported(command: list[str], environment: dict[str, str]) -> int:
    """Run the script as a child, and show what it and its processes used of the shim."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(environment.setdefault(journal.PLACE, str(Path(folder) / "report.json")))
        start = time.time()
        script = subprocess.Popen(command, env=environment)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the script too, which decides
        signal.signal(signal.SIGTERM, lambda *_: script.terminate())
        code = script.wait()
        print(journal.table(journal.merge(journal.read_all(place, start - 1))), file=sys.stderr)
    return code if code >= 0 else 128 - code


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "forebay" / "shim"


def _say(line: str) -> None:
    print(f"forebay: {line}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
