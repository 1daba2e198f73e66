"""Sabotage: with a part of certify's judgement replaced, the check of planted faults fails."""

from pathlib import Path

import pytest

from ..chip.conftest import fakechip  # noqa: F401 (a fixture)
from ..shim.conftest import answers, run, sentences

HERE = Path(__file__).parent
CHECKS = HERE / "checks" / "sabotage.py"


@pytest.fixture(scope="module")
def said(fakechip):  # noqa: F811
    return answers(run(fakechip, HERE.parent / "shim" / "run_checks.py", CHECKS))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("check", sentences(CHECKS))
def test_sabotage(said, check):
    assert said[check] == "", said[check]
