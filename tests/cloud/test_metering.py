"""Bills, prices, credit notes, idle holders and what the pool did, over real HTTP and by the commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from forebay.cli import bill_csv
from forebay.client import Client
from forebay.errors import BadInput, Refused, Unknown

from .clouds import Cloud, until
from .people import piped

S = 10**9


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def acme(cloud: Cloud) -> str:
    return cloud.tenant("acme")


@pytest.fixture
def member(cloud: Cloud, acme: str) -> Iterator[Client]:
    with cloud.client(acme) as client:
        yield client


@pytest.fixture
def operator(cloud: Cloud) -> Iterator[Client]:
    with cloud.client() as client:
        yield client


@pytest.fixture
def agent(cloud: Cloud) -> Iterator[httpx.Client]:
    with cloud.centre() as client:
        yield client


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("code") / "train.py"
    path.write_text("print('hello')\n")
    return path


def report(agent: httpx.Client, run: str, **seen: Any) -> None:
    agent.post("/agent/report", json={"seen": [{"name": run, "phase": "running", "running_at_ns": 1, **seen}]}).raise_for_status()


def told(cloud: Cloud, key: str, *words: str) -> Any:
    done = piped(cloud, key, *words, "--json")
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_a_run_that_the_pool_lost_is_credited_in_the_bill_and_in_the_csv(cloud, acme, member, operator, agent, script, tmp_path):
    operator.set_price("cpu", "0.5")
    job = member.run(script, cards=2, retries=0, name="=cmd()")["id"]
    report(agent, f"{job}-1", started_at_ns=1)
    report(
        agent,
        f"{job}-1",
        phase="ended",
        outcome="lost",
        held_ns=10 * S,
        started_at_ns=1,
        ended_at_ns=10 * S,
        checkpoint_at_ns=4 * S,
    )
    member.wait(job, 30)
    bill = member.bill(job=job)
    (line,) = bill["lines"]
    assert (bill["cost_micro"], bill["credited_micro"], bill["billed_micro"]) == (10_000_000, 6_000_000, 4_000_000)
    assert line["credit"] == "the run was lost with its machine or supervisor" and line["centre"] == "local"
    assert any("6.000000 CNY are credited for 12.000 card-seconds" in event["text"] for event in member.story(job))
    assert member.job(job)["runs"][0]["credit"]["micro"] == 6_000_000
    shown = piped(cloud, acme, "bill", "--job", job).stdout.decode()
    assert "-6.000000" in shown and "to pay: 4.000000 CNY" in shown
    file = tmp_path / "bill.csv"
    assert piped(cloud, acme, "bill", "--job", job, "--csv", str(file)).returncode == 0
    (row,) = bill_csv.columns(file.read_text())
    assert (row["cost_CNY"], row["credited_CNY"], row["billed_CNY"]) == ("10.000000", "6.000000", "4.000000")
    assert (row["held_s"], row["card_s"], row["run"], row["pretend"]) == ("10.000000000", "20.000000000", f"{job}-1", "False")
    assert row["job_name"] == "'=cmd()"  # a spreadsheet takes it for a text


def test_a_bill_is_split_and_cut_and_its_parts_sum_to_it(cloud, acme, member, operator, agent, script, tmp_path):
    with cloud.client(cloud.tenant("acme")) as other:
        jobs = [member.run(script)["id"], other.run(script, chips=["ascend-910b"])["id"]]
    for job in jobs:
        report(agent, f"{job}-1", phase="ended", outcome="succeeded", held_ns=3 * S)
        member.wait(job, 30)
    now_ns = member.about()["time_ns"]
    whole = member.bill(by=["chip", "member"], until_ns=now_ns)
    assert {row["chip"] for row in whole["rows"]} == {"cpu", "ascend-910b"}
    for name in ("cost_micro", "credited_micro", "billed_micro", "card_ns"):
        assert sum(row[name] for row in whole["rows"]) == whole[name]
    middle = now_ns - 1500 * 10**6
    parts = [member.bill(until_ns=middle), member.bill(since_ns=middle, until_ns=now_ns)]
    assert sum(part["cost_micro"] for part in parts) == whole["cost_micro"]
    rows = told(cloud, acme, "bill", "--by", "chip", "--since", "1h")["rows"]
    assert {row["chip"] for row in rows} == {"cpu", "ascend-910b"}
    file = tmp_path / "chips.csv"
    assert piped(cloud, acme, "bill", "--by", "chip,member", "--csv", str(file)).returncode == 0
    assert {row["chip"] for row in bill_csv.columns(file.read_text())} == {"cpu", "ascend-910b"}
    assert "to pay CNY" in piped(cloud, acme, "bill", "--by", "chip").stdout.decode()
    with pytest.raises(BadInput, match="split"):
        member.bill(by=["colour"])
    with pytest.raises(BadInput, match="period"):
        member.bill(since_ns=5, until_ns=4)


def test_another_organisation_sees_nothing_of_it(cloud, operator):
    with cloud.client(cloud.tenant("rival")) as rival:
        assert rival.bill()["lines"] == [] and rival.bill(by=["member"])["rows"] == []
        with pytest.raises(Unknown):
            rival.bill(organisation="acme")
        assert {line["name"] for line in rival.pool_use()["lines"]} <= {"rival"}
        with pytest.raises(Refused):
            rival.set_idle_limits(warn_s=60, reclaim_s=None)


def test_a_tariff_is_planned_shown_and_never_in_the_past(cloud, member, operator):
    operator.set_price("h100-sxm", "1.5")
    assert piped(cloud, cloud.operator_key, "price", "set", "h100-sxm", "2.5", "--from", "+12h").returncode == 0
    history = [(p["chip"], p["micro_per_card_s"]) for p in member.price_history("h100-sxm")["prices"]]
    assert history == [("h100-sxm", 1_500_000), ("h100-sxm", 2_500_000)]
    assert {"chip": "h100-sxm", "micro_per_card_s": 1_500_000} in member.prices()["prices"]
    shown = piped(cloud, cloud.operator_key, "price", "history", "h100-sxm").stdout.decode()
    assert "now" in shown and "to come" in shown
    with pytest.raises(BadInput, match="past"):
        operator.set_price("h100-sxm", "1", from_ns=5)


def test_an_idle_holder_is_warned_then_stopped_and_told_why(cloud, acme, member, operator, agent, script):
    limits = told(cloud, cloud.operator_key, "pool", "idle", "--warn", "15m", "--reclaim", "1h")
    assert (limits["warn_s"], limits["reclaim_s"], limits["share"]) == (900, 3600, 0.05)
    assert "never stopped" in piped(cloud, cloud.operator_key, "pool", "idle", "--reclaim", "never").stdout.decode()
    job = member.run(script, cards=1)["id"]
    use = {"held_ns": 4200 * S, "measured_ns": 4200 * S, "active_ns": 10 * S, "productive_ns": 2000 * S, "saved_ns": 0}
    report(agent, f"{job}-1", use=use)
    assert until(lambda: member.job(job)["runs"][0]["idle"], 30) == "its cards have been idle for 1 h 10 m"
    assert "idle for 1 h 10 m" in piped(cloud, acme, "show", job).stdout.decode()
    (row,) = [line for line in piped(cloud, acme, "jobs").stdout.decode().splitlines() if line.startswith(job)]
    assert " idle " in row
    (warned,) = [event["text"] for event in member.story(job) if event["kind"] == "IdleWarned"]
    assert warned == "warning: its cards have been idle for 1 h 10 m"
    assert member.job(job)["phase"] == "running"
    told(cloud, cloud.operator_key, "pool", "idle", "--reclaim", "1h")
    stopped = until(lambda: member.job(job) if member.job(job)["phase"] == "stopping" else None, 30)
    assert stopped["reason"] == "its cards were idle for 1 h 10 m, and the pool takes them back after 1 h 00 m"
    report(agent, f"{job}-1", phase="ended", outcome="stopped", held_ns=4200 * S, use=use)
    over = member.wait(job, 30)
    assert (over["phase"], over["reason"]) == ("failed", stopped["reason"])
    assert over["runs"][0]["use"]["productive_ns"] == 0  # all of it was lost with the run: it made no checkpoint
    told(cloud, cloud.operator_key, "pool", "idle", "--reclaim", "never")


def test_what_the_pool_did_is_told_with_what_nobody_measured(cloud, acme, member, operator, agent, script):
    job = member.run(script, cards=2)["id"]
    before = {line["of"] + line["name"]: line for line in operator.pool_use()["lines"] if not line["pretend"]}
    report(agent, f"{job}-1", use={"held_ns": 100 * S})
    report(agent, f"{job}-1", phase="ended", outcome="succeeded", held_ns=60 * S, use={"held_ns": 120 * S})
    member.wait(job, 30)
    after = {line["of"] + line["name"]: line for line in operator.pool_use()["lines"] if not line["pretend"]}
    for name in ("pool", "centrelocal", "chipcpu", "organisationacme"):
        assert after[name]["held_ns"] - before[name]["held_ns"] == 120 * S
        assert after[name]["measured_ns"] == before[name]["measured_ns"]
        assert after[name]["used_ns"] + after[name]["idle_ns"] + after[name]["down_ns"] == after[name]["elapsed_ns"]
    shown = piped(cloud, cloud.operator_key, "pool", "use", "--since", "1h").stdout.decode()
    assert "chip cpu" in shown and "organisation acme" in shown and "chip ascend-910b (pretend)" in shown
    assert {line["of"] for line in member.pool_use()["lines"]} == {"organisation"}


def test_the_ledger_and_the_bill_are_the_same_after_kill_9(cloud, operator, member):
    now_ns = operator.about()["time_ns"]
    before = operator.bill(until_ns=now_ns), operator.price_history()["prices"]
    use = {line["of"] + line["name"] + str(line["pretend"]): line for line in operator.pool_use()["lines"]}
    cloud.kill("cloud")
    cloud.serve()
    assert (operator.bill(until_ns=now_ns), operator.price_history()["prices"]) == before
    for name, line in {line["of"] + line["name"] + str(line["pretend"]): line for line in operator.pool_use()["lines"]}.items():
        assert line["used_ns"] + line["idle_ns"] + line["down_ns"] == line["elapsed_ns"]
        assert line["elapsed_ns"] >= use[name]["elapsed_ns"] and line["held_ns"] == use[name]["held_ns"]


BURNS = """
import sys, time
for step in range(1, 7):
    end = time.process_time() + 0.25
    while time.process_time() < end:
        pass
    print(f"step {step}/6 | loss {1 / step:.3f}", flush=True)
    time.sleep(0.6)
"""


def test_a_real_run_on_cores_is_measured_by_the_time_of_its_processes(pool, tmp_path):
    """What the supervisor measured arrives through the agent, and lies within what was held."""
    script = tmp_path / "train.py"
    script.write_text(BURNS)
    key = pool.tenant("acme")
    with pool.client(key) as member, pool.client() as operator:
        job = member.run(script)["id"]
        over = member.wait(job, 90)
        (run,) = over["runs"]
        use = run["use"]
        assert use["held_ns"] == run["held_ns"] and 0 < use["measured_ns"] <= use["held_ns"]
        assert 1.0 * S < use["active_ns"] <= use["measured_ns"]
        assert 1.5 * S < use["productive_ns"] < use["held_ns"]
        (line,) = [line for line in operator.pool_use()["lines"] if line["of"] == "organisation"]
        assert (line["held_ns"], line["active_ns"]) == (use["held_ns"], use["active_ns"])
        assert line["held_ns"] <= line["used_ns"]
        assert "at work for" in piped(pool, key, "show", job).stdout.decode()
