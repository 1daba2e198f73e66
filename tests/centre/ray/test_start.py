"""Commands that make a cluster out of plain machines; and a cluster made by them, over a stand-in for SSH."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from forebay.centre.ray import start
from forebay.centre.ray.start import Machine, Plan
from forebay.errors import BadInput, Unavailable

from . import cluster as clusters

PLAN = Plan(
    machines=(
        start.machine("h1@10.0.0.1=cpu:4"),
        start.machine("a1@10.0.0.2=ascend-910b:8"),
        start.machine("g1@10.0.0.3=h100-sxm:8,cpu:16"),
        start.machine("m1@10.0.0.4=mlu370-x4:4"),
    )
)


def test_a_machine_is_written_as_people_do():
    assert start.machine("a1=ascend-910b:8") == Machine(host="a1", cards={"ascend-910b": 8})
    assert start.machine("a1@10.0.0.2") == Machine(host="a1", address="10.0.0.2", cards={})
    with pytest.raises(BadInput):
        start.machine("a1=ascend-910b")


def test_the_head_gets_heartbeats_by_which_a_dead_node_is_soon_known():
    words = start.command(PLAN, PLAN.head)
    assert words[:6] == ["env", "RAY_USAGE_STATS_ENABLED=0", "ray", "start", "--head", "--port=6379"]
    told = next(word for word in words if word.startswith("--system-config="))
    assert json.loads(told.partition("=")[2]) == dict(start.HEALTH)
    assert "--num-cpus=4" in words


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("a1", ['--resources={"NPU": 8}', "--labels=forebay-chip=ascend-910b"]),
        ("g1", ["--num-gpus=8", "--num-cpus=16", "--labels=forebay-chip=h100-sxm"]),
        ("m1", ['--resources={"mlu370-x4": 4}', "--labels=forebay-chip=mlu370-x4"]),
    ],
)
def test_cards_are_named_as_ray_names_them_and_labelled_as_we_do(host, wanted):
    which = next(machine for machine in PLAN.machines if machine.host == host)
    words = start.command(PLAN, which)
    assert set(wanted) <= set(words)
    assert {"--address=10.0.0.1:6379", f"--node-name={host}", f"--node-ip-address={which.address}"} <= set(words)


def test_ssh_asks_nothing_and_gets_one_command():
    command = start.over_ssh("a1", ["ray", "start", '--resources={"NPU": 8}'])
    assert command[:3] == ["ssh", "-o", "BatchMode=yes"]
    assert shlex.split(command[-1]) == ["ray", "start", '--resources={"NPU": 8}']


def test_by_hand_there_is_one_line_a_machine_and_it_can_be_pasted():
    lines = [line for line in start.by_hand(PLAN).splitlines() if not line.startswith("#")]
    assert [shlex.split(line) for line in lines] == [start.command(PLAN, machine) for machine in PLAN.machines]


def test_the_centre_is_told_what_was_started():
    told = start.settings(PLAN)
    assert (told.address, told.dashboard) == ("10.0.0.1:6379", "http://10.0.0.1:8265")
    assert dict(told.chips) == {"CPU": "cpu", "NPU": "ascend-910b", "GPU": "h100-sxm", "mlu370-x4": "mlu370-x4"}


@pytest.fixture
def ssh(monkeypatch):
    """A program called ssh that runs its command here, for hosts that it knows."""
    folder = Path(tempfile.mkdtemp(prefix="fbs"))
    mark = secrets.token_hex(8)
    program = folder / "ssh"
    program.write_text(
        "#!/bin/sh\nfor word; do last=$word; done\n"
        'case " $* " in *" nowhere "*) echo "ssh: Could not resolve hostname nowhere" >&2; exit 255;; esac\n'
        f'RAY_CLUSTER_MARK={mark}:x exec sh -c "$last"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    yield folder
    clusters.kill_marked(mark)
    shutil.rmtree(folder, ignore_errors=True)


def test_cards_are_looked_for_on_machines_that_name_none(ssh):
    plan = start.detected(Plan(machines=(start.machine("here"), start.machine("a1=ascend-910b:8"))), python=sys.executable)
    assert (list(plan.machines[0].cards), plan.machines[1].cards) == (["cpu"], {"ascend-910b": 8})


def test_a_machine_that_cannot_be_reached_is_named_with_what_ssh_said(ssh):
    with pytest.raises(Unavailable, match="on nowhere") as caught:
        start.start(Plan(machines=(start.machine("nowhere=cpu:2"),)))
    assert "Could not resolve" in caught.value.found


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_cluster_is_made_out_of_plain_machines(ssh):
    if importlib.util.find_spec("ray") is None:
        pytest.skip('Ray is not installed: pip install "ray[default]"')
    net = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250) + 1}"
    extra = (f"--object-store-memory={clusters.STORE_BYTES}", "--include-log-monitor=False")
    plan = Plan(
        machines=(start.machine(f"h1@{net}.1=cpu:2"), start.machine(f"a1@{net}.2=ascend-910b:8")),
        port=clusters.free_port(),
        dashboard_port=clusters.free_port(),
        extra=(*extra,),
    )
    start.start(plan)
    from forebay.centre.ray.look import look
    from forebay.centre.settings import Settings

    found = clusters.wait(
        lambda: got if len((got := look(Settings(engine="ray", ray=start.settings(plan)))).nodes) == 2 else None
    )
    assert [(node.name, node.chip, len(node.cards)) for node in found.nodes] == [("a1", "ascend-910b", 8), ("h1", "cpu", 2)]
