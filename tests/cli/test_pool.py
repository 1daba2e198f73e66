"""`forebay pool`, `forebay centre`, `forebay fetch`: what they print, of small pools and of large ones."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cloud.clouds import Cloud, torn_down, until
from tests.cloud.conftest import still_there

from forebay.chips.node import Card, Node
from forebay.cli import main, pool, pool_table
from forebay.codec import encode
from forebay.errors import BadInput
from forebay.units import NS_PER_S


def node(name: str, **more: Any) -> dict[str, Any]:
    plain = {"name": name, "chip": "h100-sxm", "pretend": False, "count": 8, "free": 8, "ours": 0, "others": 0, "unfit": {},
             "out": "", "held_by": [], "leaf": ""}  # fmt: skip
    return {**plain, **more}


def pool_of(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"centres": [{"name": "north", "nodes": list(nodes)}]}


# Tables.


@pytest.mark.parametrize(
    "names, short",
    [
        (["h1", "h2", "h3", "h7"], "h[1-3,7]"),
        (["gpu001", "gpu002", "gpu010"], "gpu[001-002,010]"),
        (["login", "h5"], "login, h5"),
        (["a1-x", "a2-x", "b1"], "a[1-2]-x, b1"),
        (["10.0.0.1", "10.0.0.2"], "10.0.0.[1-2]"),
        ([], ""),
    ],
)
def test_names_are_folded_into_ranges(names, short):
    assert pool_table.folded(names) == short


def test_a_thousand_nodes_that_are_alike_are_one_line_and_those_that_are_not_have_their_own():
    nodes = [node(f"h{i}") for i in range(1, 1001)]
    nodes[479] = node("h480", free=6, ours=2, held_by=["j1-1", "j2-1"])
    nodes[99] = node("h100", free=0, out="down: no answer")
    nodes[9] = node("h10", free=7, unfit={"3": "quarantined: bits flip"})
    rows = pool_table.node_rows(pool_of(*nodes))
    assert [row[1:6] for row in rows] == [
        ["h[1-9,11-99,101-479,481-1000]", "h100-sxm", 997 * 8, 997 * 8, 0],
        ["h10", "h100-sxm", 8, 7, 0],
        ["h100", "h100-sxm", 8, 0, 0],
        ["h480", "h100-sxm", 8, 6, 2],
    ]
    assert rows[2][8] == "down: no answer" and rows[3][9] == "j1-1, j2-1"
    each = pool_table.node_rows(pool_of(*nodes), each=True)
    assert len(each) == 1000 and len(each[0]) == len(pool_table.columns(each=True))
    assert pool_table.node_rows(pool_of(*nodes), only="elsewhere") == []
    assert pool_table.unfit_lines(pool_of(*nodes)) == ["north/h10/3: quarantined: bits flip"]


def test_of_many_holders_three_are_named():
    (row,) = pool_table.node_rows(pool_of(*(node(f"h{i}", ours=1, free=7, held_by=[f"j{i}-1"]) for i in range(9))))
    assert row[9] == "j0-1, j1-1, j2-1 and 6 more"


def test_moments_are_now_or_after_another_or_by_the_calendar():
    begins = 1_000 * NS_PER_S
    assert pool.moment_ns("now", begins) == begins
    assert pool.moment_ns("+2h", begins) == begins + 7200 * NS_PER_S
    assert pool.moment_ns("1970-01-02 00:00+00:00", begins) == 86_400 * NS_PER_S
    with pytest.raises(BadInput):
        pool.moment_ns("tomorrow", begins)


# Commands.


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """A cloud whose local centre has said its nodes, speaks now and then, and does nothing."""
    nodes = (Node(name="here", chip="cpu", cards=tuple(Card(index=i) for i in range(4))),)
    with torn_down(Cloud()) as made:
        made.serve()
        with made.centre() as agent:
            agent.post("/agent/hello", json={"nodes": encode(nodes)}).raise_for_status()
        with still_there(made):
            yield made


Forebay = Callable[..., str]


@pytest.fixture
def forebay(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Forebay:
    """`forebay(...)` in this process, as the operator; gives what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOREBAY_URL", cloud.url)
    monkeypatch.setenv("FOREBAY_KEY", cloud.operator_key)
    monkeypatch.setenv("COLUMNS", "250")

    def run(*words: object, fails: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["forebay", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        printed = capsys.readouterr()
        assert (ended.value.code or 0) == fails, printed
        return printed.err if fails else printed.out

    return run


def test_a_centre_is_made_with_the_command_that_joins_it_and_revoked(cloud, forebay):
    told = forebay("centre", "make", "north").splitlines()
    token = told[1].removeprefix("token ")
    assert told[0] == "centre north" and told[3] == f"forebay centre join {cloud.url} --token {token}"
    again = json.loads(forebay("centre", "token", "north", "--json"))
    assert (again["name"], again["cloud"]) == ("north", cloud.url) and again["token"] != token
    listed = {row["name"]: row for row in json.loads(forebay("centre", "list", "--json"))}
    assert (listed["north"]["state"], listed["north"]["token"]) == ("not joined", "unused")
    assert "not joined" in forebay("centre", "list")
    assert listed["north"]["rate"] == {"bytes_per_s": 125e6, "source": "assumed"}
    assert forebay("centre", "rate", "north", "4 Gbit/s") == "north: data comes at 500 MB/s, until it is measured\n"
    assert "500 MB/s said" in forebay("centre", "list")
    assert json.loads(forebay("centre", "rate", "north", "none", "--json")) == {"centre": "north", "bytes_per_s": None}
    listed = forebay("centre", "list")
    assert "125 MB/s" in listed and "assumed" in listed
    assert "There is no such centre." in forebay("centre", "rate", "nowhere", "1 GB/s", fails=3)
    assert "a rate such as" in forebay("centre", "rate", "north", "fast", fails=2)
    assert "refused from now on" in forebay("centre", "revoke", "north")
    assert "There is a centre of that name already." in forebay("centre", "make", "north", fails=5)


def test_the_pool_is_shown_with_what_is_drained_and_planned_and_waited_for(forebay):
    assert forebay("pool", "drain", "local/here/3", "--reason", "smells of smoke") == "local/here/3 gets no new runs\n"
    told = forebay("pool", "maintenance", "local", "--from", "+2h", "--to", "+1h", "--reason", "new pumps", "--json")
    window = json.loads(told)
    assert window["to_ns"] - window["from_ns"] == 3600 * NS_PER_S
    shown = forebay("pool")
    assert "local/here/3: drained: smells of smoke" in shown
    assert f"new pumps ({window['id']})" in shown and "0 jobs waiting" in shown
    (row,) = [line.split() for line in shown.splitlines() if "here" in line and "cpu" in line]
    assert row == ["local", "here", "cpu", "4", "3", "0", "0", "1"]
    assert "new pumps" not in forebay("pool", "maintenance", window["id"], "--lift")
    assert forebay("pool", "undrain", "local/here/3") == "local/here/3 gets runs again\n"
    assert "switch" in forebay("pool", "--centre", "local", "--nodes")
    assert json.loads(forebay("pool", "--json", "--centre", "local"))["centres"][0]["nodes"][0]["free"] == 4
    assert "There is no such centre." in forebay("pool", "--centre", "nowhere", fails=3)
    assert "When does it end?" in forebay("pool", "maintenance", "local", fails=2)


def test_what_a_job_left_is_fetched_into_a_folder_of_its_name(cloud, forebay):
    with tempfile.TemporaryDirectory() as folder, cloud.client(cloud.tenant("acme")) as member:
        script = Path(folder) / "train.py"
        script.write_text("print('hello')\n")
        job = member.run(script, chips=["cpu"])["id"]
    body = b"weights"
    sha256 = hashlib.sha256(body).hexdigest()
    manifest = {"files": [{"path": "m.pt", "size_bytes": 7, "chunks": [{"sha256": sha256, "size_bytes": 7}]}]}
    with cloud.centre() as agent:
        left = [{"path": "m.pt", "size_bytes": 7, "modified_ns": 1}]
        seen = {"name": f"{job}-1", "phase": "ended", "outcome": "succeeded", "running_at_ns": 5, "artefacts": left}
        agent.post("/agent/report", json={"seen": [seen]}).raise_for_status()
        assert "is being brought from centre local" in forebay("fetch", job, "--wait", "0s", fails=6)
        assert agent.post(f"/agent/outputs/{job}-1/missing", json=manifest).json() == {"missing": [sha256]}
        agent.post(f"/agent/outputs/{job}-1/chunks", content=f'[["{sha256}", 7]]\n'.encode() + body).raise_for_status()
        agent.put(f"/agent/outputs/{job}-1", json=manifest).raise_for_status()
    assert forebay("fetch", job) == f"{job}-out: 1 file, 7 B, left by {job}-1\n"
    assert (Path(f"{job}-out") / "m.pt").read_bytes() == body
    os.mkdir("full")
    Path("full/mine").touch()
    assert "something else in that folder" in forebay("fetch", job, "--to", "full", fails=5)


def test_how_long_a_job_takes_is_said_by_chip(cloud, forebay):
    Path("train.py").write_text("print('hello')\n")
    cloud.tenant("acme")
    words = ("run", "--detach", "--json", "--project", "acme/research", "--chip", "cpu", "--cards", "2,1")
    job = json.loads(forebay(*words, "--takes", "cpu=10m,cpu:2=6m", "train.py"))
    assert [(o["cards"], o["expected_s"]) for o in job["menu"]] == [(2, 360.0), (1, 600.0)]
    assert "2 x cpu (6 m 00 s), or 1 x cpu (10 m 00 s)" in forebay("show", job["id"])
    assert "That doesn't say how long it takes." in forebay(*words, "--takes", "cpu", "train.py", fails=2)
    assert until(lambda: "it ends first" in forebay("story", job["id"]))
    forebay("cancel", job["id"])
