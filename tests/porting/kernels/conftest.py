"""The kernels of our own run once, under the simulated card; each test looks at what they gave."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.porting.shim import load
from forebay.porting.shim.build import build
from forebay.porting.shim.carrier import Carrier

ROOT = Path(__file__).parents[3]


def pytest_collection_modifyitems(items):
    """The first test waits for a compiler, on a busy machine for minutes: its limit is for the test itself."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(300, func_only=True))


@pytest.fixture(scope="session")
def carrier():
    place = os.environ.get("FOREBAY_TEST_SHIM_CACHE")
    cache = Path(place) if place else Path.home() / ".cache" / "forebay" / "shim"
    return Carrier("simulated", "for the tests", build(cache))


@pytest.fixture(scope="session")
def run(carrier, tmp_path_factory):
    """Run Python with these words under the simulated card."""

    def of(*words, folder=None, timeout=280, **variables):
        scratch = str(tmp_path_factory.mktemp("run"))
        environment = {**os.environ, **load.child_environment(carrier, 1), "OMP_NUM_THREADS": "2", "TMPDIR": scratch, **variables}
        command = [sys.executable, *map(str, words)]
        return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)

    return of


@pytest.fixture(scope="session")
def errors(run, tmp_path_factory):
    """A recipe's kernels with their errors against torch."""
    known = {}

    def of(recipe):
        if recipe not in known:
            build = tmp_path_factory.mktemp("kernels")
            ended = run(ROOT / "benchmarks" / "porting_kernels.py", "--one", recipe, "--build", build)
            assert ended.returncode == 0, ended.stdout + ended.stderr
            lines = [json.loads(line[7:]) for line in ended.stdout.splitlines() if line.startswith("KERNEL ")]
            known[recipe] = {line["kernel"]: line["error"] for line in lines}
        return known[recipe]

    return of
