"""A cluster that grows and shrinks: Ray's own autoscaler, whose machines are processes here."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.centre.settings import Grown
from forebay.centre.spec import Outcome, Phase
from forebay.chips.node import Condition

from .cluster import Cluster
from .conftest import RayCentre, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

GROWN = {"npus": Grown(chip="ascend-910b", cards=8, most=2)}


@pytest.fixture(scope="module")
def growing() -> Iterator[Cluster]:
    if importlib.util.find_spec("ray") is None:
        pytest.skip('Ray is not installed: pip install "ray[default]"')
    folder = Path(tempfile.mkdtemp(prefix="fbg"))
    folder.chmod(0o755)
    made = Cluster(folder, (), grows={"npus": ({"CPU": 8, "NPU": 8}, 2)})
    yield made
    made.end()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def homes() -> Iterator[list[RayCentre]]:
    made: list[RayCentre] = []
    yield made
    for centre in made:
        centre.engine.close()
        shutil.rmtree(centre.home, ignore_errors=True)


def test_nodes_that_are_not_there_yet_can_be_placed_on_and_come_when_they_are_needed(growing, homes):
    home = Path(tempfile.mkdtemp(prefix="forebay-ray-"))
    home.chmod(0o711)
    homes.append(site := RayCentre(home, growing, ray={"grows": GROWN}))
    assert [(node.name, len(node.cards), node.address) for node in site.engine.nodes()] == [("npus-1", 8, ""), ("npus-2", 8, "")]
    run = site.launch("print('here')", on="npus-1", cards=8)
    waiting = site.seen(run, lambda seen: "INFEASIBLE" in seen.reason or seen.phase is Phase.ENDED)
    assert waiting.reason == "Ray: INFEASIBLE: no node of the cluster has what it needs; the autoscaler may bring one."
    assert site.end(run).outcome is Outcome.SUCCEEDED
    assert site.lines() == ["here"] * 8
    assert [node.name for node in site.engine.nodes()] == ["npus-1", "npus-2"]  # nothing is listed twice


def test_nodes_appear_and_leave(growing, homes):
    home = Path(tempfile.mkdtemp(prefix="forebay-ray-"))
    home.chmod(0o711)
    homes.append(site := RayCentre(home, growing))  # the one that came for the test before
    assert [(node.chip, len(node.cards)) for node in site.engine.nodes()] == [("ascend-910b", 8)]
    growing.stop_grown()
    until(lambda: {state.condition for state in site.engine.states()} == {Condition.DOWN}, 60)  # there is none at all now
