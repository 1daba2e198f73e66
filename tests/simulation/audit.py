"""A second opinion: what must be true of a journal, reckoned line by line without the core.

Asked:  may this line follow the ones before it?
Answer: an account of cards, jobs, quotas and what is out of use, made of the lines alone. Whatever breaks a promise raises Broken
        with the promise's words. `laws.py` holds the core's own tables and indexes against it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from forebay.chips.node import Condition, Node, NodeState
from forebay.cloud.core import events as e
from forebay.cloud.core.job import Job
from forebay.cloud.core.pool import Allocation, Window
from forebay.cloud.core.tenant import COMPUTE, Budget

NS = 10**9
Card = tuple[str, str, int]


class Broken(Exception):
    """A promise that was not kept."""


def must(holds: object, promise: str) -> None:
    if not holds:
        raise Broken(promise)


@dataclass(slots=True)
class Known:
    """A job, as its lines tell of it."""

    job: Job
    at_ns: int
    where: str = "waits"  # "waits", "reserved", "live", "between", "over"
    runs: list[str] = field(default_factory=list)
    not_before_ns: int = 0
    cancelled: bool = False
    ended: e.Ended | None = None  # the last run's
    waits_since_ns: int = 0
    served_ns: int = 0  # in effective compute


@dataclass(slots=True)
class Going:
    job: str
    allocation: Allocation
    at_ns: int
    price: int
    started_ns: int = 0
    stop: e.StopAsked | None = None


class Audit:
    def __init__(self) -> None:
        self.lines = 0
        self.at_ns = 0
        self.nodes: dict[str, dict[str, Node]] = {}
        self.away: set[str] = set()
        self.revoked: set[str] = set()
        self.marks: set[tuple[str, str, int | None]] = set()
        self.states: dict[tuple[str, str], NodeState] = {}
        self.windows: dict[str, Window] = {}
        self.jobs: dict[str, Known] = {}
        self.open: dict[str, Known] = {}  # those that aren't over
        self.going: dict[str, Going] = {}
        self.holder: dict[Card, str] = {}
        self.kept: dict[Card, str] = {}
        self.reserved: dict[str, e.Reserved] = {}
        self.held: Counter[tuple[str, str]] = Counter()
        self.quotas: dict[tuple[str, str], e.QuotaSet] = {}
        self.cohorts: dict[str, str] = {}
        self.indexes: dict[str, float] = {}
        self.prices: dict[str, int] = {}
        self.cost: dict[str, int] = {}  # run -> micro, of ended ones
        self.used_ns: Counter[Card] = Counter()  # by the cloud's clock: from launch to end
        self.given_up: set[str] = set()
        self.now_s = 0.0  # as the world says
        self.last_got: dict[tuple[str, str], float] = {}  # (organisation, chip) -> when it last got cards, or had some reserved
        self.reserved_at_s: dict[str, float] = {}
        self.rights_changed_s = 0.0
        self.budgets: dict[str, tuple[Budget, list[int]]] = {}  # "organisation/project" -> with what was surely spent of it

    def see(self, event: e.Event) -> None:
        must(event.at_ns >= self.at_ns, "time never goes back")
        self.at_ns = event.at_ns
        self.lines += 1
        known = getattr(self, "_" + type(event).__name__, None)
        if known:
            known(event)

    # Tenants.

    def _QuotaSet(self, event: e.QuotaSet) -> None:
        self.rights_changed_s = self.now_s
        if event.cards is None:
            self.quotas.pop((event.organisation, event.chip), None)
        else:
            self.quotas[(event.organisation, event.chip)] = event

    def _OrganisationSet(self, event: e.OrganisationSet) -> None:
        self.cohorts[event.organisation] = event.cohort
        self.rights_changed_s = self.now_s

    def _PriceSet(self, event: e.PriceSet) -> None:
        self.prices[event.chip] = event.micro_per_card_s

    def _IndexSet(self, event: e.IndexSet) -> None:
        self.indexes[event.chip] = event.compute

    def _BudgetSet(self, event: e.BudgetSet) -> None:
        self.budgets[event.budget.name] = (event.budget, [0])

    def _BudgetLifted(self, event: e.BudgetLifted) -> None:
        self.budgets.pop(f"{event.organisation}/{event.project}", None)

    def _Credited(self, event: e.Credited) -> None:
        self._spend(self.jobs[event.run.rpartition("-")[0]].job, -event.micro, 0)

    def _spend(self, job: Job, micro: int, launched_ns: int) -> None:
        for name in (f"{job.organisation}/", f"{job.organisation}/{job.project}"):
            if name in self.budgets:
                budget, spent = self.budgets[name]
                if micro < 0 or launched_ns >= budget.from_ns:
                    spent[0] += micro

    # The pool.

    def _NodesSeen(self, event: e.NodesSeen) -> None:
        self.nodes[event.centre] = {node.name: node for node in event.nodes}

    def _NodeStatesSeen(self, event: e.NodeStatesSeen) -> None:
        for state in event.states:
            self.states[(event.centre, state.name)] = state

    def _CentreAway(self, event: e.CentreAway) -> None:
        must(event.centre not in self.away, "a centre goes away once")
        self.away.add(event.centre)

    def _CentreBack(self, event: e.CentreBack) -> None:
        must(event.centre in self.away, "only who was away comes back")
        self.away.discard(event.centre)

    def _CentreRevoked(self, event: e.CentreRevoked) -> None:
        self.revoked.add(event.centre)

    def _CentreJoined(self, event: e.CentreJoined) -> None:
        self.revoked.discard(event.centre)

    def _Drained(self, event: e.Drained | e.Quarantined) -> None:
        self.marks.add((event.centre, event.node, event.card))

    _Quarantined = _Drained

    def _Undrained(self, event: e.Undrained) -> None:
        self.marks.discard((event.centre, event.node, event.card))

    def _MaintenanceSet(self, event: e.MaintenanceSet) -> None:
        self.windows[event.window.id] = event.window

    def _MaintenanceLifted(self, event: e.MaintenanceLifted) -> None:
        self.windows.pop(event.window, None)

    # Jobs.

    def _Submitted(self, event: e.Submitted) -> None:
        must(event.job.id not in self.jobs, "a job is submitted once")
        self.jobs[event.job.id] = self.open[event.job.id] = Known(event.job, event.at_ns, waits_since_ns=event.at_ns)

    def _Cancelled(self, event: e.Cancelled) -> None:
        known = self.jobs[event.job]
        must(known.where != "over", "what is over isn't cancelled")
        known.cancelled = True

    def _Reserved(self, event: e.Reserved) -> None:
        known = self.jobs[event.job]
        must(known.where == "waits", f"cards are kept for a job that waits, and {event.job} is {known.where}")
        must(event.job not in self.reserved, "a job has one reservation")
        runs = set(event.runs)
        for card in event.allocation.each():
            must(card not in self.kept, f"{card} is kept for one job at a time")
            holder = self.holder.get(card)
            must(holder is None or holder in runs, f"{card} is kept while {holder} holds it, which isn't asked to leave")
            self.kept[card] = event.job
        must(all(run in self.going for run in runs), "a reservation waits for runs that go on")
        self._in_quota(known.job, event.allocation)
        self._placed(known.job, event.allocation, event.at_ns)
        self._count(known.job, event.allocation, 1)
        self.reserved[event.job] = event
        self.reserved_at_s[event.job] = self.now_s
        self.last_got[(known.job.organisation, event.allocation.chip)] = self.now_s
        known.where = "reserved"

    def _Released(self, event: e.Released) -> None:
        must(event.job in self.reserved, "only what is kept is released")
        self._drop(event.job)
        self.jobs[event.job].where = "waits"
        self.jobs[event.job].waits_since_ns = event.at_ns

    def _drop(self, job: str) -> None:
        reserved = self.reserved.pop(job)
        for card in reserved.allocation.each():
            del self.kept[card]
        self._count(self.jobs[job].job, reserved.allocation, -1)

    def _Launched(self, event: e.Launched) -> None:
        known, allocation = self.jobs[event.job], event.allocation
        must(known.where in ("waits", "reserved"), f"only a job that waits is launched, and {event.job} is {known.where}")
        must(event.run not in self.going and event.run not in known.runs, f"{event.run} is launched once")
        must(event.attempt == len(known.runs) + 1, "attempts are counted")
        must(known.not_before_ns <= event.at_ns, f"{event.job} was to wait out its pause")
        reserved = self.reserved.get(event.job)
        if reserved:
            must(not any(run in self.going for run in reserved.runs), "a reservation is used when the last run has left")
            must(reserved.allocation == allocation, "a job gets the cards that were kept for it")
            self._drop(event.job)
            quota = self.quotas.get((known.job.organisation, allocation.chip))
            after = self.held[(known.job.organisation, allocation.chip)] + allocation.cards
            limit = None if quota is None or quota.borrow is None else (quota.cards or 0) + quota.borrow
            must(limit is None or after <= limit, f"{event.job} holds {after} of at most {limit} when it starts")
        else:
            self._in_quota(known.job, allocation)
        for card in allocation.each():
            must(card not in self.holder, f"{card} is held by {self.holder.get(card)} and was given to {event.run}")
            must(card not in self.kept, f"{card} is kept for {self.kept.get(card)} and was given to {event.run}")
            self.holder[card] = event.run
        self._placed(known.job, allocation, event.at_ns)
        for name in (f"{known.job.organisation}/", f"{known.job.organisation}/{known.job.project}"):
            if not reserved and name in self.budgets:
                budget, spent = self.budgets[name]
                must(spent[0] < budget.limit_micro, f"{name} has spent {spent[0]} of {budget.limit_micro}")
        must(event.price_micro_per_card_s == self.prices.get(allocation.chip, 0), "a run has the price of its launch")
        self._count(known.job, allocation, 1)
        self.going[event.run] = Going(event.job, allocation, event.at_ns, event.price_micro_per_card_s)
        known.runs.append(event.run)
        self.last_got[(known.job.organisation, allocation.chip)] = self.now_s
        known.where = "live"

    def _Started(self, event: e.Started) -> None:
        must(not self.going[event.run].started_ns, "a run starts once")
        self.going[event.run].started_ns = event.at_ns

    def _StopAsked(self, event: e.StopAsked) -> None:
        going = self.going[event.run]
        known = self.jobs[going.job]
        job, reason = known.job, event.reason
        must(going.stop is None or (going.stop.requeue and not event.requeue), f"{event.run} is asked to stop once")
        going.stop = event
        if not event.requeue:
            limit_ns = (job.time_limit_s or 0) * NS
            late = job.time_limit_s is not None and going.started_ns and event.at_ns - going.started_ns > limit_ns
            must(known.cancelled or late, f"{event.run} is ended for a cancel or its time limit, not: {reason}")
        elif "guaranteed" in reason:
            chip = going.allocation.chip
            owner = self.jobs[event.for_job].job.organisation
            quota = self.quotas[(owner, chip)]
            must(event.grace_s <= max(quota.reclaim_s, 0), f"{event.run} has no longer than the lender waits")
            must(self._borrows(job.organisation, chip) > 0 or owner == job.organisation, f"{event.run} was not borrowed")
        elif "maintenance" in reason:
            must(self._maintained(going.allocation, event.at_ns), f"{event.run} is stopped for maintenance that is on")
        else:
            must(job.resumable, f"{event.run} can't be gone on with and isn't stopped: {reason}")

    def _Ended(self, event: e.Ended) -> None:
        going = self.going.pop(event.run)
        known = self.jobs[going.job]
        for card in going.allocation.each():
            must(self.holder.pop(card) == event.run, "cards are given back by who held them")
            self.used_ns[card] += event.at_ns - going.at_ns
        self._count(known.job, going.allocation, -1)
        known.where, known.ended = "between", event
        compute = self.indexes.get(going.allocation.chip, 1.0)
        known.served_ns += int(going.allocation.cards * compute * event.held_ns / NS * NS)
        if event.by == "forebay":
            self.given_up.add(event.run)
        card_ns = going.allocation.cards * event.held_ns
        self.cost[event.run] = cost = (card_ns * going.price + NS // 2) // NS
        self._spend(known.job, cost, going.at_ns)

    def _Requeued(self, event: e.Requeued) -> None:
        known = self.jobs[event.job]
        must(known.where == "between" and known.runs[-1] == event.run, "a job is tried again after its run ended")
        known.where, known.not_before_ns, known.waits_since_ns = "waits", event.not_before_ns, event.at_ns
        must(event.left >= 0, "retries run out")

    def _Finished(self, event: e.Finished) -> None:
        known = self.jobs[event.job]
        must(known.where != "over", f"{event.job} is over once")
        must(known.where != "live", f"{event.job} isn't over while its run goes on")
        if known.where == "reserved":
            self._drop(event.job)
        if event.phase == "cancelled":
            must(known.cancelled, "a job is cancelled by somebody")
        if event.phase == "succeeded":
            must(known.where == "between" and known.ended and known.ended.outcome == "succeeded", "success is its run's")
        known.where = "over"
        del self.open[event.job]

    # What several need.

    def between(self) -> list[str]:
        return [name for name, known in self.open.items() if known.where == "between"]

    def _count(self, job: Job, allocation: Allocation, sign: int) -> None:
        self.held[(job.organisation, allocation.chip)] += sign * allocation.cards

    def guaranteed(self, organisation: str, chip: str) -> int:
        quota = self.quotas.get((organisation, chip))
        return quota.cards or 0 if quota else 0

    def _borrows(self, organisation: str, chip: str) -> int:
        return self.held[(organisation, chip)] - self.guaranteed(organisation, chip)

    def total(self, chip: str) -> int:
        here = (nodes for centre, nodes in self.nodes.items() if centre not in self.revoked)
        return sum(len(node.cards) for nodes in here for node in nodes.values() if node.chip == chip)

    def lent(self, cohort: str, chip: str) -> int:
        """What a cohort may hold: what is guaranteed in it, and to nobody."""
        by_owner = {o: self.guaranteed(o, chip) for o, c in self.quotas if c == chip}
        ours = sum(n for o, n in by_owner.items() if self.cohorts.get(o, "") == cohort)
        return ours + max(0, self.total(chip) - sum(by_owner.values()))

    def _in_quota(self, job: Job, allocation: Allocation) -> None:
        organisation, chip, cards = job.organisation, allocation.chip, allocation.cards
        quota = self.quotas.get((organisation, chip))
        if quota is not None:
            beyond = self._borrows(organisation, chip) + cards
            if beyond > 0:
                must(quota.borrow is None or beyond <= quota.borrow, f"{organisation} borrows {beyond} {chip}, more than it may")
                cohort = self.cohorts.get(organisation, "")
                held = sum(n for (o, c), n in self.held.items() if c == chip and self.cohorts.get(o, "") == cohort)
                left = self.lent(cohort, chip) - held
                must(cards <= left, f"{organisation} borrows {cards} {chip}, and its cohort has {left} left")
        compute = self.quotas.get((organisation, COMPUTE))
        if compute is not None and compute.borrow is not None:
            held_c = sum(n * self.indexes.get(c, 1.0) for (o, c), n in self.held.items() if o == organisation)
            after = held_c + cards * self.indexes.get(chip, 1.0)
            most = (compute.cards or 0) + compute.borrow
            must(after <= most + 1e-9, f"{organisation} holds {after} of {most} in compute")

    def _placed(self, job: Job, allocation: Allocation, now_ns: int) -> None:
        centre = allocation.centre
        must(centre not in self.revoked and centre not in self.away, f"{centre} gets no runs")
        must((centre, "", None) not in self.marks, f"{centre} is drained")
        must(any(o.chip == allocation.chip and o.cards == allocation.cards for o in job.menu), "what was asked for is given")
        islands = set()
        for part in allocation.parts:
            node = self.nodes[centre].get(part.node)
            must(node is not None and node.chip == allocation.chip, f"{centre}/{part.node} has such cards")
            assert node is not None
            islands.add(node.island)
            must(set(part.cards) <= {card.index for card in node.cards}, f"{centre}/{part.node} has those cards")
            must((centre, part.node, None) not in self.marks, f"{centre}/{part.node} is drained")
            stands = self.states.get((centre, part.node)) or NodeState(name=part.node)
            must(stands.condition is Condition.UP, f"{centre}/{part.node} is {stands.condition.value}")
            if not node.counted:
                must(not set(part.cards) & set(stands.busy), f"others hold a card of {centre}/{part.node}")
                bad = {card for c, n, card in self.marks if (c, n) == (centre, part.node)}
                must(not set(part.cards) & bad, f"a card of {centre}/{part.node} is out of use")
        must(len(islands) == 1, "a gang stays on one island")
        until_ns = now_ns + int((job.time_limit_s or 0) * NS)
        for window in self.windows.values():
            on = window.from_ns <= until_ns and now_ns < window.to_ns
            there = window.centre == centre and window.node in ("", *(part.node for part in allocation.parts))
            must(not (on and there), f"maintenance of {window.place} is on")

    def _maintained(self, allocation: Allocation, now_ns: int) -> bool:
        return any(
            w.centre == allocation.centre
            and w.from_ns <= now_ns < w.to_ns
            and (not w.node or any(part.node == w.node for part in allocation.parts))
            for w in self.windows.values()
        )


__all__ = ["Audit", "Broken", "must"]
