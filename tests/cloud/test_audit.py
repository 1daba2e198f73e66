"""The audit view: who did what, for an operator all of it, for an owner what is theirs."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from forebay.client import Client
from forebay.cloud.core import events as e
from forebay.codec import encode
from forebay.errors import BadInput, Refused

from .clouds import NODES, Cloud


@pytest.fixture(scope="module")
def people(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two organisations with an owner each, who have done much of what can be done."""
    script = tmp_path_factory.mktemp("code") / "train.py"
    script.write_text("print('hello')\n")
    found: dict[str, Any] = {"secrets": [cloud.operator_key, (cloud.data / "centre.token").read_text().strip()]}
    with cloud.client() as operator:
        for name in ("acme", "rival"):
            operator.make_organisation(name, f"{name} ltd")
            operator.make_project(name, "research")
            operator.set_organisation(name, weight=2)
            operator.set_quota(name, "cpu", 8, borrow=4)
            operator.set_member(name, f"ada-{name}", role="owner")
            _, secret = operator.make_key(name, role="owner", member=f"ada-{name}", name=f"laptop-{name}")
            found[name] = secret
            with cloud.client(secret) as owner:
                owner.set_budget(f"{name}/research", "100")
                owner.set_project(f"{name}/research", weight=3)
                job = owner.run(script, env={"HF_TOKEN": f"hidden-{name}"}, chips=["cpu"])
                owner.cancel(job["id"])
                found[f"{name} job"] = job["id"]
            found["secrets"] += [secret, f"hidden-{name}"]
        _, token = operator.make_centre("north")
        found["secrets"].append(token)
        operator.set_price("cpu", "0.01")
        operator.drain("local/here/3", "a fan")
        operator.undrain("local/here/3")
        operator.set_centre_owner("local", "acme", 0.5)
        operator.set_index("cpu", 0.1)
    return found


def lines(cloud: Cloud, secret: str | None = None, **asked: Any) -> list[dict[str, Any]]:
    with cloud.client(secret) as client:
        return list(client.audit(most=10_000, **asked))


def test_an_operator_reads_the_whole_journal_in_order_and_each_line_says_when_who_and_what(cloud, people):
    told = lines(cloud)
    assert [line["seq"] for line in told] == list(range(1, len(told) + 1))
    kinds = {line["kind"] for line in told}
    assert {
        "CloudMade",
        "KeyMade",
        "OrganisationSet",
        "QuotaSet",
        "MemberSet",
        "BudgetSet",
        "Submitted",
        "Launched",
        "PriceSet",
    } <= kinds
    (drained,) = (line for line in told if line["kind"] == "Drained")
    assert (drained["by"], drained["role"], drained["text"]) == ("k-operator", "operator", "drained local/here/3: a fan")
    submitted = next(line for line in told if line["kind"] == "Submitted" and line["organisation"] == "acme")
    assert (submitted["member"], submitted["job"]) == ("ada-acme", people["acme job"])
    assert [line["text"] for line in told if line["text"] == line["kind"]] == []  # every kind has its sentence


def test_an_owner_reads_their_own_organisations_lines_and_nothing_of_another(cloud, people):
    told = lines(cloud, people["acme"])
    assert {line["organisation"] for line in told} == {"acme"}
    assert {"OrganisationMade", "QuotaSet", "MemberSet", "BudgetSet", "Submitted", "Launched"} <= {line["kind"] for line in told}
    whole = json.dumps(told)
    assert "rival" not in whole and people["rival job"] not in whole
    with cloud.client(cloud.tenant("acme")) as member, pytest.raises(Refused):
        list(member.audit())


def test_no_line_has_a_secret_or_the_hash_of_one(cloud, people):
    whole = json.dumps(lines(cloud))
    for secret in people["secrets"]:
        assert secret not in whole
        assert hashlib.sha256(secret.encode()).hexdigest() not in whole
    assert "HF_TOKEN" in whole
    assert not re.search(r"(secret|token|key)_sha256", whole)


def test_lines_are_chosen_by_who_kind_time_and_organisation(cloud, people):
    everything = lines(cloud)
    assert {line["member"] for line in lines(cloud, by="ada-rival")} == {"ada-rival"}
    assert {line["by"] for line in lines(cloud, by="k-operator")} == {"k-operator"}
    assert {line["key_name"] for line in lines(cloud, by="laptop-acme")} == {"laptop-acme"}
    assert {line["kind"] for line in lines(cloud, kind="QuotaSet")} == {"QuotaSet"}
    assert {line["organisation"] for line in lines(cloud, organisation="rival")} == {"rival"}
    middle = everything[len(everything) // 2]["at_ns"]
    assert [line["seq"] for line in lines(cloud, since_ns=middle)] == [x["seq"] for x in everything if x["at_ns"] >= middle]
    with pytest.raises(BadInput) as told:
        lines(cloud, kind="QuotaSett")
    assert "QuotaSet" in told.value.hint


def test_pages_hold_every_line_once_in_both_directions(cloud, people):
    everything = [line["seq"] for line in lines(cloud, people["acme"])]
    with cloud.http(people["acme"]) as client:
        down: list[int] = []
        page = client.get("/audit?most=3").json()
        while True:
            down += [line["seq"] for line in page["lines"]]
            if page["next"] is None:
                break
            page = client.get(f"/audit?most=3&before={page['next']}").json()
        up: list[int] = []
        page = client.get("/audit?most=3&after=0").json()
        while True:
            up += [line["seq"] for line in page["lines"]]
            if page["next"] is None:
                break
            page = client.get(f"/audit?most=3&after={page['next']}").json()
    assert down == everything[::-1] and up == everything


def test_followed_it_tells_what_happens_from_now_on(cloud, people):
    seen: list[dict[str, Any]] = []
    begun, heard = threading.Event(), threading.Event()

    def follow(client: Client) -> None:
        for line in client.audit(most=1, follow=True, poll_s=0.05):
            seen.append(line)
            begun.set()
            if line["kind"] == "BudgetLifted":
                heard.set()
                return

    with cloud.client(people["rival"]) as owner, cloud.client(people["rival"]) as hand:
        watching = threading.Thread(target=follow, args=(owner,), daemon=True)
        watching.start()
        assert begun.wait(30)  # the newest line of before
        hand.set_budget("rival/research", "7")
        hand.lift_budget("rival/research")
        assert heard.wait(30)
        watching.join(30)
    assert [line["kind"] for line in seen][-2:] == ["BudgetSet", "BudgetLifted"]


def test_every_kind_of_event_is_told_in_a_sentence_or_belongs_to_a_job():
    """A kind that a newer policy brings shows at least its name; those that tenants and operators cause have a sentence."""
    from forebay.cloud import story, story_pool

    text = Path(story.__file__).read_text() + Path(story_pool.__file__).read_text()
    untold = [kind for kind in e.KINDS if f"e.{kind}(" not in text]
    assert set(untold) <= {"CheckpointSeen", "UseSeen", "Reserved", "Released", "Credited", "IdleWarned"}  # of the policy to come


def test_what_is_reserved_for_one_shows_no_run_of_another(cloud, people):
    from forebay.cloud.audit import shown
    from forebay.cloud.core.pool import Allocation
    from forebay.cloud.journal import Journal

    rivals = f"{people['rival job']}-1"
    reserved = e.Reserved(
        at_ns=1, by="forebay", job=people["acme job"], runs=(f"{people['acme job']}-1", rivals),
        allocation=Allocation(centre="local", chip="cpu", parts=()),
    )  # fmt: skip
    cloud.kill("cloud")
    journal = Journal.open(cloud.data)
    try:
        state = journal.load()
    finally:
        journal.close()
    cloud.serve()
    with cloud.client() as client:
        client.about()  # once it is there again
    with cloud.centre() as agent:
        agent.post("/agent/hello", json={"nodes": encode(NODES)}).raise_for_status()
    assert shown(reserved, state, lambda organisation: organisation == "acme")["runs"] == [f"{people['acme job']}-1", "another's"]
