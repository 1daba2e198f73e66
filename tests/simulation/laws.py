"""What must be true of the core's state: against the audit's account, against itself made again, and against a copy."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from forebay.cloud import journal as journals
from forebay.cloud.core import events as e
from forebay.cloud.core.decide import decide
from forebay.cloud.core.job import Phase
from forebay.cloud.core.meter import bill
from forebay.cloud.core.state import State
from forebay.cloud.core.tables import Tables
from forebay.cloud.journal import Journal
from forebay.codec import decode, encode

from .audit import Audit, must

WHERE = {Phase.WAITING: ("waits", "reserved"), Phase.SUCCEEDED: ("over",), Phase.FAILED: ("over",), Phase.CANCELLED: ("over",)}


def cards(state: State, audit: Audit) -> None:
    """Every card is held once, kept, free or out of use; the counts by which jobs are placed agree with a count one by one."""
    must(state._taken == audit.holder, "the core's account of who holds which card agrees with the journal's lines")
    must(state._kept == audit.kept, "and that of which card is kept for whom")
    must(set(state.live) == set(audit.going), "live runs are those that were launched and haven't ended")
    must(state.t.reservations.keys() == audit.reserved.keys(), "no reservation leaks")
    free: Counter[str] = Counter()
    for (centre, name), room in state.rooms.by_node.items():
        taken = {card for card in room.node.cards if (centre, name, card.index) in state._taken}
        must(room.free == state.free_of(centre, room.node), f"the index of {centre}/{name} is as if made again")
        must(len(set(room.free)) == len(room.free) <= len(room.node.cards) - len(taken), "free cards are nobody's")
        free[room.node.chip] += len(room.free)
    for chip, islands in state.rooms.islands.items():
        must(state.free_cards(chip) == free[chip] == sum(island.free for island in islands.values()), f"{chip} is counted right")
    held = {tuple(name.rsplit("/", 1)): n for name, n in state.held.items() if n}
    must(held == {key: n for key, n in audit.held.items() if n}, "what each organisation holds is counted right")


def jobs(state: State, audit: Audit) -> None:
    """Each job is where its lines say, once."""
    waiting = Counter(state.queue.jobs())
    must(not waiting or max(waiting.values()) == 1, "a job waits in one place")
    must(not audit.between(), f"a run's end decides what becomes of its job, at once: {audit.between()[:3]}")
    going: Counter[str] = Counter(state.t.runs[run].job for run in state.live)
    for name, standing in state.t.jobs.items():
        where = audit.jobs[name].where
        must(where in WHERE.get(standing.phase, ("live",)), f"{name} is {standing.phase.value}, and its lines say it {where}")
        must((name in waiting) == (where == "waits"), f"{name}, which {where}, stands in the queue as it should")
        must(abs(standing.served_ns - audit.jobs[name].served_ns) <= 16, f"what {name} was served is what its runs held")
        must(going[name] == (where == "live"), f"{name} runs {going[name]} times")
        must(
            (name in state.t.entered) == (where != "over") == (name in state.t.sizes),
            f"{name} counts for fair share while it lasts",
        )
    must(state.t.jobs.keys() == audit.jobs.keys(), "every job that was submitted is there")
    must(state.waiting == sum(s.phase is Phase.WAITING for s in state.t.jobs.values()), "who waits is counted right")


def shares(state: State) -> None:
    """The accounts of fair share have as many jobs as there are."""
    open_jobs = [s.job for s in state.t.jobs.values() if not s.phase.over]
    for name, account in state.t.shares.items():
        organisation, _, project = name.partition("/")
        mine = [j for j in open_jobs if not name or (j.organisation == organisation and project in ("", j.project))]
        must(account.jobs == len(mine), f"account {name!r} has {len(mine)} jobs, not {account.jobs}")
        must(account.weights >= -1e-6, f"weights of {name!r} aren't negative")
        must(account.used >= 0.0, "use isn't negative")


def listing(state: State, journal: Journal) -> None:
    """The rows that listings read say what the state says."""
    with connection(journal) as db:
        rows = {row.id: dict(row._mapping) for row in db.execute(sa.select(journals.JOBS))}
    must(rows.keys() == state.t.jobs.keys(), "every job is listed")
    for name, row in rows.items():
        must(row == journals._listed(state, name), f"{name} is listed as it stands")


def snapshot(journal: Journal, state: State) -> None:
    """The newest snapshot, which was just made, says what the state says."""
    with connection(journal) as db:
        text = db.execute(sa.select(journals.SNAPSHOTS.c.body)).scalar_one()
    same(State(decode(Tables, json.loads(text))), state, "a snapshot")


def connection(journal: Journal) -> Any:
    return journal._db.reader.connect()


def money(state: State, audit: Audit, held_truly: dict[str, int], now_ns: int) -> None:
    """A bill is the sum of what was held at the prices of its launches, and what was held is what the engines measured."""
    whole = bill(state, now_ns)
    ended = {line.run: line for line in whole.lines if not line.open}
    must({run: line.cost_micro for run, line in ended.items()} == audit.cost, "a bill is what its lines come to")
    for run, line in ended.items():
        if run not in audit.given_up:
            must(line.held_ns == held_truly.get(run), f"{run} held {held_truly.get(run)} ns and was billed {line.held_ns}")
    must(whole.cost_micro - whole.credited_micro - whole.earned_micro == whole.billed_micro, "a bill adds up")
    parts = [bill(state, now_ns, organisation=name) for name in state.t.organisations]
    must(sum(part.cost_micro for part in parts) == whole.cost_micro, "the bills of all organisations are the whole bill")
    must(sum(part.card_ns for part in parts) == whole.card_ns, "and so is what they held")


def elapsed(state: State, audit: Audit, now_ns: int) -> None:
    """For every card used + idle + down = elapsed, and used is what the launches and ends say, to the nanosecond."""
    used: Counter[Any] = Counter(audit.used_ns)
    for card, run in audit.holder.items():
        used[card] += now_ns - audit.going[run].at_ns
    for centre, nodes in state.t.lives.items():
        for node, lives in nodes.items():
            for index, life in lives.items():
                now = replace(life)
                now.settle(now_ns, life.kind)
                whole = now.used_ns + now.idle_ns + now.down_ns + now.gone_ns
                must(whole == now_ns - now.joined_ns, f"{centre}/{node}/{index} is used, idle, down or gone all the time")
                mine = used[(centre, node, int(index))]
                must(now.used_ns == mine, f"{centre}/{node}/{index} was used for {mine} ns, and {now.used_ns} are told")


def decided_again(state: State, now_ns: int) -> None:
    """A copy that is made of the tables alone decides what the state decides."""
    text = json.dumps(encode(state.t))
    one, other = (State(decode(Tables, json.loads(text))) for _ in range(2))
    for copy in (one, other):
        copy.looks, copy.looked = dict(state.looks), state.looked
    facts: list[e.Event] = [e.Tick(at_ns=now_ns, by="forebay")]
    live = list(state.live)
    if live:
        run = live[len(live) // 2]
        facts.append(e.Ended(at_ns=now_ns, by="law", run=run, outcome="succeeded", held_ns=1))
    for fact in facts:
        first, second = decide(one, fact), decide(other, fact)
        must(first == second, f"the same state decides the same on {type(fact).__name__}")
    must(one.t == other.t, "and ends the same")


def from_the_beginning(journal: Journal) -> State:
    state = State()
    for _, event in journal.events():
        state.fold(event)
    return state


def text_of(state: State) -> bytes:
    """All that a journal ends in, to tell whether two lives were the same."""
    return json.dumps(encode(state.t), sort_keys=True).encode()


def same(found: State, state: State, what: str) -> None:
    """Tables that are made again are the same; rounding of clocks that were moved on in other steps is forgiven."""
    if found.t == state.t:
        return
    one, other = encode(found.t), encode(state.t)
    for name in other:
        must(one[name] == other[name], f"{what}: {name} is the same; {_difference(one[name], other[name])}")


def _difference(one: Any, other: Any) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            if one.get(key) != other.get(key):
                return f"{key}: {_difference(one.get(key), other.get(key))}"
    return f"{one!r:.300} and {other!r:.300}"
