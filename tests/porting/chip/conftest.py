"""The fake chip's carrier for all tests here, and processes that run under it."""

import importlib.util
import os
from pathlib import Path

import pytest

from forebay.porting.shim.build import build
from forebay.porting.shim.carrier import Carrier
from forebay.porting.shim.chip.adapter import named

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """The first test waits for a compiler, on a busy machine for minutes: its limit is for the test itself."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(120, func_only=True))


@pytest.fixture(scope="session")
def cache():
    place = os.environ.get("FOREBAY_TEST_SHIM_CACHE")
    return Path(place) if place else Path.home() / ".cache" / "forebay" / "shim"


@pytest.fixture(scope="session")
def fakechip(cache):
    return Carrier("chip", "for the tests", build(cache, recipe=named("fakechip").recipe()), "fakechip")
