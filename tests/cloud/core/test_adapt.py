"""Elastic jobs: they grow into what nobody wants, shrink when somebody waits, move to what is faster, and don't go to and fro."""

from __future__ import annotations

from dataclasses import replace

from world import S, ended, job, node, pool, replay, submitted

from forebay.cloud.core import events as e
from forebay.cloud.core.job import Job
from forebay.cloud.core.state import State

WORK_S = 10_000.0


def elastic(name: str, *needs: tuple[str, int], organisation: str = "acme", speed: dict[str, float] | None = None) -> Job:
    """A job that is twice as fast on twice as many cards."""
    asked = job(name, *needs, organisation=organisation)
    menu = tuple(replace(o, expected_s=WORK_S / o.cards / (speed or {}).get(o.chip, 1.0)) for o in asked.menu)
    return replace(asked, menu=menu, resumable=True, elastic=True, restart_s=60.0)


WIDTHS = (("cpu", 1), ("cpu", 2), ("cpu", 4), ("cpu", 8))


MENU_S = {1: 10_000.0, 2: 5_200.0, 4: 3_000.0, 6: 2_600.0, 8: 2_400.0}


def flat(name: str, *, least: int = 1, organisation: str = "acme") -> Job:
    """A job that gains little by more than four cards."""
    asked = job(name, *(("cpu", n) for n in MENU_S if n >= least), organisation=organisation)
    menu = tuple(replace(o, expected_s=MENU_S[o.cards]) for o in asked.menu)
    return replace(asked, menu=menu, resumable=True, elastic=True, restart_s=60.0)


def started(at_s: float, run: str) -> e.Started:
    return e.Started(at_ns=int(at_s * S), by="centre here", run=run)


def stops(decisions: list[e.Event]) -> list[str]:
    return [d.run for d in decisions if isinstance(d, e.StopAsked)]


def cards(state: State, job_id: str) -> int:
    run = state.live_run(job_id)
    return run.allocation.cards if run else 0


def test_an_elastic_job_alone_takes_all_that_helps_it():
    state = pool(node("n", "cpu", 8))
    replay(state, submitted(0, elastic("a", *WIDTHS)))
    assert cards(state, "a") == 8


def test_an_elastic_job_takes_no_more_than_an_equal_share_while_others_are_there():
    state = pool(node("n", "cpu", 8))
    replay(state, submitted(0, job("other", ("cpu", 2), organisation="other")), submitted(0, elastic("a", *WIDTHS)))
    assert cards(state, "a") == 4


def test_an_elastic_job_grows_into_cards_that_nobody_wants():
    state = pool(node("n", "cpu", 8))
    replay(state, submitted(0, job("other", ("cpu", 4), organisation="other")), submitted(0, elastic("a", *WIDTHS)))
    replay(state, started(1, "a-1"))
    assert stops(replay(state, ended(100, "other-1"))) == ["a-1"]
    replay(state, ended(110, "a-1", "stopped", held_s=109))
    assert cards(state, "a") == 8


def test_a_job_that_is_nearly_done_does_not_grow():
    state = pool(node("n", "cpu", 8))
    replay(state, submitted(0, job("other", ("cpu", 4), organisation="other")), submitted(0, elastic("a", *WIDTHS)))
    replay(state, started(1, "a-1"))
    assert stops(replay(state, ended(2400, "other-1"))) == []  # 100 s are left


def test_a_job_that_gains_little_by_its_last_cards_gives_them_to_one_that_waits():
    state = pool(node("n", "cpu", 8))
    replay(state, submitted(0, flat("a")), started(1, "a-1"))
    assert cards(state, "a") == 8
    asked = replay(state, submitted(700, job("other", ("cpu", 4), organisation="other")))
    assert [d.job for d in asked if isinstance(d, e.Reserved)] == ["other"]
    assert stops(asked) == ["a-1"]
    replay(state, ended(710, "a-1", "stopped", held_s=709))
    assert (cards(state, "a"), cards(state, "other")) == (4, 4)


def test_the_more_others_there_are_the_narrower_a_job_begins():
    widths = []
    for others in (0, 1, 4):
        state = pool(node("n", "cpu", 16))
        replay(state, *(submitted(0, job(f"o{i}", ("cpu", 1))) for i in range(others)), submitted(0, flat("a")))
        widths.append(cards(state, "a"))
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == 8
    assert widths[-1] < 8


def test_a_job_with_little_left_is_not_made_narrower():
    state = pool(node("n", "cpu", 8))
    replay(state, submitted(0, flat("a")), started(1, "a-1"))
    late_s = MENU_S[8] - 100  # less is left than two restarts cost
    assert stops(replay(state, submitted(late_s, job("other", ("cpu", 4), organisation="other")))) == []


def test_a_run_that_has_just_begun_is_not_made_narrower():
    state = pool(node("n", "cpu", 8))
    replay(state, submitted(0, flat("a")), started(1, "a-1"))
    assert stops(replay(state, submitted(30, job("other", ("cpu", 4), organisation="other")))) == []


def test_nobody_is_pushed_below_the_least_line_of_its_menu():
    state = pool(node("n", "cpu", 8))
    replay(state, submitted(0, flat("a", least=6)), started(1, "a-1"))
    assert stops(replay(state, submitted(700, job("other", ("cpu", 4), organisation="other")))) == []


def test_an_organisation_is_not_narrowed_below_its_guarantee():
    state = pool(node("n", "cpu", 8))
    mine = e.QuotaSet(at_ns=0, by="op", organisation="acme", chip="cpu", cards=8, borrow=None)
    replay(state, mine, submitted(0, flat("a")), started(1, "a-1"))
    assert stops(replay(state, submitted(700, job("other", ("cpu", 4), organisation="other")))) == []


def test_a_run_of_higher_priority_keeps_its_cards():
    state = pool(node("n", "cpu", 8))
    replay(state, submitted(0, replace(flat("a"), priority=1)), started(1, "a-1"))
    assert stops(replay(state, submitted(700, job("other", ("cpu", 4))))) == []


def test_who_is_narrowed_finds_its_width_in_what_is_left_and_else_nobody_is():
    state = pool(node("n", "cpu", 8), node("m", "cpu", 8))
    replay(state, submitted(0, flat("a")), submitted(0, flat("b", organisation="other")))
    replay(state, started(1, "a-1"), started(1, "b-1"))
    assert (cards(state, "a"), cards(state, "b")) == (8, 6)
    # Eight cards of one node are all that a holds, and only two would be left for it.
    assert stops(replay(state, submitted(700, job("eight", ("cpu", 8), organisation="third")))) == []
    replay(state, e.Cancelled(at_ns=701 * S, by="k1", job="eight"))
    assert stops(replay(state, submitted(702, job("six", ("cpu", 6), organisation="third")))) == ["a-1"]
    replay(state, ended(710, "a-1", "stopped", held_s=709))
    assert [cards(state, name) for name in ("a", "b", "six")] == [4, 6, 6]


def test_the_same_facts_lead_to_the_same_decisions():
    def life() -> list[e.Event]:
        state = pool(node("n", "cpu", 8), node("m", "cpu", 8))
        facts = [submitted(i, flat(f"a{i}", organisation=f"o{i % 2}")) for i in range(6)]
        facts += [started(5, f"a{i}-1") for i in range(6) if state.t.runs.get(f"a{i}-1")]
        return replay(state, *facts)

    assert life() == life()


def test_a_job_that_is_not_elastic_keeps_its_cards():
    state = pool(node("n", "cpu", 8))
    stiff = replace(elastic("a", ("cpu", 8)), elastic=False, resumable=False)
    replay(state, submitted(0, stiff), started(1, "a-1"))
    assert stops(replay(state, submitted(700, job("other", ("cpu", 4), organisation="other")))) == []


def test_an_elastic_job_moves_to_a_faster_chip_that_is_free():
    state = pool(node("n", "cpu", 2), node("g", "h100-sxm", 2))
    replay(state, submitted(0, job("other", ("h100-sxm", 2), organisation="other")))
    replay(state, submitted(0, elastic("a", ("h100-sxm", 2), ("cpu", 2), speed={"h100-sxm": 10.0})))
    run = state.live_run("a")
    if run is None:  # it waits for the faster one by choice
        replay(state, ended(100, "other-1"))
        assert state.live_run("a").allocation.chip == "h100-sxm"
        return
    replay(state, started(1, "a-1"))
    assert stops(replay(state, ended(100, "other-1"))) == ["a-1"]
    replay(state, ended(110, "a-1", "stopped", held_s=109))
    assert state.live_run("a").allocation.chip == "h100-sxm"


def test_what_was_done_on_fewer_cards_counts_on_more():
    state = pool(node("n", "cpu", 8))
    replay(state, submitted(0, job("other", ("cpu", 4), organisation="other")), submitted(0, elastic("a", *WIDTHS)))
    replay(state, started(0, "a-1"), ended(1250, "other-1"), ended(1250, "a-1", "stopped", held_s=1250))
    assert state.t.jobs["a"].done == 0.5
    assert state.live_run("a").lasts_s == WORK_S / 8 / 2


def test_an_elastic_job_does_not_go_to_and_fro_while_nothing_changes():
    state = pool(node("n", "cpu", 8))
    replay(state, submitted(0, elastic("a", *WIDTHS)), submitted(0, elastic("b", *WIDTHS, organisation="other")))
    restarts = 0
    for at_s in range(1, 1000):
        replay(state, e.Tick(at_ns=at_s * S, by="forebay"))
        for run in list(state.live):
            if not state.t.runs[run].running_at_ns:
                replay(state, started(at_s, run))
            elif state.t.runs[run].stop:
                restarts += 1
                replay(state, ended(at_s, run, "stopped", held_s=1))
    assert restarts <= 3
    assert cards(state, "a") + cards(state, "b") == 8


def test_growing_asks_one_run_at_a_time_for_the_same_cards():
    state = pool(node("n", "cpu", 8))
    replay(state, submitted(0, job("other", ("cpu", 4), organisation="other")))
    for name in ("a", "b"):
        replay(state, submitted(0, elastic(name, ("cpu", 2), ("cpu", 6))), started(1, f"{name}-1"))
    assert len(stops(replay(state, ended(100, "other-1")))) <= 1
