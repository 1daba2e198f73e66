"""`forebay org`, `member`, `key`, `quota`, `budget`, `audit`, `pool index`: what they do and print, against a real cloud."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cloud.clouds import NODES, Cloud, torn_down
from tests.cloud.conftest import still_there

from forebay.chips import certified
from forebay.chips.scorecard import Ceiling, Scorecard
from forebay.cli import main, pool_index
from forebay.codec import encode
from forebay.errors import BadInput, Unknown

Forebay = Callable[..., str]


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with torn_down(Cloud()) as made:
        made.serve()
        with made.centre() as agent:
            agent.post("/agent/hello", json={"nodes": encode(NODES)}).raise_for_status()
        with made.client() as operator:
            operator.make_organisation("acme")
            operator.make_project("acme", "research")
        with still_there(made):
            yield made


@pytest.fixture
def forebay(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Forebay:
    """`forebay(...)` in this process, as the operator or with `key`; gives what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOREBAY_URL", cloud.url)
    monkeypatch.setenv("COLUMNS", "250")

    def run(*words: object, fails: int = 0, key: str = "") -> str:
        monkeypatch.setenv("FOREBAY_KEY", key or cloud.operator_key)
        monkeypatch.setattr(sys, "argv", ["forebay", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        printed = capsys.readouterr()
        assert (ended.value.code or 0) == fails, printed
        return printed.err if fails else printed.out

    return run


def test_members_are_added_changed_listed_and_removed_with_their_keys(forebay):
    assert forebay("member", "add", "acme", "ada@acme.example", "--role", "owner") == "ada@acme.example is owner of acme\n"
    assert forebay("member", "add", "acme/research", "bob") == "bob is member of acme/research\n"
    assert "There is a member of that name already." in forebay("member", "add", "acme", "bob", fails=5)
    made = json.loads(forebay("key", "make", "acme", "--member", "bob", "--scope", "jobs:read", "--expires", "30d", "--json"))
    assert (made["member"], made["scopes"], made["project"]) == ("bob", ["jobs:read"], "research")
    assert forebay("member", "set", "acme", "bob", "--role", "viewer") == "bob is viewer of acme\n"
    rows = [line.split() for line in forebay("member", "list", "acme").splitlines()]
    assert rows[1:] == [["acme", "ada@acme.example", "owner", "all", "0"], ["acme", "bob", "viewer", "all", "1"]]
    assert json.loads(forebay("member", "list", "--json"))[1]["keys"] == 1
    listed = forebay("key", "list")
    assert "bob" in listed and "jobs:read" in listed
    assert forebay("member", "remove", "acme", "bob") == f"bob is no member of acme any more; revoked: {made['id']}\n"
    assert "The key is not valid." in forebay("jobs", key=made["secret"], fails=4)
    assert "There is no such member." in forebay("member", "set", "acme", "bob", "--role", "owner", fails=3)


def test_an_owners_key_does_an_owners_work_and_no_more(forebay):
    owner = json.loads(forebay("key", "make", "acme", "--role", "owner", "--json"))["secret"]
    assert forebay("org", "project", "acme/vision", key=owner) == "project acme/vision\n"
    assert forebay("org", "set", "acme/vision", "--weight", "2", key=owner) == "acme/vision: weight 2\n"
    assert "may spend 1,250.500000 CNY" in forebay("budget", "set", "acme/vision", "1250.50", key=owner)
    assert "Only an operator may do that." in forebay("budget", "set", "acme", "1", key=owner, fails=4)
    assert "Only an operator may do that." in forebay("org", "set", "acme", "--weight", "9", key=owner, fails=4)
    assert "A key can't make one with a role beyond its own." in forebay("key", "make", "--role", "operator", key=owner, fails=4)
    scoped = json.loads(forebay("key", "make", "acme", "--scope", "jobs:read", "--scope", "bill:read", "--json", key=owner))[
        "secret"
    ]
    assert "a key for bill:read, jobs:read" in forebay("pool", key=scoped, fails=4)
    assert "total" in forebay("bill", key=scoped)


def test_organisations_get_a_cohort_a_weight_and_a_centre(forebay):
    assert forebay("org", "set", "acme", "--cohort", "labs", "--weight", "1.5") == "acme: weight 1.5, in cohort labs\n"
    assert forebay("org", "set", "acme", "--weight", "2") == "acme: weight 2, in cohort labs\n"
    assert forebay("org", "set", "acme", "--cohort", "none") == "acme: weight 2, in the common cohort\n"
    assert "What is to be set?" in forebay("org", "set", "acme", fails=2)
    assert "in its organisation's cohort" in forebay("org", "set", "acme/research", "--cohort", "labs", fails=2)
    told = forebay("org", "centre", "acme", "local", "--share", "0.8")
    assert told == "centre local is acme's: 80 % of what others pay there is credited to it\n"
    assert forebay("org", "centre", "none", "local") == "centre local is nobody's\n"
    assert "There is no such centre." in forebay("org", "centre", "acme", "nowhere", fails=3)
    assert json.loads(forebay("org", "list", "--json"))[0]["weight"] == 2
    assert "common" in forebay("org", "list")


def test_quotas_are_guaranteed_lent_and_lifted(forebay):
    told = forebay("quota", "set", "acme", "cpu", "8", "--borrow", "4", "--reclaim", "5m")
    assert told == "acme, cpu: 8 cards, and 4 more that others leave idle; what it lent is back within 5 m 00 s\n"
    assert "as many more as others leave idle" in forebay("quota", "set", "acme", "compute", "6", "--borrow", "all")
    rows = {line.split()[1]: line.split() for line in forebay("quota", "list").splitlines()[1:]}
    assert (rows["cpu"][2:4], rows["compute"][2:4]) == (["8", "4"], ["6", "all"])
    assert forebay("quota", "set", "acme", "cpu", "none") == "acme, cpu: no limit\n"
    assert "no number of cards to borrow" in forebay("quota", "set", "acme", "cpu", "8", "--borrow", "some", fails=2)


def test_budgets_are_set_listed_and_lifted(forebay):
    assert "a warning at 50 %" in forebay("budget", "set", "acme", "5000", "--warn", "0.5", "--from", "2026-01-01 00:00")
    assert "2026-01-01" in forebay("budget", "list") and "0.000000 (0%)" in forebay("budget", "list")
    assert json.loads(forebay("budget", "list", "--json"))[0]["limit_micro"] in (5_000_000_000, 1_250_500_000)
    assert forebay("budget", "lift", "acme") == "acme: no budget\n"
    assert "There is no such budget." in forebay("budget", "lift", "acme", fails=3)


def test_the_audit_tells_who_did_what_and_is_chosen_from(forebay):
    forebay("price", "set", "cpu", "0.01")
    lines = forebay("audit").splitlines()
    assert any("k-operator" in line and "set the price of cpu to 0.010000 CNY a card-second" in line for line in lines)
    (only,) = forebay("audit", "--kind", "PriceSet", "--by", "k-operator", "--since", "1h").splitlines()
    assert "set the price of cpu" in only
    assert {line["organisation"] for line in json.loads(forebay("audit", "--org", "acme", "--json"))} == {"acme"}
    assert len(forebay("audit", "-n", "2").splitlines()) == 2
    assert "There is no such kind of event." in forebay("audit", "--kind", "PriceSett", fails=2)
    assert "That is no time." in forebay("audit", "--since", "yesterday", fails=2)


def test_a_chips_index_is_said_or_taken_from_scorecards(forebay, tmp_path, monkeypatch):
    assert forebay("pool", "index", "cpu", "0.05", "--source", "a guess") == "a card of cpu counts for 0.05 (a guess)\n"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for chip, rate in (("ascend-910b", 200e12), ("h100-sxm", 400e12)):
        matmul = Ceiling(kind="matmul", name="bf16", unit="flop/s", value=rate)
        operators = dict.fromkeys(certified.load()["cpu"].operators, "s")
        card = Scorecard(
            chip=chip, measured_on="2099-01-01", columns=("bfloat16 forward",), operators=operators, ceilings=(matmul,)
        )
        certified.keep(card)
    told = forebay("pool", "index", "ascend-910b", "--against", "h100-sxm")
    assert told.startswith("a card of ascend-910b counts for 0.5 (effective compute")
    assert [line.split() for line in forebay("pool", "index").splitlines()[1:]] == [["ascend-910b", "0.5"], ["cpu", "0.05"]]
    with pytest.raises(Unknown):
        pool_index.from_scorecards("mi300x", "h100-sxm")
    with pytest.raises(BadInput):
        pool_index.from_scorecards("ascend-910b", "")


@pytest.mark.parametrize("verb", ["org", "member", "key", "quota", "budget", "audit", "pool"])
def test_every_word_of_a_verb_teaches_and_can_speak_json(forebay, verb):
    import typer

    command = typer.main.get_command(__import__(f"forebay.cli.{verb}", fromlist=["app"]).app)
    for word in [(), *((name,) for name in getattr(command, "commands", {}))]:
        told = forebay(verb, *word, "--help")
        assert "Usage" in told
        assert "--json" in told or not word
