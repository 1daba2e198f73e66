"""Where a job's data lies counts for where it ends first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from world import S, ended, job, launches, node, replay, submitted

from forebay.cloud.core import events as e
from forebay.cloud.core.decide import decide
from forebay.cloud.core.job import Job, Script
from forebay.cloud.core.state import State
from forebay.cloud.core.transfer import DEFAULT_BYTES_PER_S, bytes_per_s, far
from forebay.units import GB

FAST, SLOW = "h100-sxm", "cpu"
CORPUS = "stdlib@3f2a9c1b04de"


def centres(*names: str, chip: str = FAST, cards: int = 1) -> State:
    state = State()
    decide(state, e.CloudMade(at_ns=0, by="forebay", currency="CNY", version="0"))
    for name in names:
        decide(state, e.CentreMade(at_ns=0, by="forebay", name=name, token_sha256=f"t-{name}"))
        nodes = (node(f"{name}-1", chip, cards),)
        decide(state, e.NodesSeen(at_ns=0, by=f"centre {name}", centre=name, nodes=nodes))
    return state


def rate(state: State, centre: str, bytes_per_s: float) -> None:
    decide(state, e.CentreRateSet(at_ns=0, by="k1", centre=centre, bytes_per_s=bytes_per_s))


def kept(state: State, size_bytes: int = 100 * GB, version: str = CORPUS, organisation: str = "acme") -> None:
    made = {"organisation": organisation, "dataset": "stdlib", "version": version, "manifest": "m", "files": 1}
    decide(state, e.VersionMade(at_ns=0, by="k1", size_bytes=size_bytes, **made))  # type: ignore[arg-type]


def reads(name: str, *menu: tuple[str, int, float | None], source: str = f"data:{CORPUS}", **more: object) -> Job:
    plain = job(name, *((chip, cards) for chip, cards, _ in menu))
    options = zip(plain.menu, menu, strict=True)
    script = Script(bundle="b", entry="train.py", mounts={"data/in": source})
    timed = tuple(replace(option, expected_s=expected) for option, (_, _, expected) in options)
    return replace(plain, script=script, menu=timed, **more)  # type: ignore[arg-type]


def started(at_s: float, run: str, fetched_bytes: int = 0, took_s: float = 0.0) -> e.Started:
    return e.Started(at_ns=int(at_s * S), by="x", run=run, fetched_bytes=fetched_bytes, fetched_ns=int(took_s * S))


def places(decisions: list[e.Event]) -> list[str]:
    return [d.allocation.centre for d in decisions if isinstance(d, e.Launched)]


def test_a_job_without_data_is_far_from_nowhere_and_its_lines_are_as_before():
    state = centres("north", "south")
    (launched,) = replay(state, submitted(0, job("a", (FAST, 1))))
    assert launched.transfer_s == 0.0 and launched.allocation.centre == "north"
    assert far(state, state.t.jobs["a"]) == {}


def test_of_two_centres_with_free_cards_the_one_to_which_data_comes_sooner_is_taken():
    state = centres("north", "south")
    kept(state)
    rate(state, "north", GB / 10)
    rate(state, "south", GB)
    (launched,) = replay(state, submitted(0, reads("a", (FAST, 1, 600))))
    assert launched.allocation.centre == "south" and launched.transfer_s == pytest.approx(100.0)
    (outlook,) = launched.outlooks
    assert (outlook.centre, outlook.transfer_s, outlook.ends_in_s) == ("south", 100.0, 700.0)


def test_it_is_so_without_a_word_on_how_long_the_job_takes():
    state = centres("north", "south")
    kept(state)
    rate(state, "south", 10 * GB)
    assert places(replay(state, submitted(0, reads("a", (FAST, 1, None))))) == ["south"]


def test_a_centre_where_a_run_of_the_organisation_has_read_it_holds_it():
    state = centres("north", "south")
    kept(state)
    kept(state, organisation="other")
    rate(state, "south", 10 * GB)
    replay(state, submitted(0, job("before", (FAST, 1))))  # north is taken
    replay(state, submitted(1, reads("a", (FAST, 1, 600))))
    replay(state, started(2, "a-1"), ended(10, "a-1"), ended(11, "before-1"))
    rate(state, "south", 1.0)  # whatever the way is like: it lies there
    assert places(replay(state, submitted(20, reads("b", (FAST, 1, 600))))) == ["south"]
    replay(state, ended(30, "b-1"))
    others = reads("c", (FAST, 1, 600), organisation="other")
    assert places(replay(state, submitted(40, others))) == ["north"]  # content is kept by organisation


def test_what_a_run_never_started_with_isnt_taken_to_lie_there():
    state = centres("north", "south")
    kept(state)
    replay(state, submitted(0, reads("a", (FAST, 1, 600))), ended(5, "a-1", "unprepared"))
    replay(state, submitted(10, reads("b", (FAST, 1, 600))))
    assert far(state, state.t.jobs["b"])["north"] == pytest.approx(100 * GB / DEFAULT_BYTES_PER_S)


def test_the_same_is_known_after_a_restart():
    state = centres("north", "south")
    kept(state)
    replay(state, submitted(0, reads("a", (FAST, 1, 600))), started(2, "a-1"))
    assert State(state.t).lies == state.lies == {f"acme/{CORPUS}": {"north"}}


def test_busy_cards_where_the_data_lies_are_waited_for_when_that_is_sooner_than_bringing_it():
    state = centres("north", "south")
    kept(state)
    replay(state, submitted(0, reads("a", (FAST, 1, 600))), started(1, "a-1"))  # until 601; elsewhere it takes 800 s to bring it
    assert replay(state, submitted(10, reads("b", (FAST, 1, 100)))) == []
    assert launches(replay(state, submitted(11, job("c", (FAST, 1), organisation="other")))) == ["c-1"]  # it keeps nobody waiting
    (launched,) = [d for d in replay(state, ended(590, "a-1")) if isinstance(d, e.Launched)]
    assert (launched.run, launched.allocation.centre, launched.transfer_s) == ("b-1", "north", 0.0)


def test_and_not_when_bringing_it_is_sooner():
    state = centres("north", "south")
    kept(state, size_bytes=10 * GB)  # 80 s
    replay(state, submitted(0, reads("a", (FAST, 1, 600))), started(1, "a-1"))
    assert places(replay(state, submitted(10, reads("b", (FAST, 1, 100))))) == ["south"]


def test_nobody_waits_for_data_longer_than_was_foretold():
    state = centres("north", "south")
    kept(state)
    replay(state, submitted(0, reads("a", (FAST, 1, 100))), started(1, "a-1"), submitted(10, reads("b", (FAST, 1, 100))))
    assert replay(state, e.Tick(at_ns=100 * S, by="x")) == []
    assert places(replay(state, e.Tick(at_ns=101 * S, by="x"))) == ["south"]


def test_a_slower_chip_where_the_data_lies_may_end_first():
    state = centres("north", chip=FAST)
    decide(state, e.CentreMade(at_ns=0, by="forebay", name="south", token_sha256="s"))
    decide(state, e.NodesSeen(at_ns=0, by="x", centre="south", nodes=(node("s", SLOW, 1),)))
    kept(state)
    rate(state, "south", 100 * GB)
    both = reads("a", (FAST, 1, 300), (SLOW, 1, 600))
    (launched,) = replay(state, submitted(0, both))
    assert launched.allocation.centre == "south"
    assert [(o.centre, o.ends_in_s) for o in launched.outlooks] == [("north", 1100.0), ("south", 601.0)]


def test_a_deadline_counts_the_way_of_the_data():
    state = centres("north", chip=FAST)
    decide(state, e.CentreMade(at_ns=0, by="forebay", name="south", token_sha256="s"))
    decide(state, e.NodesSeen(at_ns=0, by="x", centre="south", nodes=(node("s", SLOW, 1),)))
    decide(state, e.PriceSet(at_ns=0, by="k1", chip=FAST, micro_per_card_s=1))
    decide(state, e.PriceSet(at_ns=0, by="k1", chip=SLOW, micro_per_card_s=1000))
    kept(state)
    rate(state, "south", 100 * GB)
    cheap = reads("a", (FAST, 1, 300), (SLOW, 1, 600), prefer="cheapest")
    assert places(replay(state, submitted(0, replace(cheap, deadline_ns=1000 * S)))) == ["south"]
    assert places(replay(state, submitted(1, replace(cheap, id="b", deadline_ns=1200 * S)))) == ["north"]


def test_what_an_earlier_attempt_left_is_weighed_against_the_data():
    state = centres("north", "south", "west")
    kept(state, size_bytes=GB)
    asked = reads("a", (FAST, 1, 600), resumable=True)
    replay(state, submitted(0, asked), started(1, "a-1"))
    replay(state, ended(100, "a-1", "preempted", artefacts=1, artefact_bytes=50 * GB, checkpointed=True))
    assert state.t.jobs["a"].runs == ("a-1", "a-2") and state.t.runs["a-2"].allocation.centre == "north"
    replay(state, ended(110, "a-2", "stopped"))
    found = far(state, state.t.jobs["a"])
    assert found["north"] == 0.0
    assert found["south"] == pytest.approx((GB + 2 * 50 * GB) / DEFAULT_BYTES_PER_S)  # up from north, and down


def test_what_the_cloud_keeps_need_not_be_sent_first():
    state = centres("north", "south")
    left = {"job": "a", "run": "a-1", "version": "v", "files": 1, "size_bytes": 10 * GB}
    replay(state, submitted(0, job("a", (FAST, 1))), started(1, "a-1"))
    replay(state, ended(100, "a-1", artefacts=1, artefact_bytes=10 * GB))
    replay(state, submitted(101, reads("b", (FAST, 1, 60), source="output:a")))
    assert places([e for e in state.t.runs.values() if e.job == "b"]) == []
    assert far(state, state.t.jobs["b"])["south"] == pytest.approx(160.0)
    decide(state, e.OutputKept(at_ns=102 * S, by="x", **left))  # type: ignore[arg-type]
    assert far(state, state.t.jobs["b"]) == {"north": 0.0, "south": pytest.approx(80.0)}


def test_a_run_that_cannot_be_stopped_is_let_past_only_if_its_data_comes_in_time_too():
    def passes(bytes_per_s: float) -> list[str]:
        state = centres("north", cards=4)
        kept(state)
        rate(state, "north", bytes_per_s)
        long, wide = reads("long", (FAST, 3, 1000)), reads("wide", (FAST, 4, 10), organisation="other")
        replay(state, submitted(0, replace(long, script=None)), started(0, "long-1"))
        replay(state, submitted(1, replace(wide, script=None)))
        return launches(replay(state, submitted(2, reads("small", (FAST, 1, None), time_limit_s=600))))

    assert passes(GB) == ["small-1"]  # 100 s and 600 s
    assert passes(GB / 8) == []  # 800 s and 600 s


def test_a_centres_rate_is_what_was_measured_then_what_was_said_then_a_gigabit():
    state = centres("north", "south")
    kept(state)
    assert bytes_per_s(state.t.centres["north"]) == 125_000_000
    rate(state, "north", GB)
    assert bytes_per_s(state.t.centres["north"]) == GB
    replay(state, submitted(0, reads("a", (FAST, 1, 600))), started(50, "a-1", 100 * GB, 50.0))
    assert bytes_per_s(state.t.centres["north"]) == 2 * GB
    replay(state, ended(60, "a-1"), submitted(61, reads("b", (FAST, 1, 600))), started(62, "b-1", 1000, 1.0))
    assert bytes_per_s(state.t.centres["north"]) == 2 * GB  # so little says nothing
    replay(state, ended(70, "b-1"), submitted(71, reads("c", (FAST, 1, 600))), started(172, "c-1", 100 * GB, 100.0))
    assert GB < bytes_per_s(state.t.centres["north"]) < 1.5 * GB  # the newest counts most
    rate(state, "north", 3 * GB)
    assert bytes_per_s(state.t.centres["north"]) == 3 * GB  # whoever says so anew knows better
    rate(state, "north", 0.0)
    assert bytes_per_s(state.t.centres["north"]) == DEFAULT_BYTES_PER_S


def test_lines_of_an_older_journal_have_no_transfer_in_them():
    launched = {
        "at_ns": 1, "by": "forebay", "run": "a-1", "job": "a", "attempt": 1, "price_micro_per_card_s": 0, "free_cards": 1,
        "waiting": 1, "allocation": {"centre": "north", "chip": FAST, "parts": [{"node": "n", "cards": [0]}], "pretend": False},
        "outlooks": [{"chip": FAST, "cards": 1, "starts_in_s": 0.0, "ends_in_s": 60.0}],
    }  # fmt: skip
    found = e.from_json("Launched", launched)
    assert isinstance(found, e.Launched) and found.transfer_s == 0.0 and found.outlooks[0].transfer_s == 0.0
    found = e.from_json("Started", {"at_ns": 1, "by": "x", "run": "a-1", "carrier": "", "bound": {}})
    assert isinstance(found, e.Started) and found.fetched_bytes == 0


def test_a_run_is_expected_to_end_after_its_data_has_come():
    state = centres("north")
    kept(state)
    replay(state, submitted(0, reads("a", (FAST, 1, 100))))
    assert [at for at, _ in next(iter(state.ends.by_island.values()))] == [900 * S]
    replay(state, started(700, "a-1"))
    assert [at for at, _ in next(iter(state.ends.by_island.values()))] == [800 * S]
