"""Laws of metering over random lives of two centres: no card's time and no money is made or lost."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from test_pool_laws import NUMBER, OUTCOMES, a_step, fact_of, two_centres
from world import S, replay

from forebay.chips.node import NodeState
from forebay.cloud.core import events as e
from forebay.cloud.core import ledger, money
from forebay.cloud.core.bill_by import BY, grouped
from forebay.cloud.core.budget import spent
from forebay.cloud.core.meter import bill
from forebay.cloud.core.state import State
from forebay.cloud.core.tables import Tables
from forebay.cloud.core.tenant import Budget
from forebay.cloud.core.use import report
from forebay.codec import decode, encode

ORGANISATIONS = ("acme", "other")
often = st.one_of(
    st.tuples(
        st.just("submit"),
        st.tuples(st.sampled_from(ORGANISATIONS), st.just([("cpu", 1)]), st.none(), st.none()),
    ),
    st.tuples(st.just("end"), st.tuples(NUMBER, st.sampled_from(OUTCOMES))),
    st.tuples(st.just("others"), st.lists(st.integers(0, 3), max_size=4)),
)
more_steps = st.one_of(
    often,
    often,
    a_step,
    a_step,
    st.tuples(st.just("use"), st.tuples(NUMBER, st.integers(0, 70), st.integers(-1, 100))),
    st.tuples(st.just("price"), st.tuples(st.sampled_from(("cpu", "h100-sxm")), st.integers(0, 10**6), st.integers(0, 90))),
    st.tuples(st.just("own"), st.tuples(st.sampled_from(("east", "west")), st.sampled_from(("", *ORGANISATIONS)), NUMBER)),
    st.tuples(st.just("budget"), st.tuples(st.sampled_from(ORGANISATIONS), st.sampled_from(("", "p")), st.integers(0, 60))),
    st.tuples(st.just("wait"), st.integers(1, 5000)),
)

LIVES = st.lists(more_steps, min_size=20, max_size=80)


def fact(state: State, kind: str, what: Any, at: int, number: int) -> e.Event | None:
    when = {"at_ns": at * S, "by": "law"}
    live = [state.t.runs[run] for run in state.live]
    match kind:
        case "use" if live:
            run, cards = live[what[0] % len(live)], live[what[0] % len(live)].allocation.cards
            active = -1 if what[2] < 0 else what[1] * S * cards * what[2] // 100
            return e.UseSeen(**when, run=run.id, held_ns=what[1] * S * cards, active_ns=active, productive_ns=7)
        case "others":
            stands = NodeState(name="c1", busy=tuple(sorted(set(what))))
            return e.NodeStatesSeen(**when, centre="west", states=(stands,))
        case "price":
            return e.PriceSet(**when, chip=what[0], micro_per_card_s=what[1], from_ns=(at + what[2]) * S)
        case "own":
            return e.CentreOwned(**when, centre=what[0], organisation=what[1], share=what[2] / 99)
        case "budget":
            return e.BudgetSet(
                **when, budget=Budget(organisation=what[0], project=what[1], limit_micro=10**9, from_ns=(at - what[2]) * S)
            )
        case "end" if live:
            run = live[what[0] % len(live)]
            held_ns = min((at * S - run.launched_at_ns) * (number % 4) // 3, at * S - run.launched_at_ns)
            lost_ns = 0 if what[1] == "succeeded" else held_ns * (number % 3) // 2
            return e.Ended(**when, run=run.id, outcome=what[1], held_ns=held_ns, lost_ns=lost_ns, exit_code=-9)
        case "wait":
            return e.Tick(**when)
        case _:
            return fact_of(state, kind, what, at, number)


class Watcher:
    """Adds up the time of every card itself, from what the rest of the state says after each event."""

    def __init__(self, state: State) -> None:
        self.state, self.at_ns = state, 0
        self.was: dict[tuple[str, str, int], str] = {}
        self.sums: dict[tuple[str, str, int], dict[str, int]] = {}
        self.look(0)

    def look(self, at_ns: int) -> None:
        for card, kind in self.was.items():
            self.sums.setdefault(card, {}).setdefault(kind, 0)
            self.sums[card][kind] += at_ns - self.at_ns
        held = {card for run in self.state.live for card in self.state.t.runs[run].allocation.each()}
        reservations = getattr(self.state.t, "reservations", {})  # cards that are kept for a job are idle until it has them
        kept = {card for reservation in reservations.values() for card in reservation.allocation.each()}
        self.at_ns, self.was = at_ns, dict.fromkeys(held, "used")
        on = {(window.centre, window.node) for window in self.state.t.windows.values() if window.began}
        for (centre, name), room in self.state.rooms.by_node.items():
            maintained = not on.isdisjoint({(centre, ""), (centre, name)})
            for card in room.node.cards:
                place = (centre, name, card.index)
                is_free = card.index in room.free or (place in kept and not self.state.why_out(centre, room.node))
                self.was.setdefault(place, "idle" if is_free and not maintained else "down")


def play(steps: list[Any]) -> tuple[State, list[e.Event], Watcher]:
    state, lines, at = two_centres(), list[e.Event](), 0
    for chip in ("cpu", "h100-sxm"):
        lines.append(e.PriceSet(at_ns=0, by="op", chip=chip, micro_per_card_s=333_333))
        replay(state, lines[-1])
    watcher = Watcher(state)
    for number, (kind, what) in enumerate(steps):
        at += what if kind in ("tick", "wait") else 1
        told = fact(state, kind, what, at, number)
        if told is None:
            continue
        decisions = replay(state, told)
        lines += decisions if isinstance(told, e.Tick) else [told, *decisions]
        watcher.look(state.t.last_at_ns)
    return state, lines, watcher


@settings(max_examples=80, deadline=None)
@given(LIVES)
def test_used_idle_and_down_are_all_the_time_of_every_card_from_when_it_joined_until_it_left(steps):
    state, _, watcher = play(steps)
    now = state.t.last_at_ns + 3 * S
    watcher.look(now)
    sums: dict[Any, tuple[Counter[str], Counter[str]]] = {}
    for centre, node, card, life in ledger.lives(state):
        told = watcher.sums.get((centre, node, int(card)), {})
        before = (life.used_ns, life.idle_ns, life.down_ns)
        assert sum(before) + (0 if life.kind == "gone" else now - life.since_ns) == life.elapsed_ns(now)
        assert life.elapsed_ns(now) == sum(told.values())
        kept, watched = sums.setdefault((centre, node, "" if node == "c1" else card), (Counter(), Counter()))
        life.settle(now, "gone")
        kept.update({"used": life.used_ns, "idle": life.idle_ns, "down": life.down_ns})
        watched.update(told)
    for kept, watched in sums.values():  # a card each, but for the node on which only how many are others' is known
        assert +kept == +watched
    (pool, *_) = [line for line in report(state, now).lines if line.of == "pool" and not line.pretend]
    real = [life for _, _, _, life in ledger.lives(state) if "|pretend|" not in life.group]
    assert pool.used_ns + pool.idle_ns + pool.down_ns == pool.elapsed_ns == sum(life.elapsed_ns(now) for life in real)
    organisations = sum(line.used_ns for line in report(state, now).lines if line.of == "organisation")
    assert organisations == sum(line.used_ns for line in report(state, now).lines if line.of == "pool")


@settings(max_examples=60, deadline=None)
@given(LIVES)
def test_what_was_held_lies_within_what_was_used_and_the_ledger_holds_what_is_billed(steps):
    state, _, _ = play(steps)
    now = state.t.last_at_ns
    ended = [run for run in state.t.runs.values() if run.outcome]
    assert all(run.held_ns <= run.ended_at_ns - run.launched_at_ns for run in ended)
    lines = report(state, now).lines
    told = sum(state.t.uses[run].held_ns for run in state.live if run in state.t.uses)
    billed = sum(run.allocation.cards * run.held_ns for run in ended)
    assert sum(line.held_ns for line in lines if line.of == "pool") == billed + told
    for line in lines:
        assert line.active_ns <= line.measured_ns


@settings(max_examples=60, deadline=None)
@given(LIVES, st.lists(st.integers(0, 10**4), max_size=4))
def test_bills_of_adjacent_periods_sum_to_the_whole_to_the_micro_unit(steps, borders):
    state, _, _ = play(steps)
    now = state.t.last_at_ns
    cuts = [0, *sorted(border * S for border in borders if border * S < now), now]
    for organisation in ("", *ORGANISATIONS):
        whole = bill(state, now, organisation=organisation)
        parts = [bill(state, now, organisation=organisation, from_ns=a, to_ns=b) for a, b in pairwise(cuts)]
        for sum_of in ("card_ns", "lost_card_ns", "cost_micro", "lost_micro", "credited_micro", "earned_micro", "billed_micro"):
            assert sum(getattr(part, sum_of) for part in parts) == getattr(whole, sum_of), sum_of


@settings(max_examples=60, deadline=None)
@given(LIVES, st.lists(st.sampled_from(BY), unique=True, max_size=4))
def test_what_the_pool_keeps_and_what_owners_earn_is_what_tenants_pay(steps, by):
    state, _, _ = play(steps)
    now = state.t.last_at_ns
    whole = bill(state, now)
    each = [bill(state, now, organisation=organisation) for organisation in ORGANISATIONS]
    paid = sum(one.cost_micro - one.credited_micro for one in each)
    assert whole.billed_micro + sum(one.earned_micro for one in each) == paid
    assert whole.billed_micro == sum(one.billed_micro for one in each)
    assert (
        0
        <= whole.credited_micro
        <= whole.lost_micro + sum(line.credited_micro for line in whole.lines if line.outcome == "unfit")
    )
    rows = grouped(whole, by)
    for sum_of in ("card_ns", "cost_micro", "credited_micro", "earned_micro", "billed_micro"):
        assert sum(getattr(row, sum_of) for row in rows) == getattr(whole, sum_of)


@settings(max_examples=60, deadline=None)
@given(LIVES)
def test_a_budget_knows_at_once_what_a_count_over_all_runs_finds(steps):
    state, _, _ = play(steps)
    now = state.t.last_at_ns + 5 * S
    for budget in state.t.budgets.values():
        told = bill(state, now, organisation=budget.organisation, project=budget.project, from_ns=budget.from_ns)
        going_on = sum(line.open for line in told.lines)
        late = [c for c in state.t.credits.values() if c.at_ns == budget.from_ns]  # one moment counts to both sides
        if not late:
            assert abs(spent(state, budget, now) - max(0, told.cost_micro - told.credited_micro)) <= going_on
    for name, account in state.accounts.whole.items():
        organisation, _, project = name.partition("/")
        told = bill(state, now, organisation=organisation, project=project)
        assert abs(account.spent_micro(now) - (told.cost_micro - told.credited_micro)) <= sum(line.open for line in told.lines)


@settings(max_examples=60, deadline=None)
@given(LIVES)
def test_a_replay_and_a_snapshot_end_in_the_same_ledger_and_the_same_accounts(steps):
    state, lines, _ = play(steps)
    again = two_centres()
    for line in lines:
        again.fold(e.from_json(type(line).__name__, json.loads(json.dumps(e.to_json(line)))))
    restored = State(decode(Tables, json.loads(json.dumps(encode(state.t)))))
    assert again.t == restored.t == state.t
    assert again.idle == restored.idle == state.idle
    now = state.t.last_at_ns + S
    assert bill(again, now) == bill(restored, now) == bill(state, now)
    for other in (again, restored):
        assert {name: a for name, a in other.accounts.whole.items() if a.rate or a.ended_micro} == {
            name: a for name, a in state.accounts.whole.items() if a.rate or a.ended_micro
        }
        assert other.accounts.budgets == state.accounts.budgets


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(more_steps, st.tuples(st.just("wait"), st.integers(1000, 90_000))), min_size=10, max_size=40),
    st.integers(0, 10**6),
)
def test_what_the_pool_did_since_an_hour_is_the_difference_of_two_moments(steps, since_s):
    state, _, _ = play(steps)
    now = state.t.last_at_ns
    told = report(state, now, from_ns=since_s * S)
    assert told.from_ns <= since_s * S
    whole = {(line.of, line.name, line.pretend): line for line in report(state, now).lines}
    for line in told.lines:
        assert line.used_ns + line.idle_ns + line.down_ns == line.elapsed_ns
        assert line.elapsed_ns <= whole[line.of, line.name, line.pretend].elapsed_ns
    if told.from_ns and all(life.joined_ns == 0 and not life.gone_ns for *_, life in ledger.lives(state)):
        there = sum(1 for *_, life in ledger.lives(state) if life.kind != "gone")
        if there == len(list(ledger.lives(state))):
            assert sum(line.elapsed_ns for line in told.lines if line.of == "pool") == there * (now - told.from_ns)


def test_a_cost_is_cut_at_a_border_and_a_late_end_changes_no_earlier_period():
    state = two_centres()
    replay(state, e.PriceSet(at_ns=1, by="op", chip="h100-sxm", micro_per_card_s=7))
    replay(state, fact(state, "submit", ("acme", [("h100-sxm", 3)], None, None), 10, 1))
    (run,) = state.live
    before = bill(state, 60 * S, from_ns=0, to_ns=40 * S)
    assert before.cost_micro == 3 * 30 * 7
    # Its centre was silent: the cloud hears a thousand seconds later that it had ended after 35.
    replay(state, e.Ended(at_ns=1045 * S, by="c", run=run, outcome="succeeded", held_ns=35 * S))
    assert bill(state, 1100 * S, from_ns=0, to_ns=40 * S).cost_micro == before.cost_micro
    assert bill(state, 1100 * S, from_ns=40 * S).cost_micro == 3 * 5 * 7
    assert money.held_ns(state.t.runs[run], 2**62) == 35 * S
