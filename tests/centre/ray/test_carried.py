"""Nodes that don't see the centre's folder: what a run needs is carried to them, and what it leaves is brought back."""

from __future__ import annotations

import hashlib
import os
import signal

import pytest

from forebay.centre import layout
from forebay.centre.spec import Mount, Outcome, Phase, Share

from ..conftest import SHIM
from .conftest import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HOME = {"node_home": "$NODE_DISK/forebay"}
COUNTS = """
import os, pathlib, time
out = pathlib.Path(os.environ["FOREBAY_OUTPUT"])
old = out / "count"
number = int(old.read_text()) + 1 if old.exists() else 1
print("number", number, flush=True)
old.write_text(str(number))
"""
SAVES = """
import json, os, pathlib, struct, time
out = pathlib.Path(os.environ["FOREBAY_OUTPUT"])
print("found", sorted(path.name for path in out.iterdir()), flush=True)
head = json.dumps({"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
draft = out / ".draft"
draft.write_bytes(struct.pack("<Q", len(head)) + head + b"1234")
draft.rename(out / "model.safetensors")
print("saved", flush=True)
time.sleep(600)
"""


@pytest.fixture
def far(make, cluster):
    """A centre whose nodes have disks of their own, with what carries CUDA's words compiled on them."""
    for name in cluster.hosts:
        shim = layout.shim(cluster.disk(name) / "forebay")
        if not shim.exists():
            shim.parent.mkdir(parents=True)
            shim.symlink_to(SHIM)
    return make(ray=HOME)


def test_code_and_data_reach_a_node_and_are_sent_once(far, cluster):
    tree = layout.data(far.home, "acme", "words@1")
    far.engine.data_folder("acme")
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "a.txt").write_text("alpha")
    (tree / "b.txt").write_bytes(b"x" * 3_000_000)
    mounts = (Mount(kind="data", source="words@1", at="data/words"),)
    code = "print(open('data/words/deep/a.txt').read(), len(open('data/words/b.txt').read()))\n"
    assert far.end(far.launch(code, cards=1, mounts=mounts)).outcome is Outcome.SUCCEEDED
    assert far.lines() == ["alpha 3000000"]
    there = cluster.disk("a1") / "forebay"
    copy = there / "store" / "data" / "acme" / "words@1" / "b.txt"
    written_ns = copy.stat().st_mtime_ns
    assert far.end(far.launch(code, name="k-1", cards=1, mounts=mounts)).outcome is Outcome.SUCCEEDED
    assert copy.stat().st_mtime_ns == written_ns
    assert list((there / "runs").iterdir()) == []  # nothing of an ended run stays there


def test_what_an_attempt_left_is_found_by_the_next_on_another_node(far):
    assert far.end(far.launch(COUNTS, name="j-1", on="a1", cards=1)).outcome is Outcome.SUCCEEDED
    assert (far.engine.output("j") / "count").read_text() == "1"
    assert far.end(far.launch(COUNTS, name="j-2", on="a2", cards=1)).outcome is Outcome.SUCCEEDED
    assert (far.engine.output("j") / "count").read_text() == "2"
    assert far.end(far.launch(COUNTS, name="j-3", on="a1", cards=1)).outcome is Outcome.SUCCEEDED
    assert far.lines("j-3") == ["number 3"]


def test_a_checkpoint_outlives_the_node_it_was_made_on(far, cluster):
    run = far.launch(SAVES, on="a2", cards=1)
    seen = far.seen(run, lambda seen: seen.checkpoint_at_ns > 0)
    assert seen.phase is Phase.RUNNING
    kept = hashlib.sha256((far.engine.output("j") / "model.safetensors").read_bytes()).hexdigest()
    cluster.kill_node("a2")
    seen = far.end(run)
    assert (seen.outcome, seen.checkpoint_at_ns > 0) == (Outcome.LOST, True)
    again = far.launch(SAVES, name="j-2", on="a1", cards=1)
    until(lambda: "saved" in far.lines("j-2"))
    assert far.lines("j-2")[0] == "found ['model.safetensors']"
    assert hashlib.sha256((far.engine.output("j") / "model.safetensors").read_bytes()).hexdigest() == kept
    far.engine.stop(again, 0)
    far.end(again)
    cluster.mend()


def test_a_gang_on_such_nodes_meets_and_all_its_lines_come_back(far, carried):
    code = (
        "import torch, torch.distributed as dist\ndist.init_process_group('gloo')\n"
        "t = torch.ones(1)\ndist.all_reduce(t)\nprint('sum', t.item(), flush=True)\n"
    )
    shares = (Share(node="a1", cards=(0,)), Share(node="a2", cards=(0,)))
    seen = far.end(far.launch(code, on="a1,a2", shares=shares), 200)
    assert seen.outcome is Outcome.SUCCEEDED
    assert far.lines() == ["sum 2.0", "sum 2.0"]


def test_a_long_log_comes_back_whole_over_a_new_hand(far):
    code = "import time\nfor n in range(20000):\n    print('line', n)\n    if n % 2000 == 0:\n        time.sleep(0.2)\n"
    run = far.launch(code, cards=1)
    until(lambda: far.lines())
    os.kill(far.hand(), signal.SIGKILL)
    assert far.end(run).outcome is Outcome.SUCCEEDED
    assert far.lines() == [f"line {n}" for n in range(20000)]
