"""Schemathesis over the OpenAPI document, with every role, against a running cloud with two organisations in it.

No answer is a 5xx of the cloud's own making, no answer shows what is another organisation's, every error has our form; and when
all is over, nothing of the other organisation has changed. The names and ids that requests carry are drawn from what was
generated, what is the asker's own, and what is another's.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from forebay.client import Client
from forebay.cloud.core.tenant import Role

from .clouds import Cloud

schemathesis = pytest.importorskip("schemathesis")
hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXAMPLES = int(os.environ.get("FOREBAY_FUZZ_EXAMPLES", "3"))  # of a route, a role and a kind of input
FULL_S = 60.0  # of an asker; after that, on a machine that is busy, one of each
THEIRS = "zebrano"  # the organisation whose things nobody of acme may see; the word stands in all of its texts
ASKERS = [*(role.value for role in Role if role is not Role.OPERATOR), "scoped", "centre", "nobody", "operator"]


class Town:
    """A cloud with two organisations that have a bit of everything."""

    def __init__(self, cloud: Cloud, script: Any) -> None:
        self.cloud = cloud
        self.secrets = {"nobody": "fb_nobody", "operator": cloud.operator_key}
        self.secrets["centre"] = (cloud.data / "centre.token").read_text().strip()
        self.ids: dict[str, dict[str, str]] = {}
        with cloud.client() as operator:
            operator.set_price("cpu", "0.01")
            for name in ("acme", THEIRS):
                self.ids[name] = self._settle(operator, name, script)
            for role in ("owner", "member", "viewer"):
                self.secrets[role] = operator.make_key("acme" if role == "owner" else "acme/acmes", role=role)[1]
            self.secrets["scoped"] = operator.make_key("acme", role="owner", scopes=["jobs:read", "members:write"])[1]
        # Words that answers to acme must not have, unless the request itself said them.
        self.marks = [THEIRS, *(value for name, value in self.ids[THEIRS].items() if name in ("job_id", "key_id", "version"))]

    def _settle(self, operator: Client, name: str, script: Any) -> dict[str, str]:
        operator.make_organisation(name, f"the {name} company")
        operator.make_project(name, f"{name}s")
        operator.set_quota(name, "cpu", 16, borrow=8)
        operator.set_budget(name, "1000")
        operator.set_member(name, f"{name}.ada", role="owner")
        key, secret = operator.make_key(name, role="owner", member=f"{name}.ada", name=f"{name} laptop")
        with self.cloud.client(secret) as owner:
            owner.set_budget(f"{name}/{name}s", "500")
            version = owner.make_data(f"{name}-texts", script.parent)
            said = {"chips": ["cpu"], "env": {f"{name.upper()}_TOKEN": f"{name}-value"}}
            job = owner.run(script, [f"--{name}"], name=f"{name} training", **said)["id"]
        with self.cloud.centre() as agent:  # it runs, has printed something, and left something
            log = json.dumps({"rank": 0, "stream": "out", "t_ns": 1, "text": f"a line of {name}"}) + "\n"
            agent.post(
                "/agent/report", json={"seen": [{"name": f"{job}-1", "phase": "running", "running_at_ns": 2}]}
            ).raise_for_status()
            agent.post(f"/agent/runs/{job}-1/log?offset=0", content=log.encode()).raise_for_status()
        names = {"organisation": name, "project": f"{name}s", "name": f"{name}.ada", "key_id": key["id"], "job_id": job}
        return {**names, "run": f"{job}-1", "of": f"{job}-1", "version": version["version"], "centre": "local", "chip": "cpu"}


@pytest.fixture(scope="module")
def town(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Town:
    script = tmp_path_factory.mktemp("code") / "train.py"
    script.write_text("print('hello')\n")
    return Town(cloud, script)


@pytest.fixture(scope="module")
def operations(town: Town) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"{town.cloud.url}/api/v1/openapi.json")
    found = [result.ok() for result in schema.get_all_operations()]
    assert len(found) > 50
    return found


def theirs(town: Town) -> Any:
    """What there is of the other organisation."""
    ids = town.ids[THEIRS]
    with town.cloud.client() as operator:
        job = operator.job(ids["job_id"])
        return {
            "organisation": [o for o in operator.organisations() if o["name"] == THEIRS],
            "members": operator.members(THEIRS),
            "keys": [k for k in [*operator.keys()] if k["organisation"] == THEIRS],
            "quotas": [{**q, "held": 0} for q in operator.quotas() if q["organisation"] == THEIRS],
            "budgets": [{**b, "spent_micro": 0} for b in operator.budgets()["budgets"] if b["organisation"] == THEIRS],
            "data": [v for v in operator.data() if v["organisation"] == THEIRS],
            "jobs": [j["id"] for j in operator.jobs(project=f"{THEIRS}/{THEIRS}s")],
            "job": (job["phase"], job["reason"], job["script"]),
        }


@pytest.mark.parametrize("asker", ASKERS)
def test_no_answer_fails_or_shows_what_is_anothers(town, operations, asker):
    before, problems, began = theirs(town), [], time.monotonic()
    for operation in operations:
        agents_route = operation.path.startswith("/api/v1/agent/")
        if agents_route != (asker == "centre") and asker != "nobody":
            continue
        for mode in schemathesis.GenerationMode:
            try:
                strategy = operation.as_strategy(generation_mode=mode)
                fuzz(town, asker, strategy, problems, EXAMPLES if time.monotonic() - began < FULL_S else 1)
            except hypothesis.errors.Unsatisfiable:
                continue  # nothing about this route can be said wrongly
    assert problems == []
    if asker not in ("operator", "centre"):
        assert theirs(town) == before


def fuzz(town: Town, asker: str, strategy: Any, problems: list[str], examples: int) -> None:
    @settings(
        max_examples=examples,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy, names=st.sampled_from(["generated", "own", "theirs", "theirs"]))
    def ask(case: Any, names: str) -> None:
        aim(town, case, names)
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {town.secrets[asker]}"}
        case.headers.pop("authorization", None)
        try:
            answer = case.call(base_url=town.cloud.url, timeout=60)
        except (ValueError, UnicodeError):
            return  # no HTTP at all
        problems.extend(f"{asker} {case.method} {case.path}: {what}" for what in wrong(town, asker, case, answer))

    ask()


def aim(town: Town, case: Any, names: str) -> None:
    """Fill in names of things that there are, and wait for nothing."""
    if names != "generated":
        ids = town.ids["acme" if names == "own" else THEIRS]
        for at in (case.path_parameters, case.query):
            for name in list(at or {}):
                if name in ids:
                    at[name] = ids[name]
        if isinstance(case.body, dict):
            case.body.update({name: ids[name] for name in ("organisation", "project") if name in case.body})
    for name, value in {"wait_s": 0, "follow": "false"}.items():
        if case.query and name in case.query:
            case.query[name] = value


def wrong(town: Town, asker: str, case: Any, answer: Any) -> list[str]:
    found = []
    text = answer.content.decode(errors="replace")
    ours = is_ours(text)
    if answer.status_code >= 500 and not (answer.status_code == 503 and ours):  # 503: not now, and why
        found.append(f"{answer.status_code} {text[:300]}")
    if answer.status_code >= 400 and case.method.upper() != "HEAD" and not ours:
        found.append(f"an error that isn't in our form: {answer.status_code} {text[:300]}")
    if asker in ("owner", "member", "viewer", "scoped", "nobody"):
        said = json.dumps([case.path_parameters, case.query, case.body, case.headers], default=repr)
        found += [f"shows {mark}: {text[:300]}" for mark in town.marks if mark in text and mark not in said]
        if THEIRS in json.dumps(case.path_parameters, default=repr) and answer.status_code < 400:
            found.append(f"was done to another's: {text[:300]}")
    return found


def is_ours(text: str) -> bool:
    try:
        return list(json.loads(text)["error"]) == ["kind", "text", "asked", "found", "try"]
    except (ValueError, KeyError, TypeError):
        return False
