"""Jobs by the thousand, over real HTTP with a real cloud: all of a request or none, and once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from forebay.client import Client
from forebay.errors import DoesNotFit

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


# By the thousand.


def test_a_thousand_jobs_are_taken_in_order_and_once_also_over_kill_9(cloud, bare, member, code):
    body = {"jobs": [{**code, "chips": [CHIP], "cards": [8], "name": f"job-{i}"} for i in range(1000)]}
    once = {"Idempotency-Key": "a thousand"}
    before = member.jobs(most=1)[0]["place"] if member.jobs(most=1) else 0
    first = bare.post("/jobs/batch", json=body, headers=once, timeout=60)
    assert first.status_code == 201
    jobs = first.json()["jobs"]
    assert [job["name"] for job in jobs] == [f"job-{i}" for i in range(1000)]
    assert len({job["id"] for job in jobs}) == 1000
    listed = member.jobs(most=1000)
    assert [job["id"] for job in reversed(listed)] == [job["id"] for job in jobs]  # and so they are queued
    assert [job["place"] for job in reversed(listed)] == list(range(before + 1, before + 1001))
    cloud.kill("cloud")
    cloud.serve()
    member.jobs(most=1)  # which waits until it answers
    assert bare.post("/jobs/batch", json=body, headers=once, timeout=60).json() == first.json()
    assert member.jobs(most=1)[0]["place"] == before + 1000
    body["jobs"][0]["name"] = "another"
    other = bare.post("/jobs/batch", json=body, headers=once, timeout=60)
    assert (other.status_code, other.json()["error"]["kind"]) == (409, "Conflict")


def test_one_wrong_job_keeps_all_from_being_taken_and_is_named(member, bare, code):
    before = [job["id"] for job in member.jobs()]
    good = {**code, "chips": ["cpu"]}
    for bad, kind, text in (
        ({**good, "cards": [65]}, "DoesNotFit", "jobs[2]: No centre can ever run this job; none of the 4 was taken."),
        ({**good, "bundle": "0" * 64}, "Unknown", "jobs[2]: The cloud doesn't have that code archive; none of the 4 was taken."),
        ({**good, "entry": "other.py"}, "BadScript", "jobs[2]: The code folder has no such file; none of the 4 was taken."),
        ({**good, "env": {"RANK": "1"}}, "BadInput", "jobs[2]: That variable is set by the launcher; none of the 4 was taken."),
        ({**good, "cards": [0]}, "BadInput", "jobs.2.cards.0: Input should be greater than or equal to 1"),
        ({**good, "colour": "red"}, "BadInput", "jobs.2.colour: Extra inputs are not permitted"),
    ):
        error = bare.post("/jobs/batch", json={"jobs": [good, good, bad, good]}).json()["error"]
        assert (error["kind"], error["text"]) == (kind, text)
    error = bare.post("/jobs/batch", json={"jobs": [{**good, "cards": [65 + i]} for i in range(9)]}).json()["error"]
    assert error["text"] == "9 of the 9 jobs are wrong, so none was taken."
    assert "jobs[0]: No centre can ever run this job (65 x cpu)" in error["found"] and error["found"].endswith("and 4 more")
    assert [job["id"] for job in member.jobs()] == before


@pytest.mark.parametrize("jobs", [0, 1001])
def test_no_jobs_and_more_than_a_thousand_are_refused(bare, code, jobs):
    error = bare.post("/jobs/batch", json={"jobs": [code] * jobs}).json()["error"]
    assert error["kind"] == "BadInput" and error["text"].startswith("jobs: ")


def test_a_viewer_submits_none(cloud, code):
    with cloud.http(cloud.tenant("acme", role="viewer")) as viewer:
        assert viewer.post("/jobs/batch", json={"jobs": [code]}).status_code == 403


def test_many_are_sent_in_parts_and_an_error_says_which_and_what_was_taken_before(member, code):
    told: list[tuple[str, int, int]] = []
    jobs = [{**code, "chips": [CHIP], "name": f"part-{i}"} for i in range(1200)]
    taken = member.submit_many(jobs, said=lambda *said: told.append(said))
    assert [job["name"] for job in taken] == [job["name"] for job in jobs]
    assert told == [("submitting", 0, 1200), ("submitting", 1000, 1200), ("submitting", 1200, 1200)]
    with pytest.raises(DoesNotFit, match=r"jobs\[1100\]: ") as refused:
        member.submit_many([{**job, "cards": [9 if i == 1100 else 8]} for i, job in enumerate(jobs)])
    assert "the first 1000 of 1200 were taken before" in refused.value.found


def test_values_of_environments_are_kept_beside_the_journal_for_those_that_were_taken_only(cloud, bare, member, code):
    kept = cloud.data / "environments"
    body = {"jobs": [{**code, "env": {"TOKEN": f"not for the journal: {i}"}} for i in range(3)]}
    before = set(kept.iterdir()) if kept.exists() else set()
    answers = [bare.post("/jobs/batch", json=body, headers={"Idempotency-Key": "secrets"}).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(set(kept.iterdir()) - before) == 3
    assert "not for the journal" not in json.dumps([member.job(job["id"]) for job in answers[0]["jobs"]])
    body["jobs"][2]["cards"] = [65]
    assert bare.post("/jobs/batch", json=body).status_code == 422
    assert len(set(kept.iterdir()) - before) == 3
    for job in answers[0]["jobs"]:
        member.cancel(job["id"])
