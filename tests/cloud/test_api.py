"""What the API answers, over real HTTP: who may do what, what is refused and how, and what survives `kill -9`."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from forebay.client import Client
from forebay.cloud.address import address
from forebay.cloud.backup import reading
from forebay.cloud.schema import ANSWERS, EVENTS, META
from forebay.data.bundle import pack
from forebay.errors import BadInput, BadKey, BadScript, Conflict, DoesNotFit, Refused, Unknown

from .clouds import Cloud, until
from .conftest import served

SCRIPT = "print('hello')\n"


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """As everywhere, and once more with its journal in a PostgreSQL."""
    database = "" if request.param == "sqlite" else request.getfixturevalue("postgres").database()
    with served(Cloud(database)) as made:
        yield made


@pytest.fixture(scope="module")
def acme(cloud: Cloud) -> str:
    return cloud.tenant("acme")


@pytest.fixture
def member(cloud: Cloud, acme: str) -> Iterator[Client]:
    with cloud.client(acme) as client:
        yield client


@pytest.fixture
def bare(cloud: Cloud, acme: str) -> Iterator[httpx.Client]:
    """A member's key without the SDK around it."""
    with cloud.http(acme) as client:
        yield client


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("code") / "train.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture(scope="module")
def code(cloud: Cloud, acme: str, script: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of a bundle that the cloud has."""
    archive = tmp_path_factory.mktemp("bundle") / "code.tar.gz"
    bundle = pack(script, None, limit_bytes=10**6, to=archive)
    with cloud.http(acme) as client:
        client.put(f"/bundles/{bundle.sha256}", content=archive.read_bytes()).raise_for_status()
    return bundle.sha256


def asked(code: str, **more: Any) -> dict[str, Any]:
    return {"bundle": code, "entry": "train.py", **more}


def error(response: httpx.Response) -> dict[str, str]:
    body = response.json()["error"]
    assert list(body) == ["kind", "text", "asked", "found", "try"]
    assert all(isinstance(value, str) for value in body.values()) and body["text"]
    return body


# Tenants.


def test_an_operator_makes_organisations_projects_and_keys_and_a_name_is_given_once(cloud):
    with cloud.client() as operator:
        operator.make_organisation("north", "North Ltd")
        operator.make_project("north", "vision")
        key, secret = operator.make_key("north/vision", name="laptop")
        north = next(o for o in operator.organisations() if o["name"] == "north")
        assert (north["name"], north["title"], north["projects"]) == ("north", "North Ltd", ["vision"])
        with pytest.raises(Conflict):
            operator.make_organisation("north")
        with pytest.raises(Conflict):
            operator.make_project("north", "vision")
        with pytest.raises(Unknown):
            operator.make_project("nowhere", "vision")
    with cloud.client(secret) as client:
        assert client.me() == {**key, "revoked": False, "may": "member"}
        assert (client.me()["organisation"], client.me()["project"], client.me()["role"]) == ("north", "vision", "member")
        assert [o["name"] for o in client.organisations()] == ["north"]  # and not acme


def test_prices_and_quotas_are_set_by_operators_and_read_by_all(cloud, member):
    with cloud.client() as operator:
        operator.set_price("cpu", "0.25")
        operator.set_quota("acme", "ascend-910b", 3)
        (price,) = member.prices()["prices"]
        assert (member.prices()["currency"], price["chip"], price["micro_per_card_s"]) == ("CNY", "cpu", 250_000)
        (quota,) = member.quotas()
        assert [quota[name] for name in ("organisation", "chip", "cards", "borrow", "held")] == ["acme", "ascend-910b", 3, 0, 0]
        operator.set_quota("acme", "ascend-910b", None)
        assert member.quotas() == []
        with pytest.raises(Unknown, match="chip"):
            operator.set_price("ascend-910x", "1")


def test_a_key_is_kept_as_a_hash_only(cloud):
    secret = cloud.tenant("acme")
    with cloud.client(secret) as client:
        client.me()
    with reading(cloud.data, address(cloud.data, "")) as db:
        kept = repr([db.execute(sa.select(table)).all() for table in (META, EVENTS, ANSWERS)]).encode()
    files = list(cloud.data.glob("journal.*"))
    kept += b"".join(path.read_bytes() for path in files)
    logged = (cloud.data / "cloud.log").read_bytes()
    assert secret.encode() not in kept + logged
    assert cloud.operator_key.encode() not in kept + logged
    assert hashlib.sha256(secret.encode()).hexdigest().encode() in kept
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert (cloud.data / "operator.key").stat().st_mode & 0o777 == 0o600


def test_a_wrong_a_revoked_and_an_expired_key_get_the_same_answer(cloud):
    with cloud.client() as operator:
        operator.make_organisation("south")
        operator.make_project("south", "p")
        revoked, revoked_secret = operator.make_key("south/p")
        operator.revoke_key(revoked["id"])
        operator.revoke_key(revoked["id"])  # twice is once
        _, expired_secret = operator.make_key("south/p", expires_in="1ms")
    answers = set()
    for secret in ("fb_never-made", revoked_secret, expired_secret):
        with cloud.http(secret) as client:
            response = client.get("/jobs")
            answers.add((response.status_code, response.content))
    assert len(answers) == 1 and next(iter(answers))[0] == 401
    with httpx.Client(base_url=cloud.url, trust_env=False) as client:
        assert error(client.get("/api/v1/jobs"))["kind"] == "BadKey"  # no key at all


@pytest.mark.parametrize(
    "method, path, body",
    [
        ("POST", "/organisations", {"name": "mine"}),
        ("POST", "/organisations/acme/projects", {"name": "mine"}),
        ("POST", "/keys", {"secret_sha256": "0" * 64, "role": "operator"}),
        ("DELETE", "/keys/k-operator", None),
        ("PUT", "/prices/cpu", {"micro_per_card_s": 0}),
        ("PUT", "/quotas/acme/cpu", {"cards": None}),
    ],
)
def test_a_member_can_not_operate(bare, method, path, body):
    response = bare.request(method, path, json=body)
    assert response.status_code == 403 and error(response)["kind"] == "Refused"


def test_a_viewer_reads_what_a_member_reads_and_writes_nothing(cloud, member, code, script):
    job = member.run(script)
    with cloud.client(cloud.tenant("acme", role="viewer")) as viewer, cloud.http(cloud.tenant("acme", role="viewer")) as bare:
        assert viewer.job(job["id"]) == member.job(job["id"])
        assert viewer.jobs() == member.jobs()
        assert bare.head(f"/bundles/{code}").status_code == 200
        writes = [
            bare.post("/jobs", json=asked(code)),
            bare.post(f"/jobs/{job['id']}/cancel"),
            bare.put(f"/bundles/{code}", content=b""),
            bare.put("/data/sets/texts", json={"files": []}),
        ]
        assert [error(write)["kind"] for write in writes] == ["Refused"] * 4
    member.cancel(job["id"])


# Organisations can't see each other.


def test_another_organisations_job_is_answered_byte_for_byte_like_an_unknown_one(cloud, member, script, code):
    job = member.run(script)["id"]
    run = f"{job}-1"
    assert [r["id"] for r in member.job(job)["runs"]] == [run]
    stranger = cloud.tenant("rival")
    endpoints = [
        ("GET", "/jobs/{}", None),
        ("GET", "/jobs/{}/story", None),
        ("GET", "/jobs/{}/logs", None),
        ("GET", "/jobs/{}/logs?follow=true", None),
        ("GET", "/jobs/{}/events", None),
        ("POST", "/jobs/{}/cancel", None),
        ("GET", "/bill?job={}", None),
    ]
    with cloud.http(stranger) as client:
        for theirs, nobodys in ((job, "j2222222"), (run, "j2222222-1")):
            for method, path, body in endpoints:
                answers = [client.request(method, path.format(name), json=body) for name in (theirs, nobodys)]
                assert error(answers[0])["kind"] == "Unknown", path
                assert answers[0].status_code == answers[1].status_code == 404
                assert answers[0].content.replace(theirs.encode(), b"ID") == answers[1].content.replace(nobodys.encode(), b"ID")
                assert answers[0].headers.keys() == answers[1].headers.keys()
        # Mounted as an input, too; with code of its own, since knowing the hash of another's code is not having it.
        mount = {"kind": "output", "at": "input"}
        assert error(client.post("/jobs", json=asked(code)))["text"] == "The cloud doesn't have that code archive."
        assert client.head(f"/bundles/{code}").status_code == 404
    with cloud.client(stranger) as client, cloud.http(stranger) as bare:
        own = client.run(script)
        mounted = [
            bare.post("/jobs", json=asked(code, mounts=[{**mount, "source": name}])).content.replace(name.encode(), b"ID")
            for name in (job, "j2222222")
        ]
        assert mounted[0] == mounted[1] and b"There is no such job" in mounted[0]
        assert [body["id"] for body in client.jobs()] == [own["id"]]
        assert {line["job"] for line in client.bill()["lines"]} == {own["id"]}
        held = [card["held_by"] for node in client.pool()["centres"][0]["nodes"] for card in node["cards"]]
        assert set(filter(None, held)) == {"busy", f"{own['id']}-1"}
        client.cancel(own["id"])
    member.cancel(job)


def test_a_run_that_a_job_never_had_is_unknown(cloud, member, script):
    job = member.run(script)["id"]
    for name in (f"{job}-2", f"{job}-", f"{job}-x", "", "..", "../keys", "%2e%2e/keys"):
        with pytest.raises(Unknown):
            member.job(name)
    member.cancel(job)


# Once.


def test_the_same_idempotency_key_with_the_same_body_gets_the_same_answer_also_after_kill_9(cloud, bare, code):
    once = {"Idempotency-Key": "a-key-of-the-client"}
    first = bare.post("/jobs", json=asked(code, name="once"), headers=once)
    again = bare.post("/jobs", json=asked(code, name="once"), headers=once)
    cloud.kill("cloud")
    cloud.serve()
    until(lambda: _answers(bare))
    after = bare.post("/jobs", json=asked(code, name="once"), headers=once)
    assert first.status_code == 201
    assert first.json() == again.json() == after.json()
    assert len([job for job in bare.get("/jobs").json()["jobs"] if job["name"] == "once"]) == 1


def test_the_same_idempotency_key_with_another_body_is_a_conflict_and_another_members_is_not(cloud, bare, code):
    once = {"Idempotency-Key": "another-key"}
    assert bare.post("/jobs", json=asked(code), headers=once).status_code == 201
    response = bare.post("/jobs", json=asked(code, cards=[2]), headers=once)
    assert (response.status_code, error(response)["kind"]) == (409, "Conflict")
    with cloud.http(cloud.tenant("acme")) as other:
        assert other.post("/jobs", json=asked(code, cards=[2]), headers=once).status_code == 201


def test_an_acknowledged_job_survives_kill_9(cloud, member, script):
    job = member.run(script, name="kept")["id"]
    before = member.job(job)
    cloud.kill("cloud")
    cloud.serve()
    assert member.job(job) == before
    assert member.cancel(job)["id"] == job


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code == 200
    except httpx.TransportError:
        return False


# What centres tell.


def test_an_end_that_is_the_first_that_is_heard_of_a_run_tells_of_its_start_too(cloud, member, script):
    job = member.run(script)["id"]
    seen = {"name": f"{job}-1", "phase": "ended", "outcome": "succeeded", "held_ns": 5, "running_at_ns": 2, "carrier": "native"}
    with cloud.centre() as agent:
        for _ in range(2):  # told twice is told once
            assert agent.post("/agent/report", json={"seen": [seen]}).json()["gone"] == []
    assert [event["kind"] for event in member.story(job)] == ["Submitted", "Launched", "Started", "Ended", "Finished"]
    (run,) = member.job(job)["runs"]
    assert (run["carrier"], run["held_ns"], run["outcome"]) == ("native", 5, "succeeded")


def test_a_run_that_the_cloud_does_not_know_or_has_seen_end_is_not_wanted_any_more(cloud, member, script):
    job = member.run(script)["id"]
    ended = {"name": f"{job}-1", "phase": "ended", "outcome": "succeeded"}
    with cloud.centre() as agent:
        agent.post("/agent/report", json={"seen": [ended]}).raise_for_status()
        seen = [{"name": name, "phase": "running"} for name in (f"{job}-1", "j2222222-1")]
        assert agent.post("/agent/report", json={"seen": seen}).json()["gone"] == [f"{job}-1", "j2222222-1"]
        assert agent.post("/agent/runs/j2222222-1/log?offset=0", content=b"").status_code == 404
        assert agent.get("/agent/bundles/j2222222-1").status_code == 404


def test_a_log_is_only_continued_where_it_ends(cloud, member, script):
    run = member.run(script)["id"] + "-1"
    with cloud.centre() as agent:
        assert agent.post(f"/agent/runs/{run}/log?offset=0", content=b"12345").json() == {"size": 5}
        again = agent.post(f"/agent/runs/{run}/log?offset=0", content=b"12345")
        assert (again.status_code, error(again)["found"]) == (409, "5")
        assert agent.post(f"/agent/runs/{run}/log?offset=5", content=b"678").json() == {"size": 8}


# What can't be.


def test_an_unknown_chip_is_answered_with_the_nearest_names(member, script):
    with pytest.raises(Unknown) as told:
        member.run(script, chips=["ascend-910"])
    assert "ascend-910b" in told.value.hint


def test_a_chip_that_no_centre_has_is_refused_with_what_there_is(member, script):
    with pytest.raises(DoesNotFit) as told:
        member.run(script, chips=["h100-sxm"])
    assert told.value.found == "the pool has 8 x ascend-910b, 64 x cpu"


def test_more_cards_than_there_are_and_more_than_the_quota_are_refused(cloud, member, script):
    with pytest.raises(DoesNotFit) as told:
        member.run(script, cards=65)
    assert "no island has more than 64 cpu" in told.value.found
    with cloud.client() as operator:
        operator.set_quota("acme", "cpu", 1)
        with pytest.raises(DoesNotFit) as told:
            member.run(script, cards=2)
        operator.set_quota("acme", "cpu", None)
    assert "acme may hold 1 cpu" in told.value.found


@pytest.mark.parametrize(
    "field",
    [
        {"cards": [0]},
        {"cards": [-1]},
        {"cards": []},
        {"cards": [1.5]},
        {"entry": "/etc/passwd"},
        {"entry": "../train.py"},
        {"entry": "a/../../train.py"},
        {"entry": "."},
        {"entry": ""},
        {"entry": "train.py\0.txt"},
        {"output": "../out"},
        {"output": "/tmp"},
        {"output": "."},
        {"requirements": "../../requirements.txt"},
        {"mounts": [{"kind": "data", "source": "texts", "at": "../up"}]},
        {"mounts": [{"kind": "data", "source": "texts", "at": "/data"}]},
        {"mounts": [{"kind": "data", "source": "../../keys", "at": "data"}]},
        {"mounts": [{"kind": "disk", "source": "texts", "at": "data"}]},
        {"mounts": [{"kind": "data", "source": "texts", "at": "out"}]},
        {"mounts": [{"kind": "data", "source": "texts", "at": "out/data"}]},
        {"mounts": [{"kind": "data", "source": "texts", "at": "d"}, {"kind": "data", "source": "more", "at": "./d/"}]},
        {"argv": ["a\0b"]},
        {"argv": ["\ud800"]},
        {"env": {"A": "a\0b"}},
        {"env": {"A=B": "c"}},
        {"time_limit_s": 0},
        {"time_limit_s": float("inf")},
        {"time_limit_s": float("nan")},
        {"retries": -1},
        {"grace_s": 1e9},
        {"bundle": "0" * 63},
        {"colour": "red"},
    ],
    ids=repr,
)
def test_a_field_that_makes_no_sense_is_refused_by_name(bare, code, field):
    response = bare.post("/jobs", content=json.dumps(asked(code) | field), headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert error(response)["kind"] == "BadInput"
    assert next(iter(field)) in error(response)["text"]


@pytest.mark.parametrize("name", ["RANK", "MASTER_ADDR", "LD_PRELOAD", "FOREBAY_COOKIE", "PYTHONPATH"])
def test_a_variable_that_the_launcher_sets_is_refused(member, script, name):
    with pytest.raises(BadInput) as told:
        member.run(script, env={name: "1"})
    assert told.value.asked == name


def test_a_script_that_does_not_parse_or_is_not_there_is_refused_by_the_cloud_too(member, bare, code, tmp_path):
    (tmp_path / "broken.py").write_text("def f(:\n")
    with pytest.raises(BadScript):
        member.run(tmp_path / "broken.py")
    response = bare.post("/jobs", json=asked(code, entry="trian.py"))
    assert (error(response)["kind"], error(response)["found"]) == ("BadScript", "train.py")


def test_code_over_the_limit_is_refused_before_and_behind_the_door(bare, member, tmp_path):
    (tmp_path / "train.py").write_text("pass\n")
    (tmp_path / "noise.bin").write_bytes(hashlib.shake_256(b"noise").digest(200_000))
    with pytest.raises(BadInput, match="large"):
        member.run(tmp_path, entry="train.py", limit="100kB")

    def endless() -> Iterator[bytes]:
        for _ in range(65):
            yield bytes(1 << 20)

    response = bare.post("/data/chunks", content=endless())
    assert (response.status_code, error(response)["found"]) == (413, "more than 64 MiB")


def test_code_that_is_not_what_its_hash_says_is_refused(bare):
    response = bare.put("/bundles/" + "0" * 64, content=b"something else")
    assert (response.status_code, error(response)["kind"]) == (422, "BadInput")
    assert bare.head("/bundles/" + "0" * 64).status_code == 404


# What any program can rely on.


def test_every_error_says_what_was_asked_what_was_found_and_what_to_try(cloud, bare):
    with httpx.Client(base_url=cloud.url, trust_env=False) as stranger:
        answers = [
            bare.get("/nothing-here"),
            bare.get("/jobs/"),
            bare.delete("/jobs"),
            bare.post("/jobs", content=b"{not json"),
            bare.post("/jobs", content=b"[]"),
            bare.get("/jobs?most=0"),
            bare.get("/jobs?organisation=rival"),
            bare.get("/bill?organisation=rival"),
            bare.put("/bundles/short", content=b""),
            bare.post("/data/missing", json={"files": 3}),
            bare.get("/agent/wanted"),
            stranger.get("/elsewhere"),
            stranger.get("/api/v1/jobs", headers={"Authorization": "Basic abc"}),
            stranger.get("/api/v1/jobs", headers={"Authorization": b"Bearer \xff\xfe"}),
        ]
    assert [(a.status_code, error(a)["kind"]) for a in answers] == [
        (404, "Unknown"),
        (404, "Unknown"),
        (405, "BadInput"),
        (422, "BadInput"),
        (422, "BadInput"),
        (422, "BadInput"),
        (404, "Unknown"),
        (404, "Unknown"),
        (422, "BadInput"),
        (422, "BadInput"),
        (401, "BadKey"),
        (404, "Unknown"),
        (401, "BadKey"),
        (401, "BadKey"),
    ]


def test_the_client_raises_the_class_that_the_cloud_meant(cloud, member):
    with pytest.raises(Refused):
        member.make_organisation("mine")
    with cloud.client("fb_wrong") as wrong, pytest.raises(BadKey):
        wrong.jobs()


def test_the_api_describes_itself(cloud):
    with httpx.Client(base_url=cloud.url, trust_env=False) as client:
        described = client.get("/api/v1/openapi.json").json()
    assert described["info"]["title"] == "Forebay"
    assert {"/api/v1/jobs", "/api/v1/jobs/{job_id}/logs", "/api/v1/bill", "/api/v1/agent/wanted"} <= described["paths"].keys()
    assert "JobAsked" in described["components"]["schemas"]


def test_listings_come_newest_first_and_page_by_page(member, script):
    made = [member.run(script, name=f"page-{i}")["id"] for i in range(3)]
    first = member.jobs(most=2)
    second = member.jobs(most=2, before=first[-1]["place"])
    assert [job["id"] for job in (*first, *second)][:3] == made[::-1]
    for job in made:
        member.cancel(job)


# The door.


def serve(*options: str, data: Any) -> dict[str, Any]:
    """What a cloud that can't start says, and its exit code."""
    command = [sys.executable, "-m", "forebay.cloud.serve", "--data", str(data), *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    return {"exit": ended.returncode, **json.loads(ended.stderr.splitlines()[-1])["error"]}


def test_a_port_that_is_taken_is_a_conflict_and_leaves_nothing(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = serve("--port", str(port), data=tmp_path / "data")
    assert (told["exit"], told["kind"], told["asked"]) == (5, "Conflict", f"127.0.0.1:{port}")
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_beyond_this_machine_the_cloud_wants_tls(tmp_path, host):
    told = serve("--host", host, data=tmp_path / "data")
    assert (told["exit"], told["kind"], told["found"]) == (4, "Refused", "no certificate")
    assert not (tmp_path / "data").exists()


# The clock.

JUMP = """
import time
from forebay.cloud.clock import Clock
clock = Clock(not_before_ns={not_before})
start, wall = clock.now_ns(), time.time_ns
time.time_ns = lambda: wall() + {jump_s} * 10**9       # somebody sets the machine's clock
print(clock.now_ns() - start < 10**9, bool(clock.complaint()), bool(clock.complaint()), clock.behind_ns > 0)
"""


@pytest.mark.parametrize(
    "jump_s, not_before, complaint",
    [(0, 0, False), (3600, 0, True), (-3600, 0, True), (0, 4 * 10**18, True)],
)
def test_a_clock_that_jumps_is_told_of_once_and_changes_no_time(jump_s, not_before, complaint):
    ended = subprocess.run(
        [sys.executable, "-c", JUMP.format(jump_s=jump_s, not_before=not_before)], capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == ["True", str(complaint), "False", str(not_before > 0)]
