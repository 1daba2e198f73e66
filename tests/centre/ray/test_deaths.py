"""Who survives whom on a real Ray cluster: nodes, launchers, the hand, the agent and the head are killed under runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from forebay.centre import files
from forebay.centre.ray import engine
from forebay.centre.spec import Outcome, Phase
from forebay.chips.node import Condition
from forebay.codec import encode

from .conftest import RayCentre, alive, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TICKS = "import time\nfor n in range(3000):\n    print('tick', n, flush=True)\n    time.sleep(0.1)\n"
NOTICED_S = 15.0


@pytest.fixture
def whole(cluster) -> Iterator[None]:
    """The cluster is made whole again afterwards."""
    yield
    if len(cluster.alive()) < len(cluster.hosts) + 1:
        cluster.mend()


def test_a_node_that_dies_is_noticed_and_the_run_is_lost_on_all_its_nodes(site, cluster, whole):
    run = site.launch(TICKS, on="a1,a2")
    until(lambda: len(set(site.lines())) > 3)
    ranks = site.ranks()
    cluster.kill_node("a2")
    killed_s = time.monotonic()
    seen = site.end(run)
    took_s = time.monotonic() - killed_s
    print(f"lost after {took_s:.1f} s")
    assert (seen.outcome, took_s < NOTICED_S) == (Outcome.LOST, True)
    assert seen.reason.startswith("Node a2 died (")
    assert alive(ranks) == set()
    assert {state.name: state.condition for state in site.engine.states()}["a2"] is Condition.DOWN
    assert site.end(site.launch("print('on')", name="k-1", on="a1")).outcome is Outcome.SUCCEEDED
    cluster.start_node("a2")
    until(lambda: {state.name: state.condition for state in site.engine.states()}["a2"] is Condition.UP)
    assert site.end(site.launch("print('on')", name="l-1", on="a2")).outcome is Outcome.SUCCEEDED


def test_an_agent_that_is_killed_finds_its_runs_again(site):
    """The engine of another process launches, and is killed with SIGKILL; ours takes the run up."""
    site.engine.close()
    spec = site.spec("import os, time\nopen(os.environ['FOREBAY_OUTPUT'] + '/starts', 'a').write('x')\n" + TICKS, cards=1)
    files.write_json(site.home / "told.json", encode(site.told))
    files.write_json(site.home / "run.json", encode(spec))
    code = (
        "import json, sys, time\nfrom pathlib import Path\nfrom forebay.codec import decode\n"
        "from forebay.centre.ray.engine import Ray\nfrom forebay.centre.settings import Settings\n"
        "from forebay.centre.spec import Spec\n"
        "home = Path(sys.argv[1])\n"
        "engine = Ray(home, decode(Settings, json.loads((home / 'told.json').read_text())))\n"
        "engine.launch(decode(Spec, json.loads((home / 'run.json').read_text())))\ntime.sleep(600)\n"
    )
    agent = subprocess.Popen([sys.executable, "-c", code, str(site.home)])
    until(lambda: (site.home / "runs" / "j-1" / "seen.json").exists() and site.lines())
    agent.kill()
    agent.wait()
    site.engine = site.open()
    run = site.engine.handles()["j-1"]
    before = len(site.lines())
    until(lambda: len(site.lines()) > before + 10)
    site.seen(run, lambda seen: seen.phase is Phase.RUNNING)
    assert (site.engine.output("j") / "starts").read_text() == "x"
    site.engine.stop(run, 1)
    assert site.end(run).outcome is Outcome.STOPPED


def test_a_hand_that_is_killed_at_any_moment_doubles_and_loses_nothing(site):
    spec = site.spec("import os\nopen(os.environ['FOREBAY_OUTPUT'] + '/starts', 'a').write('x')\n" + TICKS, on="a1,a2", cards=1)
    run = site.engine.launch(spec)
    for pause_s in (0.3, 0.9, 1.5):  # while the group, the launchers and the shares are being made
        time.sleep(pause_s)
        os.kill(site.hand(), signal.SIGKILL)
        until(lambda: site.engine._hand is not None and site.engine._hand.poll() is None)
    site.seen(run, lambda seen: seen.phase is Phase.RUNNING)
    before = len(site.lines())
    os.kill(site.hand(), signal.SIGKILL)
    told: set[Phase] = set()
    until(lambda: told.add(site.engine.look(run).phase) or len(site.lines()) > before + 100)
    assert told == {Phase.RUNNING}  # what was known stays known
    assert (site.engine.output("j") / "starts").read_text() == "xx"
    site.engine.stop(run, 1)
    assert site.end(run).outcome is Outcome.STOPPED
    assert site.ranks() == set()


def test_a_launcher_that_dies_takes_the_run_with_it_though_nobody_looks(site):
    run = site.launch(TICKS, on="a1,a2", cards=1)
    site.seen(run, lambda seen: seen.phase is Phase.RUNNING)
    ranks, launchers = site.ranks(), site.launchers()
    assert (len(ranks), set(launchers)) == (2, {0, 1})
    site.engine.close()  # no agent, no hand
    os.kill(launchers[1], signal.SIGKILL)
    until(lambda: alive(ranks) == set(), 20)
    site.engine = site.open()
    seen = site.end(run)
    assert (seen.outcome, "node a2" in seen.reason) == (Outcome.LOST, True)
    assert seen.held_ns > 0


def test_a_head_that_comes_back_without_its_memory_ends_the_runs_and_is_used_again(site, cluster, whole):
    run = site.launch(TICKS, on="a1,a2", cards=1)
    site.seen(run, lambda seen: seen.phase is Phase.RUNNING)
    ranks = site.ranks()
    cluster.kill_head()
    until(lambda: {state.condition for state in site.engine.states()} == {Condition.DOWN})
    assert site.engine.look(run).phase is Phase.RUNNING  # it does go on
    assert alive(ranks) == ranks
    cluster.start_head()
    seen = site.end(run)
    assert (seen.outcome, alive(ranks)) == (Outcome.LOST, set())
    assert seen.reason == "The Ray cluster was started anew and has forgotten the run, whose processes ended with it."
    cluster.mend()
    until(lambda: [state.name for state in site.engine.states() if state.condition is Condition.UP] == ["a1", "a2", "m1"])
    assert site.end(site.launch("print('on')", name="k-1", on="a1,a2")).outcome is Outcome.SUCCEEDED


def test_a_run_that_waits_while_the_head_is_away_starts_once_when_it_is_back(site, cluster, whole):
    cluster.kill_head()
    run = site.launch("import os\nopen(os.environ['FOREBAY_OUTPUT'] + '/starts', 'a').write('x')\n", cards=1)
    time.sleep(3)
    cluster.start_head()
    cluster.mend()
    seen = site.seen(run, lambda seen: seen.phase is Phase.ENDED, 120)
    if seen.outcome is Outcome.SUCCEEDED:  # else the head was back before its nodes, and the cloud tries again
        assert (site.engine.output("j") / "starts").read_text() == "x"
    else:
        assert (seen.outcome, seen.held_ns) == (Outcome.LOST, 0)


def test_a_hand_is_let_go_when_nothing_goes_on_and_comes_back_when_something_does(make, cluster, monkeypatch):
    monkeypatch.setattr(engine, "IDLE_S", 2.0)
    site: RayCentre = make(ray={"dashboard": cluster.dashboard})
    assert site.end(site.launch("print('on')", cards=1)).outcome is Outcome.SUCCEEDED
    until(lambda: site.engine._hand is None)
    assert site.end(site.launch("print('on')", name="k-1", cards=1)).outcome is Outcome.SUCCEEDED
