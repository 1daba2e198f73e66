"""Jobs with wishes, why they wait, and who makes way for whom, over real HTTP with a real cloud."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from forebay.client import Client, asked
from forebay.errors import BadInput, DoesNotFit, Unknown

from .clouds import Cloud

CHIP = "ascend-910b"  # of which the cloud has eight, on one node
S = 10**9


@pytest.fixture(scope="module")
def acme(cloud: Cloud) -> str:
    return cloud.tenant("acme")


@pytest.fixture
def member(cloud: Cloud, acme: str) -> Iterator[Client]:
    with cloud.client(acme) as client:
        yield client


@pytest.fixture
def bare(cloud: Cloud, acme: str) -> Iterator[httpx.Client]:
    with cloud.http(acme) as client:
        yield client


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("code") / "train.py"
    path.write_text("print('hello')\n")
    return path


@pytest.fixture(scope="module")
def code(cloud: Cloud, acme: str, script: Path) -> dict[str, Any]:
    with cloud.client(acme) as client:
        return client.send_code(script)


@pytest.fixture
def emptied(cloud: Cloud, member: Client) -> Iterator[None]:
    """Whatever waits or runs afterwards is ended, so that the next test finds cards."""
    yield
    for phase in ("waiting", "starting", "stopping"):
        for job in member.jobs(phase=phase, most=1000):
            member.cancel(job["id"])
            if phase != "waiting":
                end(cloud, f"{job['id']}-{job['attempts']}")


def end(cloud: Cloud, run: str, outcome: str = "preempted") -> None:
    with cloud.centre() as agent:
        seen = {"name": run, "phase": "ended", "outcome": outcome, "held_ns": S, "running_at_ns": 2}
        agent.post("/agent/report", json={"seen": [seen]}).raise_for_status()


# What a job wishes.


def test_what_matters_to_a_job_is_kept_and_told(member, script):
    wishes = {"priority": 7, "prefer": "cheapest", "deadline": "2h", "budget": "12.50", "restart_cost": "90s"}
    job = member.run(script, chips=["cpu"], cards=[4, 2], takes={"cpu:4": 10, "cpu:2": 18}, elastic=True, **wishes)["id"]
    shown = member.job(job)
    names = ("priority", "prefer", "budget_micro", "restart_s", "elastic", "resumable")
    assert [shown[name] for name in names] == [7, "cheapest", 12_500_000, 90.0, True, True]
    assert abs(shown["deadline_ns"] - time.time_ns() - 7200 * S) < 600 * S
    text = member.story(job)[0]["text"]
    assert "priority 7, elastic, cheapest first, to end within 1 h" in text or "to end within 2 h" in text
    assert "for at most 12.5" in text
    member.cancel(job)


def test_a_job_that_says_nothing_is_not_resumable_and_one_that_says_so_is(member, script):
    for said, is_resumable in ((None, False), (False, False), (True, True)):
        job = member.run(script, resumable=said)["id"]
        assert member.job(job)["resumable"] is is_resumable
        member.cancel(job)


@pytest.mark.parametrize(
    "wish, told",
    [
        ({"priority": 101}, "priority"),
        ({"priority": -101}, "priority"),
        ({"prefer": "best"}, "prefer"),
        ({"restart_s": -1}, "restart_s"),
        ({"budget_micro": 0}, "budget_micro"),
        ({"deadline_ns": -1}, "deadline_ns"),
        ({"deadline_ns": 1}, "The deadline has passed already"),
        ({"elastic": True, "resumable": False}, "resumable"),
        ({"elastic": True, "cards": [4]}, "several counts of cards"),
        ({"elastic": True, "cards": [4, 2], "takes": {"cpu:4": 5}}, "how long it takes on each"),
    ],
    ids=repr,
)
def test_a_wish_that_makes_no_sense_is_one_clear_error(bare, code, wish, told):
    response = bare.post("/jobs", json={**code, "chips": ["cpu"], **wish})
    error = response.json()["error"]
    assert (response.status_code, error["kind"]) == (422, "BadInput")
    assert told in error["text"]


def test_a_job_that_costs_more_than_its_budget_is_refused_at_once(cloud, member, script):
    with cloud.client() as operator:
        operator.set_price("cpu", "1")
        with pytest.raises(DoesNotFit, match="costs more than its budget") as told:
            member.run(script, chips=["cpu"], cards=2, takes={"cpu": 10}, budget="19.99")
        operator.set_price("cpu", "0")
    assert "20.000000" in told.value.found


@pytest.mark.parametrize("said", ["soon", "2026-13-01", "2h ago"])
def test_a_deadline_that_is_none_is_refused_before_anything_is_sent(said):
    with pytest.raises(BadInput, match="That is no deadline"):
        asked(deadline=said)


def test_a_deadline_is_a_time_from_now_or_a_moment():
    assert asked(deadline="2030-01-01T00:00:00+00:00")["deadline_ns"] == 1_893_456_000 * S
    assert abs(asked(deadline=60.0)["deadline_ns"] - time.time_ns() - 60 * S) < 30 * S
    assert asked()["deadline_ns"] == 0


# Why and when.


def test_a_job_that_waits_says_why_and_when_and_one_that_has_its_cards_does_not(member, script, emptied):
    first = member.run(script, chips=[CHIP], cards=8, takes={CHIP: 600})["id"]
    second = member.run(script, chips=[CHIP], cards=8, takes={CHIP: 600})["id"]
    third = member.run(script, chips=[CHIP], cards=4)["id"]
    assert member.job(first)["why"] is None
    why = member.job(second)["why"]
    assert why["constraint"] == "busy" and why["text"].startswith(f"it wants 8 x {CHIP}; 0 of 8 are free") and why["release"]
    assert 0 <= why["start"]["soonest_s"] <= why["start"]["likely_s"] <= why["start"]["latest_s"]
    assert 300 < why["start"]["likely_s"] <= 600
    rows = {row["id"]: row["why"] for row in member.jobs(most=3)}
    assert rows[first] is None and rows[second]["constraint"] == "busy" and rows[third]["start"] is not None


def test_of_many_that_wait_the_listing_says_why_but_foretells_nothing(member, code, emptied):
    jobs = member.submit_many([{**code, "chips": [CHIP], "cards": [8]} for _ in range(60)])
    few = [row["why"] for row in member.jobs(phase="waiting", most=50)]
    assert all(why["text"].startswith("it wants 8 x") for why in few)
    many = [row["why"] for row in member.jobs(phase="waiting", most=59)]
    assert len(many) == 59 and all(why["start"] is None and why["text"] == few[0]["text"].partition(", and")[0] for why in many)
    assert jobs[0]["id"] not in {row["id"] for row in member.jobs(phase="waiting", most=100)}  # it has its cards


def test_quota_budget_and_pause_are_told_as_the_one_thing_that_binds(cloud, member, script, emptied):
    with cloud.client() as operator:
        operator.set_quota("acme", CHIP, 4)
        try:
            member.run(script, chips=[CHIP], cards=4)
            waits = member.run(script, chips=[CHIP], cards=2)["id"]
            assert member.job(waits)["why"]["constraint"] == "quota"
            operator.set_budget("acme", "0")
            assert member.job(waits)["why"]["constraint"] == "budget"
        finally:
            operator.lift_budget("acme")
            operator.set_quota("acme", CHIP, None)


# Who makes way for whom.


def test_who_makes_way_never_reads_whose_job_goes_first(cloud, member, script, emptied):
    rival = cloud.client(cloud.tenant("rivals"))
    with cloud.client() as operator, rival:
        operator.set_quota("rivals", CHIP, 8)
        operator.set_quota("acme", CHIP, 0, borrow=None)
        mine = member.run(script, chips=[CHIP], cards=8, resumable=True)["id"]
        assert member.job(mine)["phase"] == "starting"
        theirs = rival.run(script, chips=[CHIP], cards=8)["id"]

        (run,) = member.job(mine)["runs"]
        assert run["stop"] == "makes way: the organisation to which these cards are guaranteed takes them back"
        assert (run["stop_for"], run["requeue"]) == ("another's", True)
        assert rival.job(theirs)["why"]["constraint"] == "reserved"
        end(cloud, f"{mine}-1")
        assert rival.job(theirs)["phase"] == "starting"

        told = json.dumps([member.story(mine), member.job(mine), member.jobs(most=5), list(member.events(mine))])
        assert theirs not in told and "rivals" not in told
        stop = next(event for event in member.story(mine) if event["kind"] == "StopAsked")
        assert stop["body"]["for_job"] == "another's" and "its job waits again" in stop["text"]
        kept = next(event for event in rival.story(theirs) if event["kind"] == "Reserved")
        assert kept["body"]["runs"] == ["another's"] and "saved its work and left" in kept["text"]
        assert mine not in json.dumps(rival.story(theirs)) and "acme" not in json.dumps(rival.story(theirs))

        assert operator.job(mine)["runs"][0]["stop_for"] == theirs
        seen = next(event for event in operator.story(mine) if event["kind"] == "StopAsked")
        assert seen["body"]["for_job"] == theirs
        with pytest.raises(Unknown):
            member.job(theirs)
        rival.cancel(theirs)
        for organisation in ("rivals", "acme"):
            operator.set_quota(organisation, CHIP, None)
