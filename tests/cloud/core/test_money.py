"""Prices that change, credit notes, owners' shares, budgets and idle holders, by example."""

from __future__ import annotations

from dataclasses import replace

import pytest
from world import S, ended, job, node, pool, replay, submitted

from forebay.cloud.core import events as e
from forebay.cloud.core.bill_by import grouped
from forebay.cloud.core.budget import over_budget, spent
from forebay.cloud.core.job import Phase
from forebay.cloud.core.meter import bill
from forebay.cloud.core.state import State
from forebay.cloud.core.tenant import Budget, IdleLimits, Key, Role
from forebay.cloud.core.use import report
from forebay.errors import BadInput


def priced(micro: int = 1000, cards: int = 8) -> State:
    state = pool(node("n", "cpu", cards))
    replay(state, e.PriceSet(at_ns=0, by="op", chip="cpu", micro_per_card_s=micro))
    return state


def kinds(decisions: list[e.Event]) -> list[str]:
    return [type(decision).__name__ for decision in decisions]


# Prices.


def test_a_tariff_comes_into_force_at_its_time_and_a_run_keeps_the_price_of_its_launch():
    state = priced(1000)
    replay(state, e.PriceSet(at_ns=S, by="op", chip="cpu", micro_per_card_s=3000, from_ns=100 * S))
    replay(state, submitted(10, job("a", ("cpu", 1))))
    assert (state.price("cpu", 99 * S), state.price("cpu", 100 * S)) == (1000, 3000)
    replay(state, submitted(99, job("wide", ("cpu", 8))), ended(100, "a-1", held_s=90))
    assert state.t.runs["a-1"].price_micro_per_card_s == 1000
    assert state.t.runs["wide-1"].price_micro_per_card_s == 3000


def test_a_plan_is_replaced_by_another_for_the_same_moment_and_outlives_a_change_before_it():
    state = priced(1)
    for at, micro, start in ((1, 5, 100), (2, 6, 100), (3, 2, 0)):
        replay(state, e.PriceSet(at_ns=at * S, by="op", chip="cpu", micro_per_card_s=micro, from_ns=start * S))
    assert [(p.from_ns // S, p.micro_per_card_s) for p in state.t.price_history["cpu"]] == [(0, 1), (3, 2), (100, 6)]
    assert state.t.prices["cpu"].micro_per_card_s == 2


def test_a_launch_that_a_tick_decides_costs_what_is_in_force_at_the_tick():
    state = priced(1000)
    replay(state, e.PriceSet(at_ns=S, by="op", chip="cpu", micro_per_card_s=3000, from_ns=100 * S))
    replay(state, submitted(2, job("a", ("cpu", 1))), ended(3, "a-1", "failed", exit_code=-9))
    replay(state, ended(4, "a-2", "failed", exit_code=-9))  # the second failure: the next try waits five seconds
    (launched,) = [d for d in replay(state, e.Tick(at_ns=200 * S, by="x")) if isinstance(d, e.Launched)]
    assert state.t.last_at_ns >= 200 * S and launched.price_micro_per_card_s == 3000


def test_a_price_of_a_journal_without_history_is_still_in_force():
    state = priced(7)
    old = State(replace(state.t, price_history={}))
    assert old.price("cpu", 5 * S) == 7


# Credit notes.


@pytest.mark.parametrize(
    ("outcome", "held_s", "lost_s", "credited_s"),
    [
        ("lost", 60, 20, 20),
        ("preempted", 60, 60, 60),
        ("unfit", 5, 0, 5),
        ("failed", 60, 20, 0),
        ("revoked", 60, 20, 0),
        ("succeeded", 60, 0, 0),
        ("lost", 0, 0, 0),
    ],
)
def test_what_the_pool_lost_is_credited_and_what_the_tenant_lost_is_not(outcome, held_s, lost_s, credited_s):
    state = priced()
    replay(state, submitted(1, job("a", ("cpu", 4))))
    decisions = replay(state, ended(100, "a-1", outcome, held_s=held_s, lost_ns=lost_s * S))
    (line, *_) = bill(state, 200 * S, job="a").lines
    assert line.credited_micro == 4 * credited_s * 1000
    assert ("Credited" in kinds(decisions)) == bool(credited_s) == bool(line.credit)
    whole = bill(state, 101 * S, job="a")
    assert whole.billed_micro == whole.cost_micro - whole.credited_micro


def test_a_run_that_the_pool_stopped_so_that_its_job_is_tried_again_is_credited():
    state = priced()
    replay(state, submitted(1, job("a", ("cpu", 1))))
    replay(state, e.StopAsked(at_ns=50 * S, by="forebay", run="a-1", reason="a lender wants it back", grace_s=1, requeue=True))
    (credited,) = [d for d in replay(state, ended(60, "a-1", "stopped", held_s=59, lost_ns=9 * S)) if isinstance(d, e.Credited)]
    assert (credited.card_ns, credited.micro) == (9 * S, 9000)
    assert credited.reason == "the pool asked it to stop: a lender wants it back"


def test_a_credit_note_belongs_to_the_period_in_which_it_was_given():
    state = priced()
    replay(state, submitted(1, job("a", ("cpu", 1), retries=0)), e.Started(at_ns=2 * S, by="c", run="a-1"))
    replay(state, ended(100, "a-1", "lost", held_s=40, lost_ns=40 * S))
    first, second = bill(state, 200 * S, to_ns=90 * S), bill(state, 200 * S, from_ns=90 * S)
    assert (first.cost_micro, first.credited_micro) == (40_000, 0)
    assert (second.cost_micro, second.credited_micro, second.billed_micro) == (0, 40_000, -40_000)
    assert [line.run for line in second.lines] == ["a-1"]


# Owners.


def test_an_owner_earns_its_share_of_what_others_pay_from_then_on_and_nothing_of_its_own():
    state = priced()
    replay(state, submitted(0, job("before", ("cpu", 1), organisation="other")))
    replay(state, e.CentreOwned(at_ns=10 * S, by="op", centre="here", organisation="acme", share=0.7))
    replay(state, submitted(10, job("own", ("cpu", 1))), submitted(10, job("theirs", ("cpu", 2), organisation="other")))
    replay(state, e.CentreOwned(at_ns=30 * S, by="op", centre="here", organisation="", share=0))
    now = 40 * S
    acme, other, whole = (bill(state, now, organisation=name) for name in ("acme", "other", ""))
    (line,) = acme.earned
    assert (line.centre, line.chip) == ("here", "cpu")
    assert line.paid_micro == (2 * 20 + 20) * 1000  # theirs, and what `before` held while the centre was acme's
    assert acme.earned_micro == line.paid_micro * 7 // 10
    assert acme.cost_micro == 30 * 1000 and acme.billed_micro == 30 * 1000 - acme.earned_micro
    assert other.earned == () and other.billed_micro == (40 + 2 * 30) * 1000
    assert whole.billed_micro == acme.billed_micro + other.billed_micro


# Splitting.


def test_a_bill_is_split_by_who_submitted_and_chip_and_rows_sum_to_it():
    state = priced()
    for key_id, member, name in (("k1", "ann", "laptop"), ("k2", "ann", "ci"), ("k3", "", "robot")):
        key = Key(id=key_id, secret_sha256=key_id, role=Role.MEMBER, organisation="acme", member=member, name=name)
        replay(state, e.KeyMade(at_ns=0, by="op", key=key))
    for number, key_id in enumerate(("k1", "k2", "k3", "gone")):
        replay(state, replace(submitted(number, job(f"j{number}", ("cpu", 1))), by=key_id))
    whole = bill(state, 100 * S)
    rows = {(row.member, row.chip): row for row in grouped(whole, ["member", "chip"])}
    assert {who: row.runs for (who, _), row in rows.items()} == {"ann": 2, "robot": 1, "gone": 1}
    assert sum(row.cost_micro for row in rows.values()) == whole.cost_micro
    assert bill(state, 100 * S, member="ann").cost_micro == rows["ann", "cpu"].cost_micro
    with pytest.raises(BadInput, match="split"):
        grouped(whole, ["colour"])


# Budgets.


def test_a_budget_warns_once_then_stops_new_runs_and_leaves_running_ones_alone():
    state = priced()
    budget = Budget(organisation="acme", project="p", limit_micro=100_000, warn_share=0.5)
    replay(state, e.BudgetSet(at_ns=0, by="op", budget=budget), submitted(0, job("a", ("cpu", 1))))
    assert replay(state, e.Tick(at_ns=49 * S, by="x")) == []
    assert over_budget(state, "acme", "p", 99 * S) == ""
    (warned,) = replay(state, e.Tick(at_ns=50 * S, by="x"))
    assert (kinds([warned]), warned.spent_micro, warned.limit_micro) == (["BudgetWarned"], 50_000, 100_000)
    assert replay(state, e.Tick(at_ns=60 * S, by="x")) == []
    assert over_budget(state, "acme", "p", 100 * S) == "the budget of acme/p is spent: 0.100000 of 0.100000 CNY"
    assert over_budget(state, "acme", "q", 100 * S) == "" and over_budget(state, "other", "p", 100 * S) == ""
    assert state.t.jobs["a"].phase is Phase.STARTING
    replay(state, ended(130, "a-1", held_s=90))  # less was held than the cloud had thought
    assert spent(state, state.t.budgets["acme/p"], 200 * S) == 90_000
    replay(state, e.BudgetSet(at_ns=201 * S, by="op", budget=replace(budget, from_ns=200 * S)))
    assert over_budget(state, "acme", "p", 300 * S) == "" and not state.t.budgets["acme/p"].warned
    replay(state, e.BudgetLifted(at_ns=202 * S, by="op", organisation="acme", project="p"))
    assert over_budget(state, "acme", "p", 10**6 * S) == ""


def test_a_run_in_its_centres_own_queue_spends_nothing():
    state = priced()
    budget = Budget(organisation="acme", limit_micro=10_000)
    replay(state, e.BudgetSet(at_ns=0, by="op", budget=budget), submitted(0, job("a", ("cpu", 1))))
    replay(state, e.Queued(at_ns=2 * S, by="c", run="a-1", reason="busy"))
    assert spent(state, budget, 50 * S) == 0
    replay(state, e.Admitted(at_ns=50 * S, by="c", run="a-1"))
    assert spent(state, budget, 55 * S) == 5_000
    assert over_budget(state, "acme", "anything", 60 * S).startswith("the budget of acme is spent")


# Idle holders.


def told(at_s: float, run: str, seconds: int, active: float, cards: int = 2) -> e.UseSeen:
    held = seconds * cards * S
    return e.UseSeen(at_ns=int(at_s * S), by="c", run=run, held_ns=held, active_ns=-1 if active < 0 else int(held * active))


def idle_pool(reclaim_s: float | None) -> State:
    state = priced()
    limits = IdleLimits(warn_s=900, reclaim_s=reclaim_s, share=0.05)
    replay(state, e.IdleLimitsSet(at_ns=0, by="op", limits=limits), submitted(0, job("a", ("cpu", 2))))
    return state


def test_an_idle_holder_is_warned_once_and_stopped_only_if_the_operator_says_so():
    state = idle_pool(None)
    assert replay(state, told(600, "a-1", 600, 0.01), e.Tick(at_ns=601 * S, by="x")) == []
    (warned,) = replay(state, told(1000, "a-1", 400, 0.0), e.Tick(at_ns=1001 * S, by="x"))
    assert (kinds([warned]), warned.idle_s) == (["IdleWarned"], 1000.0)
    assert replay(state, told(99_000, "a-1", 98_000, 0.0), e.Tick(at_ns=99_001 * S, by="x")) == []
    limits = IdleLimits(warn_s=900, reclaim_s=3600)
    replay(state, e.IdleLimitsSet(at_ns=99_002 * S, by="op", limits=limits))
    (stop,) = replay(state, e.Tick(at_ns=99_003 * S, by="x"))
    assert isinstance(stop, e.StopAsked) and not stop.requeue
    assert stop.reason == "its cards were idle for 27 h 30 m, and the pool takes them back after 1 h 00 m"
    assert replay(state, e.Tick(at_ns=99_004 * S, by="x")) == []
    over = replay(state, ended(99_010, "a-1", "stopped", held_s=99_000, lost_ns=99_000 * S))
    assert kinds(over) == ["Finished"] and over[0].phase == "failed" and over[0].reason == stop.reason


def test_a_busy_minute_begins_it_anew_and_a_silent_centre_makes_nobody_idler():
    state = idle_pool(1000)
    assert kinds(replay(state, told(900, "a-1", 900, 0.0), e.Tick(at_ns=901 * S, by="x"))) == ["IdleWarned"]
    assert replay(state, e.Tick(at_ns=10**6 * S, by="x")) == []
    assert replay(state, told(10**6 + 1, "a-1", 90, 0.5), e.Tick(at_ns=(10**6 + 2) * S, by="x")) == []
    assert not state.t.uses["a-1"].warned and not state.idle
    assert kinds(replay(state, told(10**6 + 900, "a-1", 900, 0.0), e.Tick(at_ns=(10**6 + 901) * S, by="x"))) == ["IdleWarned"]


def test_a_run_that_nobody_can_measure_is_neither_warned_nor_stopped():
    state = idle_pool(1000)
    assert replay(state, told(5000, "a-1", 5000, -1), e.Tick(at_ns=5001 * S, by="x")) == []
    (line,) = [line for line in report(state, 5001 * S).lines if line.of == "organisation"]
    assert (line.held_ns, line.measured_ns, line.active_ns) == (10_000 * S, 0, 0)


# What the pool did.


def test_held_active_and_productive_are_told_by_centre_chip_and_organisation_and_in_effective_compute():
    state = pool(node("n", "cpu", 4), node("g", "h100-sxm", 2))
    replay(state, e.IndexSet(at_ns=0, by="op", chip="h100-sxm", compute=10.0))
    replay(state, submitted(0, job("a", ("h100-sxm", 1))), submitted(0, job("b", ("cpu", 2), organisation="other")))
    use = e.UseSeen(at_ns=60 * S, by="c", run="a-1", held_ns=60 * S, active_ns=30 * S, productive_ns=20 * S)
    replay(state, use, e.Drained(at_ns=60 * S, by="op", centre="here", node="n"))
    told = report(state, 100 * S)
    by = {(line.of, line.name): line for line in told.lines}
    whole = by["pool", ""]
    assert (whole.cards, whole.elapsed_ns, whole.used_ns) == (6, 600 * S, 300 * S)
    assert (whole.idle_ns, whole.down_ns) == ((2 * 60 + 100) * S, 2 * 40 * S)
    h100 = by["chip", "h100-sxm"]
    assert (h100.held_ns, h100.measured_ns, h100.active_ns, h100.productive_ns) == (60 * S, 60 * S, 30 * S, 20 * S)
    assert by["organisation", "acme"].used_ns == 100 * S and by["organisation", "other"].used_ns == 200 * S
    assert told.without_index == ("cpu",)
    (compute,) = [line for line in told.compute if line.of == "pool"]
    assert (compute.elapsed_ns, compute.used_ns, compute.active_ns) == (2000 * S, 1000 * S, 300 * S)
    own = report(state, 100 * S, organisation="acme")
    assert {line.name for line in own.lines} == {"acme"}
