"""A certification in a process of its own, as a user starts it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.porting.certify import record

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]

HERE = Path(__file__).parent
SOURCE = HERE.parents[2] / "src"


@pytest.fixture(scope="session")
def cache():
    place = os.environ.get("FOREBAY_TEST_SHIM_CACHE")
    return Path(place) if place else Path.home() / ".cache" / "forebay" / "shim"


def environment(**more):
    places = os.pathsep.join(filter(None, [str(SOURCE), str(HERE), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1", **more}


@pytest.fixture(scope="session")
def start(cache):
    """A started certification, which the test ends or waits for."""

    def started(folder, *words, **more):
        command = [sys.executable, "-m", "forebay.porting.certify", "--out", str(folder), "--cache", str(cache), *words]
        return subprocess.Popen(command, env=environment(**more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return started


@pytest.fixture(scope="session")
def certify(start):
    """A certification to its end: the run that its folder holds, its exit code and what it said."""

    def ended(folder, *words, **more):
        process = start(folder, *words, **more)
        told, wrong = process.communicate(timeout=900)  # what a test has is less
        run = record.read(folder) if (folder / record.HEADER).exists() else None
        return run, process.returncode, told + wrong

    return ended
