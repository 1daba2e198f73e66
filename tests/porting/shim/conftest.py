"""One compiled device for all tests, and processes that run under it: torch must be carried before it is imported."""

import ast
import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.porting.shim import load
from forebay.porting.shim.build import build
from forebay.porting.shim.carrier import Carrier

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]

HERE = Path(__file__).parent


def pytest_generate_tests(metafunc):
    """A test with `check` as an argument runs once for each check in its module's FILES."""
    if "check" in metafunc.fixturenames:
        names = [(file, name) for file in metafunc.module.FILES for name in sentences(HERE / "checks" / f"{file}.py")]
        metafunc.parametrize("check", names, ids=[name for _, name in names])


def pytest_collection_modifyitems(items):
    """The first test waits for a compiler, on a busy machine for minutes: its limit is for the test itself."""
    for item in items:
        limited = item.get_closest_marker("timeout") or item.get_closest_marker("slow")
        if item.path.is_relative_to(HERE) and limited is None:
            item.add_marker(pytest.mark.timeout(120, func_only=True))


def sentences(path):
    """The checks of a file, without importing it: its functions that take nothing."""
    return [
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and not (node.args.args or node.args.vararg)
    ]


@pytest.fixture(scope="session")
def cache():
    """Kept between runs of the suite, and shared by its workers through the builder's lock."""
    place = os.environ.get("FOREBAY_TEST_SHIM_CACHE")
    return Path(place) if place else Path.home() / ".cache" / "forebay" / "shim"


@pytest.fixture(scope="session")
def simulated(cache):
    return Carrier("simulated", "for the tests", build(cache))


@pytest.fixture(scope="session")
def mapped():
    return Carrier("mapped", "for the tests")


def run(carrier, *words, cards=2, ranks=0, python=sys.executable, within_s=100, **variables):
    """Run Python with these words under a carrier; with ranks, as many processes that can find each other."""
    environment = {**os.environ, **load.child_environment(carrier, cards), "OMP_NUM_THREADS": "1", **variables}
    if ranks:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = str(listener.getsockname()[1])
        environment.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, WORLD_SIZE=str(ranks))
    processes = [
        subprocess.Popen(
            [python, *map(str, words)],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks or 1)
    ]
    try:
        ended = []
        for process in processes:
            out, err = process.communicate(timeout=within_s)
            ended.append(subprocess.CompletedProcess(words, process.returncode, out, err))
        return ended if ranks else ended[0]
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def said(simulated):
    """What the checks of a file said, from one process (or one of two ranks) for the whole file."""
    known = {}

    def of(file, ranks=0):
        if file not in known:
            ended = run(simulated, HERE / "run_checks.py", HERE / "checks" / f"{file}.py", ranks=ranks)
            known[file] = [answers(one) for one in (ended if ranks else [ended])]
        return known[file]

    return of


def answers(ended):
    lines = [line[7:] for line in ended.stdout.splitlines() if line.startswith("CHECKS ")]
    assert lines, f"exit code {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    return json.loads(lines[0])
