"""Who may do what: the table of rights, walked over with every role and every route; members, owners, scopes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from forebay.client import Client
from forebay.cloud.access import RIGHTS, SCOPES, WHAT, Reach
from forebay.cloud.core.tenant import Role
from forebay.errors import BadInput, BadKey, Conflict, Refused, Unknown

from .clouds import Cloud, until

ROLES = [role.value for role in Role]


@pytest.fixture(scope="module")
def keys(cloud: Cloud) -> dict[str, str]:
    """A secret for each role, in the organisation acme; and an owner of rival."""
    with cloud.client() as operator:
        for name in ("acme", "rival"):
            operator.make_organisation(name)
            operator.make_project(name, "research")
            operator.make_project(name, "second")
        made = {role: operator.make_key("acme/research", role=role)[1] for role in ("member", "viewer")}
        made["owner"] = operator.make_key("acme", role="owner")[1]
        made["rival"] = operator.make_key("rival", role="owner")[1]
        made["operator"] = operator.make_key(role="operator")[1]
    return made


@pytest.fixture
def operator(cloud: Cloud) -> Iterator[Client]:
    with cloud.client() as client:
        yield client


@pytest.fixture
def owner(cloud: Cloud, keys: dict[str, str]) -> Iterator[Client]:
    with cloud.client(keys["owner"]) as client:
        yield client


def routes(cloud: Cloud) -> list[tuple[str, str, str]]:
    """Every route of the OpenAPI document: method, path with names filled in, the right that it says it needs."""
    with httpx.Client(base_url=cloud.url, trust_env=False) as client:
        document = client.get("/api/v1/openapi.json").json()
    names = {
        "organisation": "acme",
        "project": "research",
        "job_id": "j2222222",
        "chip": "cpu",
        "key_id": "k2222",
        "name": "nobody",
    }
    found = []
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            filled = path
            for parameter in said.get("parameters", []):
                if parameter["in"] == "path":
                    filled = filled.replace("{" + parameter["name"] + "}", names.get(parameter["name"], "x"))
            found.append((method.upper(), filled, said["x-forebay-right"]))
    return found


def test_every_route_says_which_right_it_needs_and_every_right_is_needed_somewhere(cloud):
    needed = {right for _, _, right in routes(cloud)}
    assert needed - {"anyone", "centre"} == set(RIGHTS)
    assert [path for _, path, right in routes(cloud) if right == "anyone"] == ["/api/v1/"]
    assert all(path.startswith("/api/v1/agent/") for _, path, right in routes(cloud) if right == "centre")


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_the_table_says_and_nothing_else(cloud, keys, role):
    """Requests without a body, which goes no further than the question who asks: nobody is let past it by a mistake."""
    wrong = []
    with cloud.http(keys[role]) as client:
        for method, path, right in routes(cloud):
            response = client.request(method, path.removeprefix("/api/v1"))
            refused = {401: "BadKey", 403: "Refused"}.get(response.status_code, "")
            if right == "centre":  # `join` shows a token, and is asked what it wants first
                expected = "" if path.endswith("/join") else "BadKey"
            else:
                expected = "" if right == "anyone" or RIGHTS[right][Role(role)] is not Reach.NONE else "Refused"
            if refused != expected or response.status_code >= 500:
                wrong.append((method, path, right, response.status_code))
    assert wrong == []


def test_nobody_does_anything_without_a_key(cloud):
    with httpx.Client(base_url=cloud.url, trust_env=False) as stranger:
        answers = {(m, p): stranger.request(m, p).status_code for m, p, right in routes(cloud) if right != "anyone"}
    # `join` shows a token instead, and looks at what was asked first.
    assert {asked: status for asked, status in answers.items() if status != 401} == {("POST", "/api/v1/agent/join"): 422}


def test_the_page_of_tenants_shows_the_very_table():
    page = (Path(__file__).parents[2] / "docs" / "tenants.md").read_text()
    for right, reaches in RIGHTS.items():
        row = f"| `{right}` | " + " | ".join(reaches[role].value for role in Role) + f" | {WHAT[right]} |"
        assert row in page


# Owners: their own organisation, and nothing beyond.


def test_an_owner_manages_projects_members_keys_budgets_and_weights_of_its_own_organisation(cloud, owner):
    owner.make_project("acme", "third")
    owner.set_project("acme/third", weight=2)
    owner.set_member("acme", "ada@acme.example", role="viewer", project="third")
    made, secret = owner.make_key("acme/third", role="viewer", member="ada@acme.example")
    owner.set_budget("acme/third", "5000")
    (acme,) = owner.organisations()
    assert acme["weights"]["third"] == 2
    assert [(m["name"], m["role"], m["project"], m["keys"]) for m in owner.members("acme")] == [
        ("ada@acme.example", "viewer", "third", 1)
    ]
    assert [(b["project"], b["limit_micro"]) for b in owner.budgets()["budgets"]] == [("third", 5_000_000_000)]
    with cloud.client(secret) as ada:
        assert (ada.me()["id"], ada.me()["member"], ada.me()["may"]) == (made["id"], "ada@acme.example", "viewer")
    owner.lift_budget("acme/third")
    owner.revoke_key(made["id"])
    assert owner.budgets()["budgets"] == []


def test_an_owner_has_no_hand_in_another_organisation_or_in_the_pool(owner, operator):
    key, _ = operator.make_key("rival/research")
    operator.set_member("rival", "bob")
    unknown: list[Any] = [
        lambda: owner.make_project("rival", "mine"),
        lambda: owner.set_project("rival/research", weight=9),
        lambda: owner.set_member("rival", "eve", role="owner"),
        lambda: owner.remove_member("rival", "bob"),
        lambda: owner.members("rival"),
        lambda: owner.make_key("rival/research"),
        lambda: owner.revoke_key(key["id"]),
        lambda: owner.revoke_key("k-operator"),
        lambda: owner.set_budget("rival/research", "1"),
        lambda: owner.lift_budget("rival/research"),
        lambda: list(owner.audit(organisation="rival")),
    ]
    for ask in unknown:
        with pytest.raises(Unknown):
            ask()
    refused: list[Any] = [
        lambda: owner.make_key(role="operator"),
        lambda: owner.set_organisation("acme", weight=9),
        lambda: owner.set_quota("acme", "cpu", 10**6),
        lambda: owner.set_budget("acme", "1"),
        lambda: owner.set_price("cpu", "0"),
        lambda: owner.set_index("cpu", 100),
        lambda: owner.set_centre_owner("local", "acme"),
        lambda: owner.centres(),
    ]
    for ask in refused:
        with pytest.raises(Refused):
            ask()


def test_another_organisations_things_are_answered_like_things_that_are_not(cloud, keys):
    """The same bytes, so that nobody learns which names others have."""
    with cloud.http(keys["owner"]) as client:
        for method, path, body in [
            ("GET", "/organisations/{}/members", None),
            ("POST", "/organisations/{}/projects", {"name": "p"}),
            ("PUT", "/organisations/{}/members/eve", {"role": "viewer"}),
            ("DELETE", "/organisations/{}/members/eve", None),
            ("PUT", "/budgets/{}/research", {"limit_micro": 1}),
            ("GET", "/audit?organisation={}", None),
            ("GET", "/bill?organisation={}", None),
            ("GET", "/jobs?organisation={}", None),
        ]:
            theirs, nobodys = (client.request(method, path.format(name), json=body) for name in ("rival", "nosuch"))
            assert theirs.status_code == 404, path
            assert theirs.content.replace(b"rival", b"X") == nobodys.content.replace(b"nosuch", b"X")


# Members.


def test_a_removed_members_keys_are_no_good_from_then_on(cloud, owner):
    owner.set_member("acme", "carl")
    owner.set_member("acme", "dora")
    carls = [owner.make_key("acme", member="carl")[1] for _ in range(2)]
    doras = owner.make_key("acme", member="dora")[1]
    gone = owner.remove_member("acme", "carl")
    assert len(gone["revoked"]) == 2
    for secret in carls:
        with cloud.client(secret) as carl, pytest.raises(BadKey):
            carl.jobs()
    with cloud.client(doras) as dora:
        assert dora.me()["member"] == "dora"
    owner.set_member("acme", "carl")  # back again: the old keys stay revoked, after a restart too
    cloud.kill("cloud")
    cloud.serve()
    with cloud.client(carls[0]) as carl, pytest.raises(BadKey):
        carl.jobs()
    with pytest.raises(Unknown):
        owner.remove_member("acme", "nobody")


def test_a_key_is_never_good_for_more_than_its_member_is_today(cloud, owner):
    owner.set_member("acme", "fay", role="owner")
    _, secret = owner.make_key("acme", role="owner", member="fay")
    with cloud.client(secret) as fay:
        fay.make_project("acme", "fays")
        with pytest.raises(Conflict):
            fay.set_member("acme", "fay", role="viewer")  # nobody lowers themselves by a slip
        owner.set_member("acme", "fay", role="viewer")
        assert (fay.me()["role"], fay.me()["may"]) == ("owner", "viewer")
        with pytest.raises(Refused):
            fay.make_project("acme", "more")
        with pytest.raises(Refused):
            fay.set_member("acme", "fay", role="owner")
    with pytest.raises(Refused, match="more than its member"):
        owner.make_key("acme", role="member", member="fay")
    with pytest.raises(Unknown):
        owner.make_key("acme", member="nobody")


def test_who_is_of_one_project_works_there_and_an_owner_is_of_all(cloud, owner, tmp_path):
    (tmp_path / "train.py").write_text("pass\n")
    owner.set_member("acme", "gil", project="second")
    with pytest.raises(Refused):
        owner.make_key("acme/research", member="gil")
    _, secret = owner.make_key("acme", member="gil")
    with cloud.client(secret) as gil:
        job = gil.run(tmp_path / "train.py")
        assert gil.job(job["id"])["project"] == "second"
        with pytest.raises(Unknown):
            gil.run(tmp_path / "train.py", project="acme/research")
        gil.cancel(job["id"])
    with pytest.raises(BadInput):
        owner.set_member("acme", "hal", role="owner", project="second")
    with pytest.raises(BadInput, match="In which project"):
        owner.run(tmp_path / "train.py")


# Scopes and lives.


def test_a_key_with_scopes_is_good_for_them_only(cloud, owner, tmp_path):
    (tmp_path / "train.py").write_text("pass\n")
    _, secret = owner.make_key("acme/research", scopes=["jobs:read", "jobs:write"])
    with cloud.client(secret) as program:
        job = program.run(tmp_path / "train.py")
        assert program.job(job["id"])["id"] == job["id"]
        program.cancel(job["id"])
        assert program.me()["scopes"] == ["jobs:read", "jobs:write"]
        for ask in (program.data, program.pool, program.bill, program.organisations, program.keys):
            with pytest.raises(Refused) as told:
                ask()
            assert told.value.found == "a key for jobs:read, jobs:write"
    with pytest.raises(BadInput):
        owner.make_key("acme/research", scopes=["jobs:everything"])


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("role", ROLES)
def test_a_scope_lets_through_what_the_role_may_and_it_names(cloud, keys, operator, role, scope):
    home = None if role == "operator" else "acme" if role == "owner" else "acme/research"
    made, secret = operator.make_key(home, role=role, scopes=[scope])
    probes = {right: (method, path) for method, path, right in routes(cloud) if right not in ("anyone", "centre")}
    with cloud.http(secret) as client:
        for right, (method, path) in probes.items():
            let_in = client.request(method, path.removeprefix("/api/v1")).status_code != 403
            assert let_in == (right == "self" or (right == scope and RIGHTS[right][Role(role)] is not Reach.NONE)), right
    operator.revoke_key(made["id"])


def test_a_key_makes_none_that_is_good_for_more_or_longer(cloud, owner):
    _, secret = owner.make_key("acme", role="owner", scopes=["members:write", "jobs:read"], expires_in="1h")
    with cloud.client(secret) as narrow:
        beyond: list[dict[str, Any]] = [
            {"scopes": []},
            {"scopes": ["jobs:write"]},
            {"scopes": ["jobs:read", "data:read"]},
            {"scopes": ["jobs:read"], "expires_in": "2h"},
            {"scopes": ["jobs:read"], "expires_in": None},
            {"scopes": ["jobs:read"], "role": "operator"},
        ]
        for asked in beyond:
            with pytest.raises(Refused):
                narrow.make_key(None if asked.get("role") else "acme/research", **{"expires_in": "10m", **asked})
        made, _ = narrow.make_key("acme/research", scopes=["jobs:read"], expires_in="10m")
        assert made["scopes"] == ["jobs:read"]


def test_a_key_ends_by_the_clouds_clock(cloud, owner):
    for life in ("700ms", "4s", "20s"):  # on a busy machine the shortest may be over before it is shown
        _, secret = owner.make_key("acme/research", expires_in=life)
        with cloud.client(secret) as brief, contextlib.suppress(BadKey):
            assert brief.me()["expires_at_ns"]
            break
    else:
        pytest.fail("no key lived until it was shown")
    with cloud.client(secret) as brief:

        def over() -> bool:
            try:
                brief.me()
            except BadKey:
                return True
            return False

        assert until(over, 60)


# What operators set.


def test_cohorts_weights_lending_quotas_indexes_and_owners_of_centres_are_kept_over_a_restart(cloud, operator, owner):
    operator.set_organisation("acme", cohort="labs", weight=3)
    operator.set_organisation("acme", weight=4)  # what isn't said stays
    operator.set_quota("acme", "ascend-910b", 4, borrow=None, reclaim="5m")
    operator.set_quota("acme", "compute", 6, borrow=2)
    operator.set_index("ascend-910b", 0.8, source="a scorecard")
    operator.set_centre_owner("local", "acme", 0.5)
    operator.set_budget("acme", "100")
    cloud.kill("cloud")
    cloud.serve()
    (acme,) = owner.organisations()
    assert (acme["cohort"], acme["weight"]) == ("labs", 4)
    quotas = {q["chip"]: (q["cards"], q["borrow"], q["reclaim_s"]) for q in owner.quotas()}
    assert quotas == {"ascend-910b": (4, None, 300.0), "compute": (6, 2, 60.0)}
    assert owner.indexes() == {"ascend-910b": 0.8}
    assert [(b["project"], b["limit_micro"]) for b in owner.budgets()["budgets"]] == [("", 100_000_000)]
    kinds = [line["kind"] for line in operator.audit(kind="CentreOwned")]
    assert kinds == ["CentreOwned"]
    for ask in (
        lambda: operator.set_quota("nowhere", "cpu", 1),
        lambda: operator.set_quota("acme", "h1000", 1),
        lambda: operator.set_centre_owner("nowhere", "acme"),
        lambda: operator.set_centre_owner("local", "nowhere"),
        lambda: operator.set_index("h1000", 1),
        lambda: operator.lift_budget("acme/research"),
    ):
        with pytest.raises(Unknown):
            ask()
