"""What stands in for CUDA's libraries, against plain torch: values and gradients, on the simulated device."""

import pytest

from ..shim.conftest import HERE as SHIM
from .conftest import CHECKS, answers, run

FILES = ("flash", "apex_parts", "xformers_parts", "monitors")


@pytest.fixture(scope="module")
def said(simulated):
    known = {}

    def of(file):
        if file not in known:
            known[file] = answers(run(simulated, SHIM / "run_checks.py", CHECKS / f"{file}.py"))
        return known[file]

    return of


@pytest.mark.timeout(300)
def test_on_the_simulated_device(said, check):
    file, name = check
    assert said(file)[name] == ""
