"""What a watcher of the cloud sees: figures that Prometheus reads, whether it lives and can work, logs that name the run."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from forebay.cli import daemons
from forebay.client import Client
from forebay.cloud import logs
from forebay.cloud.api.desk import Desk
from forebay.cloud.api.health import why_not_ready
from forebay.cloud.core.state import State
from forebay.cloud.counts import Counts
from forebay.cloud.journal import Journal
from forebay.cloud.loop import Loop
from forebay.cloud.metrics import exposition
from forebay.cloud.store import Store
from forebay.codec import encode
from forebay.errors import Unavailable

from .clouds import NODES, Cloud, torn_down, until
from .conftest import still_there

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "forebay.json"
SECRET = re.compile(r"f[bcj]_[A-Za-z0-9_-]{8,}")


@pytest.fixture(scope="module")
def watched() -> Iterator[Cloud]:
    """A cloud with JSON logs, whose figures are open to this machine, in which a job holds a card and another is over."""
    with torn_down(Cloud()) as made:
        argv = ["-m", "forebay.cloud.serve", "--data", str(made.data), "--port", "0", "--log-format", "json"]
        daemons.start("cloud", made.data, [*argv, "--metrics", "loopback"])
        assert until(lambda: (made.data / "address").exists() and made.url, 30), made.last_words("cloud")
        with made.centre() as agent:
            agent.post("/agent/hello", json={"nodes": encode(NODES)}).raise_for_status()
        with still_there(made):
            yield made


@pytest.fixture(scope="module")
def jobs(watched: Cloud, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    script = tmp_path_factory.mktemp("code") / "train.py"
    script.write_text("print('hello')\n")
    with watched.client(watched.tenant("acme")) as member, watched.client() as operator, watched.centre() as agent:
        operator.set_price("cpu", "0.5")
        made = [member.run(script, argv=["--token", "s3cr3t"], env={"PASSWORD": "hunter2"})["id"] for _ in range(2)]
        seen = {"name": f"{made[1]}-1", "phase": "ended", "outcome": "succeeded", "held_ns": 10**9, "running_at_ns": 1}
        agent.post("/agent/report", json={"seen": [seen]}).raise_for_status()
        member.wait(made[1], 30)
    return made


def bare(cloud: Cloud) -> httpx.Client:
    return httpx.Client(base_url=cloud.url, trust_env=False, timeout=30)


def families(text: str) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(text: str, name: str, **labels: str) -> float:
    found = [s.value for f in families(text).values() for s in f.samples if s.name == name and labels.items() <= s.labels.items()]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def test_the_figures_are_read_by_prometheus_own_parser_and_say_what_is(watched, jobs):
    with bare(watched) as caller:
        response = caller.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = response.text
    for family in families(text).values():
        assert family.type in ("gauge", "counter", "histogram") and family.documentation
        assert len({(*sorted(s.labels.items()), s.name) for s in family.samples}) == len(family.samples)
    assert value(text, "forebay_cards", centre="local", chip="cpu", state="used") == 1
    assert value(text, "forebay_cards", centre="local", chip="cpu", state="idle") == 63
    assert value(text, "forebay_cards", chip="ascend-910b", state="idle", pretend="true") == 8
    assert value(text, "forebay_jobs", phase="starting") == 1
    assert value(text, "forebay_jobs_finished_total", phase="succeeded") == 1
    assert value(text, "forebay_queue_wait_seconds_count", chip="cpu") == 2
    assert value(text, "forebay_events_total", kind="Submitted") == 2
    assert value(text, "forebay_centre_up", centre="local") == 1
    assert value(text, "forebay_spent", organisation="acme", currency="CNY") >= 0.5
    assert value(text, "forebay_price_per_card_second", chip="cpu") == 0.5
    assert value(text, "forebay_http_requests_total", method="POST", route="/api/v1/jobs", status="201") == 2
    assert value(text, "forebay_decision_seconds_count") > 5
    batches = value(text, "forebay_journal_batch_events_count")
    assert 0 < batches <= value(text, "forebay_journal_append_seconds_count")
    assert value(text, "forebay_journal_batch_events_sum") == sum(
        s.value for s in families(text)["forebay_events"].samples if s.name == "forebay_events_total"
    )


def test_buckets_only_grow_and_end_at_the_count(watched, jobs):
    with bare(watched) as caller:
        found = families(caller.get("/metrics").text)
    for family in (f for f in found.values() if f.type == "histogram"):
        rows: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
        for sample in (s for s in family.samples if s.name.endswith("_bucket")):
            labels = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
            rows.setdefault(labels, []).append((float(sample.labels["le"]), sample.value))
        for buckets in rows.values():
            assert buckets == sorted(buckets) and [v for _, v in buckets] == sorted(v for _, v in buckets)
            assert buckets[-1][0] == float("inf")


def test_every_figure_that_the_dashboard_shows_is_there(watched, jobs):
    with bare(watched) as caller:
        text = caller.get("/metrics").text
    there = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    there |= {f"{name}_{part}" for name in there for part in ("bucket", "sum", "count")}
    board = json.loads(DASHBOARD.read_text())
    shown = {target["expr"] for panel in board["panels"] for target in panel.get("targets", [])}
    named = {name for expr in shown for name in re.findall(r"\bforebay_\w+", expr)}
    assert len(shown) > 10 and named <= there, named - there
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert all(
        panel.get("datasource", {}).get("uid") == "${DS_PROMETHEUS}" for panel in board["panels"] if panel["type"] != "row"
    )


def test_the_figures_are_an_operators_unless_the_cloud_says_otherwise(cloud):
    member = cloud.tenant("acme")
    with bare(cloud) as caller:
        for headers in ({}, {"Authorization": f"Bearer {member}"}):
            assert caller.get("/metrics", headers=headers).status_code == 401
        assert caller.get("/metrics", headers={"Authorization": f"Bearer {cloud.operator_key}"}).status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via"])
def test_what_is_forwarded_from_elsewhere_is_not_from_this_machine(watched, header):
    with bare(watched) as caller:
        assert caller.get("/metrics", headers={header: "10.0.0.7"}).status_code == 401


def test_routes_are_counted_by_their_patterns_and_what_nobody_serves_as_one(watched, jobs):
    with bare(watched) as caller:
        for number in range(5):
            caller.get(f"/no/such/place/{number}")
            caller.get(f"/api/v1/jobs/j{number}")
        text = caller.get("/metrics").text
    assert value(text, "forebay_http_requests_total", route="none", status="404") == 5
    assert value(text, "forebay_http_requests_total", route="/api/v1/jobs/{job_id}", method="GET", status="401") == 5
    assert "/no/such/place" not in text


def lines_of(cloud: Cloud) -> list[dict[str, Any]]:
    whole, _, _ = (cloud.data / "cloud.log").read_text().rpartition("\n")  # the last may be under way
    return [json.loads(line) for line in whole.splitlines()]


def said_of(cloud: Cloud, request: str) -> list[dict[str, Any]]:
    return [line for line in lines_of(cloud) if line.get("request") == request]


def test_each_line_of_the_log_is_an_object_that_names_run_job_organisation_and_request(watched, jobs):
    with watched.http(watched.tenant("acme")) as caller:
        answer = caller.post(f"/jobs/{jobs[0]}/cancel", headers={"X-Request-Id": "ours-7"})
        assert answer.headers["x-request-id"] == "ours-7"
        strange = caller.get("/me", headers={"X-Request-Id": "a b\\n{}"})
        assert re.fullmatch("[0-9a-f]{16}", strange.headers["x-request-id"])
    # The line of the request itself is written after its answer.
    assert until(lambda: any(line["logger"] == "forebay.http" for line in said_of(watched, "ours-7")))
    found = said_of(watched, "ours-7")
    kinds = {line["text"]: line for line in found}
    assert {"Cancelled", "StopAsked"} <= kinds.keys()
    about = {"job": jobs[0], "run": f"{jobs[0]}-1", "organisation": "acme", "project": "research", "centre": "local"}
    assert about.items() <= kinds["StopAsked"].items()
    (asked,) = [line for line in found if line["logger"] == "forebay.http"]
    assert (asked["route"], asked["status"], asked["method"]) == ("/api/v1/jobs/{job_id}/cancel", 200, "POST")
    assert all({"at", "level", "logger", "text"} <= line.keys() for line in lines_of(watched))


def test_no_secret_gets_into_the_log(watched, jobs):
    key = watched.tenant("acme")
    with watched.http(key) as caller, bare(watched) as stranger:
        caller.get(f"/jobs/{key}")
        caller.get("/jobs", params={"phase": key})
        stranger.get(f"/{watched.operator_key}")
    assert until(lambda: any("/fb_…" in line.get("path", "") for line in lines_of(watched)), 10)
    log = (watched.data / "cloud.log").read_text()
    assert not SECRET.search(log) and "hunter2" not in log and "s3cr3t" not in log


def test_as_text_too_a_key_in_a_message_is_cut():
    record = logs.EVENTS.makeRecord("forebay", 40, "f", 1, "who sends fb_abcdefghijklmnop?", (), None)
    assert logs.Text("%(message)s").format(record) == "who sends fb_…?"


def test_it_lives_and_is_ready(watched):
    with bare(watched) as caller:
        assert caller.get("/healthz").json() == {"alive": True}
        ready = caller.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"ready": True, "reason": ""})


def test_a_disk_that_takes_nothing_is_said_with_503_and_it_is_ready_again_afterwards():
    with torn_down(Cloud()) as cloud:
        (cloud.data / "ready.probe").mkdir()
        cloud.serve()
        with bare(cloud) as caller:
            answer = caller.get("/readyz")
            assert answer.status_code == 503 and "the data folder's disk can't be written" in answer.json()["reason"]
            assert caller.get("/healthz").status_code == 200
            (cloud.data / "ready.probe").rmdir()
            assert until(lambda: caller.get("/readyz").status_code == 200, 30)


def _is_made(operator: Client, name: str) -> bool:
    try:
        operator.make_organisation(name)
    except Unavailable:
        return False
    return True


def test_a_journal_that_cannot_be_written_is_not_ready_until_it_can():
    """Another process has locked it for longer than the cloud waits."""
    with torn_down(Cloud()) as cloud:
        cloud.serve()
        held = sqlite3.connect(cloud.data / "journal.sqlite", isolation_level=None)
        try:
            held.execute("BEGIN IMMEDIATE")
            with bare(cloud) as caller, cloud.client(patience_s=1.0) as operator:
                with pytest.raises(Exception, match="journal can't be written"):
                    operator.make_organisation("blocked")
                answer = caller.get("/readyz")
                assert answer.status_code == 503 and "the journal can't be written" in answer.json()["reason"]
                held.execute("ROLLBACK")
                assert until(lambda: _is_made(operator, "free"), 30)  # what came while it was locked is refused
                assert caller.get("/readyz").status_code == 200
                text = caller.get("/metrics", headers={"Authorization": f"Bearer {cloud.operator_key}"}).text
                assert value(text, "forebay_journal_failures_total") >= 1
        finally:
            held.close()
        cloud.kill("cloud", signal.SIGTERM)


def test_a_loop_that_has_not_turned_for_long_is_not_ready(tmp_path):
    journal = Journal.open(tmp_path)
    try:
        desk = Desk(Loop(journal), Store(tmp_path))
        assert asyncio.run(why_not_ready(desk)) == ""
        desk.loop.counts.turned_s -= 60
        assert asyncio.run(why_not_ready(desk)) == "the loop hasn't turned for 1 m 00 s"
        desk.loop.counts.turned()
        assert asyncio.run(why_not_ready(desk)) == ""
        desk.reader.close()
    finally:
        journal.close()


def test_the_figures_of_an_empty_cloud_parse_and_names_with_quotes_do_too():
    text = exposition(State(), Counts(), 1, {}, 0)
    assert "forebay_build_info" in families(text)
    counts = Counts()
    counts.answered("GET", 'a"b\\c\nd', 200, 0.1)
    (route,) = {s.labels["route"] for s in families(exposition(State(), counts, 1, {}, 0))["forebay_http_requests"].samples}
    assert route == 'a"b\\c\nd'
