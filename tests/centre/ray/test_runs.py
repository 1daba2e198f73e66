"""What becomes of runs on a real Ray cluster: gangs, queues, strangers, stopping, logs, and what a job gets to see."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from forebay.centre.spec import Outcome, Phase
from forebay.chips.node import Condition

from .conftest import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HELLO = "import os\nprint('rank', os.environ['RANK'], 'of', os.environ['WORLD_SIZE'])\n"
SLEEP = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"
GANG = """
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
sum_ = torch.tensor([float(dist.get_rank() + 1)])
dist.all_reduce(sum_)
print("sum", sum_.item(), "of", dist.get_world_size(), flush=True)
dist.destroy_process_group()
"""


def test_the_nodes_of_the_cluster_are_those_of_the_centre(site):
    assert [(node.name, node.chip, len(node.cards), node.counted) for node in site.engine.nodes()] == [
        ("a1", "ascend-910b", 8, True),
        ("a2", "ascend-910b", 8, True),
        ("m1", "mlu370-x4", 4, True),
    ]
    assert {(state.condition, state.busy) for state in site.engine.states()} == {(Condition.UP, ())}


def test_a_dashboard_tells_the_same_as_a_driver_and_no_process_stays_for_it(make, cluster):
    by_driver, by_http = make(), make(ray={"dashboard": cluster.dashboard})
    assert by_http.engine.nodes() == by_driver.engine.nodes()
    assert by_http.engine._hand is None


def test_a_gang_over_two_nodes_meets_through_our_store(site, carried):
    seen = site.end(site.launch(GANG, on="a1,a2"))
    assert (seen.outcome, seen.reason) == (Outcome.SUCCEEDED, "Every rank ended well.")
    assert sorted(site.lines()) == ["sum 10.0 of 4"] * 4
    assert set(seen.bound) == {"a1", "a2"}


def test_the_same_name_again_is_the_same_run(site):
    spec = site.spec(HELLO)
    first, second = site.engine.launch(spec), site.engine.launch(spec)
    site.end(first)
    assert first == second
    assert sorted(site.lines()) == ["rank 0 of 2", "rank 1 of 2"]


def test_a_second_gang_waits_with_rays_reason_and_runs_when_the_first_has_ended(site):
    first = site.launch(SLEEP, name="a-1", on="a1,a2", cards=5)
    site.seen(first, lambda seen: seen.phase is Phase.RUNNING)
    second = site.launch(HELLO, name="b-1", on="a1,a2", cards=5)
    waiting = site.seen(second, lambda seen: "NO_RESOURCES" in seen.reason)
    assert (waiting.phase, waiting.started_at_ns) == (Phase.QUEUED, 0)
    assert waiting.reason == "Ray: NO_RESOURCES: others hold the cards that it needs."
    site.engine.stop(first, 0)
    assert site.end(second).outcome is Outcome.SUCCEEDED


def test_what_waits_in_ray_is_stopped_at_once_and_costs_nothing(site):
    first = site.launch(SLEEP, name="a-1", cards=8)
    site.seen(first, lambda seen: seen.phase is Phase.RUNNING)
    second = site.launch(HELLO, name="b-1", cards=8)
    site.seen(second, lambda seen: "NO_RESOURCES" in seen.reason)
    site.engine.stop(second, 60)
    seen = site.end(second, 15)
    assert (seen.outcome, seen.held_ns) == (Outcome.STOPPED, 0)
    assert site.engine.look(first).phase is Phase.RUNNING


def test_cards_that_others_hold_are_busy_and_their_actors_are_left_alone(site, other):
    other(
        "class Theirs:\n    def hold(self): return 1\n"
        "theirs = ray.remote(Theirs).options(resources={'NPU': 3}, num_cpus=0).remote()\n"
        "ray.get(theirs.hold.remote())"
    )
    until(lambda: sum(len(state.busy) for state in site.engine.states()) == 3)
    busy = next(state for state in site.engine.states() if state.busy)
    assert busy.busy == (5, 6, 7)
    seen = site.end(site.launch(HELLO, on=busy.name, cards=5))
    assert seen.outcome is Outcome.SUCCEEDED
    until(lambda: [len(state.busy) for state in site.engine.states() if state.name == busy.name] == [3])


def test_our_own_cards_are_never_called_busy(site):
    told = []
    run = site.launch(SLEEP, on="a1,a2", cards=8)
    site.seen(run, lambda seen: told.extend(site.engine.states()) or seen.phase is Phase.RUNNING)
    site.engine.stop(run, 0)
    site.seen(run, lambda seen: told.extend(site.engine.states()) or seen.phase is Phase.ENDED)
    until_s = time.monotonic() + 4
    until(lambda: told.extend(site.engine.states()) or time.monotonic() > until_s)
    assert {state.busy for state in told} == {()}


def test_a_run_that_is_asked_to_stop_has_its_grace_on_every_node(site):
    code = (
        "import os, signal, sys, time\n"
        "def end(*_):\n    time.sleep(1)\n    print('saved', os.environ['RANK'], flush=True)\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('up', flush=True)\ntime.sleep(600)\n"
    )
    run = site.launch(code, on="a1,a2", cards=1)
    until(lambda: site.lines().count("up") == 2)
    site.engine.stop(run, 20)
    seen = site.end(run)
    assert (seen.outcome, seen.reason) == (Outcome.STOPPED, "It was asked to stop.")
    assert {"saved 0", "saved 1"} <= set(site.lines())


def test_a_rank_that_fails_on_one_node_ends_those_on_the_other(site):
    code = "import os, sys, time\nif os.environ['RANK'] == '3':\n    sys.exit(7)\ntime.sleep(600)\n"
    seen = site.end(site.launch(code, on="a1,a2"))
    assert (seen.outcome, seen.exit_code, seen.failed_rank) == (Outcome.FAILED, 7, 3)
    assert site.ranks() == set()


def test_lines_and_progress_are_followed_while_the_run_goes_on(site):
    code = "import time\nfor step in range(600):\n    print(f'step {step} loss 0.5', flush=True)\n    time.sleep(0.1)\n"
    run = site.launch(code, on="a1,a2", cards=1)
    until(lambda: (now := site.engine.progress(run)) is not None and (now.step or 0) > 3)
    assert any(line.startswith("step 3") for line in site.lines(rank=0))
    until(lambda: any(line.startswith("step 3") for line in site.lines(rank=1)))
    site.engine.stop(run, 0)
    site.end(run)


def test_a_job_gets_to_see_nothing_of_ray_or_of_ours_but_its_own(site):
    seen = site.end(site.launch("import json, os\nprint(json.dumps(dict(os.environ)))\n", cards=1))
    env = json.loads(site.lines()[0])
    assert seen.outcome is Outcome.SUCCEEDED
    assert [name for name in env if name.startswith("RAY_") or "KEY" in name or "TOKEN" in name or "SECRET" in name] == []
    assert not {"RAY_CLUSTER_MARK", "NODE_DISK", "ASCEND_RT_VISIBLE_DEVICES"} & set(env)


def test_two_runs_on_one_node_see_the_cards_that_ray_gave_each(make):
    site = make(pretend=False)
    code = "import os, time\nprint(os.environ['ASCEND_RT_VISIBLE_DEVICES'], flush=True)\ntime.sleep(600)\n"
    runs = [site.launch(code, name=name, cards=4) for name in ("a-1", "b-1")]
    until(lambda: site.lines("a-1") and site.lines("b-1"))
    shown = [{int(card) for card in site.lines(name)[0].split(",")} for name in ("a-1", "b-1")]
    assert shown[0] | shown[1] == set(range(8))
    assert [set(site.engine.look(run).bound["a1"]) for run in runs] == shown


def test_people_come_in_through_the_door_of_a_run(site):
    code = (
        "import os, socket\n"
        "door = socket.socket(socket.AF_UNIX)\nos.chdir(os.environ['TMPDIR'])\ndoor.bind('door')\ndoor.listen(1)\n"
        "print('open', flush=True)\nline, _ = door.accept()\nline.sendall(line.recv(100).upper())\nline.close()\n"
    )
    run = site.launch(code, cards=1)
    until(lambda: "open" in site.lines() and site.engine.look(run).phase is Phase.RUNNING)  # the log may come first
    with site.engine.dial(run) as line:
        line.settimeout(20)
        line.sendall(b"hello")
        assert line.recv(100) == b"HELLO"
    assert site.end(run).outcome is Outcome.SUCCEEDED


def test_code_that_is_not_there_is_said_to_be_missing(site):
    seen = site.end(site.engine.launch(replace(site.spec(HELLO), bundle="0" * 64)))
    assert seen.outcome is Outcome.UNPREPARED
    assert "code" in seen.reason
