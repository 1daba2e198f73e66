"""Centres join with a token, are told what to run, and can be refused; what they say of nodes and runs; what operators drain.

Real HTTP to a real cloud; the agents here are bare requests, so that each word of theirs is the test's.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from world import S, node

from forebay import __version__
from forebay.chips.node import Card, Node
from forebay.client import Client
from forebay.cloud.core import events as e
from forebay.cloud.core.decide import decide
from forebay.cloud.journal import Journal
from forebay.cloud.loop import Loop
from forebay.codec import encode
from forebay.errors import BadInput, Conflict, Refused, Unknown

from .clouds import Cloud, until

NORTH = (Node(name="h1", chip="h100-sxm", cards=tuple(Card(index=i) for i in range(4))),)


def sha(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@pytest.fixture(scope="module")
def acme(cloud: Cloud) -> str:
    return cloud.tenant("acme")


@pytest.fixture
def operator(cloud: Cloud) -> Iterator[Client]:
    with cloud.client() as client:
        yield client


@pytest.fixture
def member(cloud: Cloud, acme: str) -> Iterator[Client]:
    with cloud.client(acme) as client:
        yield client


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text("print('hello')\n")
    return path


def join(cloud: Cloud, token: str, key: str, version: str = __version__) -> httpx.Response:
    with cloud.http(token) as client:
        return client.post("/agent/join", json={"key_sha256": sha(key), "version": version})


@contextlib.contextmanager
def centre(cloud: Cloud, operator: Client, nodes: tuple[Node, ...] = NORTH) -> Iterator[tuple[str, httpx.Client]]:
    """A centre of its own that has joined and said its nodes; afterwards its key is revoked."""
    name = "c" + secrets.token_hex(4)
    _, token = operator.make_centre(name)
    key = "fa_" + secrets.token_urlsafe(24)
    assert join(cloud, token, key).json() == {"centre": name}
    with cloud.http(key) as agent:
        agent.post("/agent/hello", json={"version": __version__, "engine": "slurm", "nodes": encode(nodes)}).raise_for_status()
        yield name, agent
    operator.revoke_centre(name, give_up=True)


def wanted(agent: httpx.Client, after: int = -1, wait_s: float = 0) -> Any:
    return agent.get("/agent/wanted", params={"after": after, "wait_s": wait_s}).raise_for_status().json()


def error(response: httpx.Response) -> dict[str, str]:
    body: dict[str, str] = response.json()["error"]
    return body


# Joining.


def test_a_token_is_exchanged_for_a_key_once(cloud, operator):
    _, token = operator.make_centre("once")
    assert [join(cloud, token, "fa_mine").json() for _ in range(2)] == [{"centre": "once"}] * 2  # the answer may have been lost
    other = join(cloud, token, "fa_another")
    assert (other.status_code, error(other)["kind"]) == (401, "BadKey")
    with cloud.http("fa_mine") as agent, cloud.http("fa_another") as stranger, cloud.http(token) as early:
        assert wanted(agent)["runs"] == []
        assert {client.get("/agent/wanted").status_code for client in (stranger, early)} == {401}


def test_neither_token_nor_key_is_kept_or_logged(cloud, operator):
    _, token = operator.make_centre("secretive")
    join(cloud, token, "fa_not-to-be-kept")
    kept = b"".join(path.read_bytes() for path in cloud.data.glob("journal.sqlite*")) + (cloud.data / "cloud.log").read_bytes()
    assert token.encode() not in kept and b"fa_not-to-be-kept" not in kept


def test_an_expired_an_unknown_and_a_used_token_get_one_answer(cloud, operator):
    _, expired = operator.make_centre("late", expires_in="1ms")
    _, used = operator.make_centre("used")
    join(cloud, used, "fa_used")
    time.sleep(0.01)
    answers = {join(cloud, token, "fa_x").content for token in (expired, used, "fj_never-made")}
    assert len(answers) == 1


def test_a_revoked_agent_is_refused_at_once_and_joins_again_with_a_new_token_only(cloud, operator):
    with centre(cloud, operator) as (name, agent):
        hanging: list[int] = []
        after = {"after": wanted(agent)["version"], "wait_s": 40}
        asking = threading.Thread(target=lambda: hanging.append(agent.get("/agent/wanted", params=after).status_code))
        asking.start()
        time.sleep(0.3)
        assert operator.revoke_centre(name) == {"name": name, "runs": [], "given_up": False}
        asking.join(20)  # long before the 40 seconds are over
        assert hanging == [401]  # one that was waiting for news too
        assert agent.get("/agent/wanted").status_code == 401
        assert next(c for c in operator.centres() if c["name"] == name)["state"] == "revoked"
        _, token = operator.make_token(name)
        assert join(cloud, token, "fa_again").json() == {"centre": name}
        with cloud.http("fa_again") as again:
            assert wanted(again)["runs"] == []


def test_a_new_token_leaves_the_old_key_good_until_somebody_joins_with_it(cloud, operator):
    with centre(cloud, operator) as (name, agent):
        _, token = operator.make_token(name)
        assert agent.get("/agent/wanted").status_code == 200
        join(cloud, token, f"fa_next-{name}")
        assert agent.get("/agent/wanted").status_code == 401


def test_names_are_given_once_and_the_local_centre_is_nobodys_to_revoke(operator):
    operator.make_centre("twice")
    with pytest.raises(Conflict):
        operator.make_centre("twice")
    with pytest.raises(Refused):
        operator.revoke_centre("local")
    with pytest.raises(Unknown, match="no such centre"):
        operator.make_token("nowhere")


@pytest.mark.parametrize(
    "method, path, body",
    [
        ("GET", "/centres", None),
        ("POST", "/centres", {"name": "mine", "token_sha256": "0" * 64}),
        ("POST", "/centres/local/token", {"token_sha256": "0" * 64}),
        ("DELETE", "/centres/local", None),
        ("POST", "/pool/drain", {"centre": "local"}),
        ("POST", "/pool/undrain", {"centre": "local"}),
        ("POST", "/pool/maintenance", {"centre": "local", "from_ns": 0, "to_ns": 1}),
        ("DELETE", "/pool/maintenance/w1", None),
    ],
)
def test_a_member_can_not_operate_the_pool(cloud, acme, method, path, body):
    with cloud.http(acme) as client:
        response = client.request(method, path, json=body)
    assert (response.status_code, error(response)["kind"]) == (403, "Refused")


# Versions.


def versions(shift: int) -> str:
    major, minor = __version__.split(".")[:2]
    return f"{major}.{int(minor) + shift}.7"


def test_an_agent_one_minor_version_away_is_let_in_whatever_else_it_says(cloud, operator):
    with centre(cloud, operator) as (_, agent):
        strange = [encode(NORTH[0]) | {"colour": "green"}]
        for version in {versions(1), versions(0), "0.1.0"}:
            body = {"version": version, "engine": "slurm", "nodes": strange, "mood": "good"}
            assert agent.post("/agent/hello", json=body).status_code == 200
        assert agent.post("/agent/hello", json={"nodes": None}).status_code == 200  # as agents did that said no version
        assert len(wanted(agent)["runs"]) == 0


def test_an_agent_too_far_away_is_refused_with_both_versions_and_what_to_do(cloud, operator):
    with centre(cloud, operator) as (_, agent):
        for version in (versions(2), "9.0.0", "nonsense"):
            response = agent.post("/agent/hello", json={"version": version, "engine": "slurm", "nodes": None})
            told = error(response)
            assert (response.status_code, told["kind"]) == (403, "Refused")
            assert version in told["asked"] and __version__ in told["found"] and "install a newer Forebay" in told["try"]
    _, token = operator.make_centre("far")
    assert error(join(cloud, token, "fa_far", versions(2)))["kind"] == "Refused"


# Generations.


def report(agent: httpx.Client, generation: int | None, *states: dict[str, Any]) -> httpx.Response:
    body: dict[str, Any] = {"seen": [], "progress": {}, "states": list(states)}
    return agent.post("/agent/report", json=body if generation is None else body | {"generation": generation})


DOWN = {"name": "h1", "condition": "down", "reason": "no answer", "busy": []}


def test_a_report_of_an_older_generation_is_stale_and_changes_nothing(cloud, operator):
    with centre(cloud, operator) as (name, agent):
        first = wanted(agent)["generation"]
        assert report(agent, first).status_code == 200
        (_, token), key = operator.make_token(name), "fa_" + secrets.token_urlsafe(24)
        join(cloud, token, key).raise_for_status()
        with cloud.http(key) as anew:
            told = report(anew, first, DOWN)
            assert (told.status_code, error(told)["kind"]) == (409, "Stale")
            assert f"generation {first}" in error(told)["asked"] and f"generation {first + 1}" in error(told)["found"]
            assert shown(operator, name)["nodes"][0]["condition"] == "up"
            before = time.monotonic()
            news = anew.get("/agent/wanted", params={"after": wanted(anew)["version"], "wait_s": 20, "generation": first}).json()
            assert time.monotonic() - before < 15  # who knows of an older one is answered at once
            assert report(anew, news["generation"], DOWN).status_code == 200
            assert shown(operator, name)["nodes"][0]["condition"] == "down"
            assert report(anew, None).status_code == 200  # an agent that is older than this word is believed
            assert shown(operator, name)["nodes"][0]["condition"] == "up"
            assert error(report(anew, "one"))["kind"] == "BadInput"  # type: ignore[arg-type]


def test_a_centre_that_was_away_is_back_with_a_question_and_not_with_a_report_from_before(cloud, operator):
    with centre(cloud, operator) as (name, agent):
        old = wanted(agent)["generation"]
        cloud.kill("cloud")
        journal = Journal.open(cloud.data)  # an hour of silence, written down instead of waited for
        state = journal.load()
        away = e.CentreAway(at_ns=state.t.last_at_ns, by="forebay", centre=name, silent_s=3600)
        decide(state, away)
        journal.append([away], state)
        journal.close()
        cloud.serve()
        assert error(until(lambda: _stale(agent, old), 30))["kind"] == "Stale"
        assert shown(operator, name)["state"] == "away"
        assert wanted(agent)["generation"] == old + 1
        assert shown(operator, name)["state"] == "here"


def _stale(agent: httpx.Client, generation: int) -> httpx.Response | None:
    with contextlib.suppress(httpx.TransportError):
        return report(agent, generation)
    return None


# Nodes.


def shown(operator: Client, name: str) -> Any:
    return next(c for c in operator.pool()["centres"] if c["name"] == name)


def test_engine_and_version_are_kept_and_null_nodes_leave_those_that_were_said(cloud, operator):
    with centre(cloud, operator) as (name, agent):
        agent.post("/agent/hello", json={"version": __version__, "engine": "slurm", "nodes": None}).raise_for_status()
        found = shown(operator, name)
        assert (found["engine"], found["version"], found["state"]) == ("slurm", __version__, "here")
        assert [node["name"] for node in found["nodes"]] == ["h1"]


def test_two_nodes_of_one_name_are_refused(cloud, operator):
    with centre(cloud, operator) as (_, agent):
        told = error(agent.post("/agent/hello", json={"nodes": encode(NORTH * 2)}))
        assert told["kind"] == "BadInput" and "'h1'" in told["found"]


def test_states_are_told_whole_and_only_what_changed_is_journaled(cloud, operator):
    with centre(cloud, operator) as (name, agent):
        down = {"name": "h1", "condition": "down", "reason": "no answer", "busy": []}
        for states in ([down], [down], None, [{"name": "h1", "busy": [0, 1]}], [{"name": "h1", "busy": [0, 1]}], []):
            report = {"seen": [], "progress": {}} | ({} if states is None else {"states": states})
            agent.post("/agent/report", json=report).raise_for_status()
            (node,) = shown(operator, name)["nodes"]
            if states == [down]:
                assert (node["condition"], node["out"], node["free"]) == ("down", "down: no answer", 0)
            elif states and states[0].get("busy"):
                assert (node["free"], node["others"], node["out"]) == (2, 2, "")
        assert (node["free"], node["others"]) == (4, 0)
    with sqlite3.connect(cloud.data / "journal.sqlite") as db:
        lines = db.execute("select body from events where kind = 'NodeStatesSeen' and body like ?", (f"%{name}%",)).fetchall()
    db.close()
    assert len(lines) == 3


# Runs.


def test_each_centre_is_told_of_its_own_runs_only(cloud, operator, member, script):
    with centre(cloud, operator) as (_, north), centre(cloud, operator, (node("d1", "mi300x", 2),)) as (_, south):
        before = wanted(south)["version"]
        job = member.run(script, chips=["h100-sxm"])["id"]
        assert [run["spec"]["name"] for run in wanted(north)["runs"]] == [f"{job}-1"]
        assert wanted(south) == {"version": before, "generation": 1, "runs": [], "troubled": {}, "send": [], "tunnels": {}}
        member.cancel(job)


def test_a_run_in_its_centres_queue_is_shown_with_that_queues_reason(cloud, operator, member, script):
    with centre(cloud, operator) as (name, agent):
        job = member.run(script, chips=["h100-sxm"])["id"]

        def tell(**seen: Any) -> None:
            agent.post("/agent/report", json={"seen": [{"name": f"{job}-1", **seen}]}).raise_for_status()

        for reason in ("Priority", "Priority", "Resources"):
            tell(phase="queued", reason=reason)
        assert (member.job(job)["phase"], member.job(job)["reason"]) == ("queued", "Resources")
        assert [row["id"] for row in member.jobs(phase="queued")] == [job]
        (line,) = [line for line in operator.pool()["queue"] if line["centre"] == name]
        assert (line["chips"], line["jobs"]) == ("h100-sxm", 1)
        tell(phase="preparing")
        assert member.job(job)["phase"] == "starting"
        tell(phase="running", running_at_ns=5, bound={"h1": [3]})
        tell(phase="ended", running_at_ns=5, outcome="preempted", held_ns=7, reason="a wider job came")
        story = member.story(job)
        assert [event["kind"] for event in story] == [
            "Submitted", "Launched", "Queued", "Queued", "Admitted", "Started", "Ended", "Requeued", "Launched",
        ]  # fmt: skip
        assert "h1 card 3" in story[5]["text"] and "uses up none" in story[7]["text"]
        member.cancel(job)


def test_a_bad_card_is_quarantined_shown_and_released(cloud, operator, member, script):
    with centre(cloud, operator) as (name, agent):
        job = member.run(script, chips=["h100-sxm"], cards=4)["id"]
        assert wanted(agent)["runs"][0]["spec"]["checked_s_ago"] is None
        check = {"node": "h1", "cards": [0, 1, 2, 3], "when": "before", "took_s": 2.5, "bad": {"2": "bits flip"}}
        seen = {"name": f"{job}-1", "phase": "ended", "outcome": "unfit", "reason": "card 2 of h1 is bad", "checks": [check]}
        for _ in range(2):
            agent.post("/agent/report", json={"seen": [seen]}).raise_for_status()
        (node,) = shown(operator, name)["nodes"]
        assert (node["free"], node["unfit"]) == (3, {"2": "quarantined: bits flip"})
        assert node["cards"][2]["out"] == "quarantined: bits flip" and node["cards"][1]["checked_at_ns"]
        kinds = [event["kind"] for event in member.story(job)]
        assert kinds == [
            "Submitted",
            "Launched",
            "CheckSeen",
            "Quarantined",
            "Ended",
            "Requeued",
        ]  # and waits for four good cards
        with pytest.raises(Conflict, match=r"what is lies in it"):
            operator.undrain(f"{name}/h1")
        operator.undrain(f"{name}/h1/2")
        assert until(lambda: member.job(job)["phase"] == "starting")
        member.cancel(job)


# What operators take out.


def test_what_is_drained_is_shown_with_its_reason_and_by_whom_it_is_held(cloud, operator, member, script):
    with centre(cloud, operator) as (name, _):
        job = member.run(script, chips=["h100-sxm"])["id"]
        assert operator.drain(f"{name}/h1", "new fans") == {"place": f"{name}/h1", "runs": [f"{job}-1"]}
        (found,) = shown(operator, name)["nodes"]
        assert (found["out"], found["free"], found["ours"]) == ("drained: new fans", 0, 1)
        other = member.run(script, chips=["h100-sxm"])["id"]
        assert member.job(other)["phase"] == "waiting"
        operator.undrain(f"{name}/h1")
        assert until(lambda: member.job(other)["phase"] == "starting")
        for each in (job, other):
            member.cancel(each)


@pytest.mark.parametrize(
    "place, kind", [("nowhere", Unknown), ("local/nowhere", Unknown), ("local/here/99", Unknown), ("a/b/c", BadInput)]
)
def test_a_place_that_is_none_is_refused(operator, place, kind):
    with pytest.raises(kind):
        operator.drain(place)


def test_a_window_of_maintenance_is_shown_and_can_be_lifted(cloud, operator, member, script):
    with centre(cloud, operator) as (name, _):
        now = time.time_ns()
        window = operator.set_maintenance(name, now - S, now + 3600 * S, "new pumps")
        job = member.run(script, chips=["h100-sxm"])["id"]
        assert member.job(job)["phase"] == "waiting"
        assert [w["id"] for w in operator.pool()["maintenance"]] == [window["id"]]
        operator.lift_maintenance(window["id"])
        assert member.job(job)["phase"] == "starting"
        with pytest.raises(BadInput):
            operator.set_maintenance(name, now, now - 5)
        with pytest.raises(Unknown):
            operator.lift_maintenance(window["id"])
        member.cancel(job)


def test_a_pool_can_be_asked_for_without_its_single_cards(operator):
    (node, *_) = shown_nodes = operator.pool(cards=False)["centres"][0]["nodes"]
    assert "cards" not in node and node["count"] == 64 and len(shown_nodes) == 2


# Time.


def test_a_job_that_says_how_long_it_takes_is_told_on_what_it_was_decided(cloud, operator, member, script):
    with centre(cloud, operator, (*NORTH, node("d1", "mi300x", 2))):
        takes = {"h100-sxm": 240.0, "mi300x": 600.0}
        job = member.run(script, chips=["mi300x", "h100-sxm"], takes=takes)["id"]
        assert member.job(job)["runs"][0]["allocation"]["chip"] == "h100-sxm"
        assert "it ends first: 1 x mi300x in 10 m 00 s, 1 x h100-sxm in 4 m 00 s" in member.story(job)[1]["text"]
        member.cancel(job)
        with pytest.raises(BadInput, match="isn't in the job's menu"):
            member.run(script, chips=["mi300x"], takes={"h100-sxm": 1.0})


# Silence.


def test_a_centre_of_which_nothing_is_heard_is_away_and_is_back_with_its_first_word(tmp_path):
    journal = Journal.open(tmp_path)
    loop = Loop(journal, away_s=0.05)
    facts = [
        e.CloudMade(at_ns=0, by="forebay", currency="CNY", version="0"),
        e.CentreMade(at_ns=0, by="op", name="north", token_sha256="t"),
        e.CentreJoined(at_ns=0, by="centre north", centre="north", key_sha256="k"),
        e.CentreMade(at_ns=0, by="op", name="never-joined", token_sha256="t2"),
    ]
    for fact in facts:
        decide(loop.state, fact)
    journal.append(facts, loop.state)

    async def live() -> None:
        running = asyncio.create_task(loop.run())
        for _ in range(300):
            if loop.state.t.centres["north"].away:
                break
            await asyncio.sleep(0.02)
        running.cancel()

    asyncio.run(live())
    assert {name: centre.away for name, centre in loop.state.t.centres.items()} == {"north": True, "never-joined": False}
    journal.close()
