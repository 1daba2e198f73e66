"""All that the core knows, and how an event changes it.

Asked:  what is true now, given everything that happened?
Answer: `State.fold(event)`, once an event, in the journal's order. It decides nothing and can't fail on an event that the core or
        the API let through, so a restart only has to fold the journal again (or a snapshot and the lines after it).
Shape:  the tables hold frozen nouns and are what a snapshot keeps; the indexes beside them are derived, and exist so that an
        event costs the same whether ten jobs are known or ten thousand, and four nodes or a thousand. What happens to centres
        and nodes is folded in `fold_pool.py`, what is said of tenants in `fold_tenants.py`.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from operator import attrgetter

from forebay.chips.node import Condition, Node, NodeState
from forebay.cloud.core import events as e
from forebay.cloud.core import evidence, fold_pool, fold_tenants, fold_use
from forebay.cloud.core import money as amounts
from forebay.cloud.core.accounts import Accounts
from forebay.cloud.core.changed import changed
from forebay.cloud.core.ends import Ends
from forebay.cloud.core.history import History
from forebay.cloud.core.job import Job, Kept, Option, Phase, Run, Standing
from forebay.cloud.core.pool import Allocation, Mark, place_name
from forebay.cloud.core.queue import Running, Waiting
from forebay.cloud.core.rights import Rights
from forebay.cloud.core.rooms import Rooms
from forebay.cloud.core.share import Shares
from forebay.cloud.core.size import card_seconds, kinds, lasted_s, outgrown_s, size_of
from forebay.cloud.core.spare import spared_until_ns
from forebay.cloud.core.tables import Reservation, Tables
from forebay.cloud.core.tenant import Price
from forebay.units import NS_PER_S


class State:
    """The tables with their indexes. Made by folding events; changed by nothing else."""

    def __init__(self, tables: Tables | None = None) -> None:
        self.t = tables or Tables()
        self.keys_by_hash: dict[str, str] = {}
        self.centres_by_key: dict[str, str] = {}
        self.centres_by_token: dict[str, str] = {}
        self.shares = Shares(self.t)
        self.history = History(self.t.history)
        self.queue = Waiting()
        self.looks: dict[str, int] = {}  # chip -> when time alone may change what can start on it, as of the last look
        self.looked = False  # whether anybody has looked at all chips since this state was made
        self.passed_ns: dict[str, int] = {}  # chip -> when all that want it were last gone through
        self.softs = Running()  # runs that can be stopped and gone on with later
        self.greens = Running()  # those of them that have just begun, and are spared (`spare.py`)
        self.ripening: list[tuple[int, str]] = []  # (until when, run) of these; a heap
        self.hards = Running()  # the others
        self.live: dict[str, None] = {}  # runs that hold cards, oldest first
        self.elastic: dict[str, None] = {}  # those that may go over to another line of their menus
        self.limited: dict[str, None] = {}  # those with a time limit
        self.live_at: dict[str, dict[str, None]] = {}  # the same, by centre
        self.held: dict[str, int] = {}  # "organisation/chip" -> cards held
        self.rights = Rights(self.t, self.held)
        self.rooms = Rooms()
        self.bad_cards: dict[tuple[str, str], dict[int, Mark]] = {}  # (centre, node) -> its cards that are out of use
        self.troubled = True  # whether anything at all of the pool is out of use
        self.ends = Ends()
        self.unsent: dict[str, dict[str, None]] = {}  # centre -> ended runs that left something the cloud doesn't keep whole
        self.accounts = Accounts()
        self.lies: dict[str, set[str]] = {}  # "organisation/version" of a data set -> the centres that hold it
        self.idle: dict[str, None] = {}  # runs whose cards were last told to be idle
        self._taken: dict[tuple[str, str, int], str] = {}  # card -> run
        self._kept: dict[tuple[str, str, int], str] = {}  # card -> the job for which it is reserved
        self._index()

    # What the rest of the core asks.

    @property
    def total(self) -> Mapping[str, int]:
        """Cards in the pool, by chip, free or not."""
        return self.rooms.total

    @property
    def waiting(self) -> int:
        """Jobs that hold no cards yet."""
        return self.queue.count + len(self.queue.later) + len(self.t.reservations)

    def compute(self, chip: str) -> float:
        """Effective compute of one card, in cards of the reference chip. A chip without a scorecard counts as one."""
        return self.t.indexes.get(chip, 1.0)

    def tag(self, job: str) -> float:
        """Where the clock of the job's project will stand when the job is due (`share.py`)."""
        return self.t.entered[job] + self.t.sizes[job]

    def free_cards(self, chip: str) -> int:
        return self.rooms.free[chip]

    def price(self, chip: str, at_ns: int = 0) -> int:
        """Of a card-second in a run that is launched at a moment; 0: at that of the last event."""
        price = self._price(chip, at_ns)
        return price.micro_per_card_s if price else 0

    def is_priced(self, chip: str, at_ns: int) -> bool:
        """Whether anybody set a price that is in force at a moment."""
        return self._price(chip, at_ns) is not None

    def _price(self, chip: str, at_ns: int) -> Price | None:
        history = self.t.price_history.get(chip, ())
        return amounts.in_force(history, at_ns or self.t.last_at_ns) or self.t.prices.get(chip)

    def why_not(self, job: Job, option: Option) -> str:
        """Why a job may not have an option now, even if its cards were free; empty: it may."""
        return self.rights.why_not(job.organisation, option.chip, option.cards, self.rooms.total[option.chip])

    def standing(self, name: str) -> Standing | None:
        """The job of that id, or the one that has a run of that id."""
        run = self.t.runs.get(name)
        return self.t.jobs.get(run.job if run else name)

    def live_run(self, job: str) -> Run | None:
        """The run of a job that still holds cards."""
        runs = self.t.jobs[job].runs
        run = self.t.runs[runs[-1]] if runs else None
        return run if run and not run.outcome else None

    def holder(self, centre: str, node: str, card: int) -> str | None:
        return self._taken.get((centre, node, card))

    def runs_at(self, centre: str, node: str = "") -> Iterator[Run]:
        """The runs that hold cards of a centre, or of one node of it."""
        for run_id in self.live_at.get(centre, {}):
            run = self.t.runs[run_id]
            if not node or any(part.node == node for part in run.allocation.parts):
                yield run

    def reachable(self, centre: str) -> bool:
        """Whether a centre's agent is heard of."""
        known = self.t.centres.get(centre)
        return known is not None and not known.away and not known.revoked

    def why_out(self, centre: str, node: Node) -> str:
        """Why a node gets no new runs at all; empty: it may. Single cards of it may be out all the same."""
        known = self.t.centres[centre]
        mark = self.t.marks.get(centre) or self.t.marks.get(place_name(centre, node.name))
        stands = self.t.node_states.get(centre, {}).get(node.name)
        if known.revoked:
            return "its centre's key was revoked"
        if known.away:
            return "its centre is away"
        if mark:
            return f"{'quarantined' if mark.quarantine else 'drained'}{_because(mark.reason)}"
        if stands and stands.condition is not Condition.UP:
            who = "drained by the centre" if stands.condition is Condition.DRAINED else stands.condition.value
            return f"{who}{_because(stands.reason)}"
        if node.counted and (bad := self.bad_cards.get((centre, node.name))):
            index, mark = next(iter(sorted(bad.items())))
            return f"card {index} is out{_because(mark.reason)}, and its engine picks the cards itself"
        return ""

    # Folding.

    def fold(self, event: e.Event) -> None:
        t = self.t
        t.last_at_ns = max(t.last_at_ns, event.at_ns)
        match event:
            case e.Submitted(job=job):
                t.orders += 1
                standing = t.jobs[job.id] = Standing(job=job, order=t.orders, submitted_at_ns=event.at_ns, submitted_by=event.by)
                t.entered[job.id] = self.shares.enter(job.organisation, job.project, event.at_ns)
                t.sizes[job.id] = size_of(self, standing)
                self._wait(standing, event.at_ns)
            case e.Launched():
                self._launch(event)
            case e.Queued(run=run_id, reason=reason):
                t.runs[run_id] = changed(t.runs[run_id], queue_reason=reason)
                self._stand_if(t.runs[run_id].job, (Phase.STARTING, Phase.QUEUED), phase=Phase.QUEUED, reason=reason)
            case e.Admitted(run=run_id):
                self._admit(run_id, event.at_ns)
            case e.Started(run=run_id, carrier=carrier, bound=bound):
                if t.runs[run_id].queue_reason:
                    self._admit(run_id, event.at_ns)
                t.runs[run_id] = changed(t.runs[run_id], running_at_ns=event.at_ns, carrier=carrier, bound=bound)
                self._stand_if(t.runs[run_id].job, (Phase.STARTING,), phase=Phase.RUNNING)
                self._stand_by(t.runs[run_id])
                self._expect(t.runs[run_id])
                fold_pool.arrived(self, t.runs[run_id], event)
            case e.StopAsked(run=run_id, reason=reason, grace_s=grace_s, requeue=requeue, for_job=for_job):
                t.runs[run_id] = changed(t.runs[run_id], stop=reason, stop_for=for_job, grace_s=grace_s, requeue=requeue)
                self._stand(t.runs[run_id].job, phase=Phase.STOPPING, reason=reason)
                self._stand_by_no_more(t.runs[run_id])
            case e.Ended():
                self._end(event)
            case e.OutputKept():
                self._keep(event)
            case e.Requeued(job=job_id, run=run_id, not_before_ns=not_before_ns, reason=reason, forgiven=forgiven):
                before = t.jobs[job_id].forgiven
                self._stand(job_id, phase=Phase.WAITING, not_before_ns=not_before_ns, reason=reason, forgiven=before + forgiven)
                t.sizes[job_id] = size_of(self, t.jobs[job_id])
                if t.runs[run_id].outcome == "lost" and len(t.runs[run_id].allocation.parts) > 1:
                    t.entered[job_id] -= t.sizes[job_id]  # a gang that lost a node goes first, as if it were small
                self._wait(t.jobs[job_id], event.at_ns)
            case e.Finished(job=job_id, phase=phase, reason=reason):
                if t.jobs[job_id].phase is Phase.WAITING:
                    self._leave(job_id)
                self._stand(job_id, phase=Phase(phase), reason=reason, ended_at_ns=event.at_ns)
                self._over(t.jobs[job_id], event.at_ns)
            case e.Reckoned(run=run_id, lasts_s=lasts_s, size=size):
                run = t.runs[run_id] = changed(t.runs[run_id], lasts_s=lasts_s)
                t.sizes[run.job] = size
                self._stand_by(run)
                self._expect(run)
            case e.Reserved():
                self._leave(event.job)
                reservation = Reservation(
                    job=event.job,
                    allocation=event.allocation,
                    expected_s=event.expected_s,
                    runs=event.runs,
                    at_ns=event.at_ns,
                    reason=event.reason,
                )
                t.reservations[event.job] = reservation
                self._keep_cards(reservation)
            case e.Released(job=job_id):
                self._drop_reservation(job_id)
                self._wait(t.jobs[job_id], event.at_ns)
            case e.CheckpointSeen(run=run_id):
                t.runs[run_id] = changed(t.runs[run_id], checkpoint_at_ns=event.at_ns)
            case e.Cancelled() | e.UseSeen() | e.Credited() | e.IdleWarned() | e.IdleLimitsSet():
                pass  # what follows from it is decided, and folded when it was
            case _:
                if not fold_tenants.fold(self, event):
                    fold_pool.fold(self, event)
        fold_use.fold(self, event)

    def look_at(self, chip: str, at_ns: int) -> None:
        """What can start on a chip may change then, though nothing happens."""
        self.looks[chip] = min(at_ns, self.looks.get(chip, at_ns))

    def _stand(self, job_id: str, **changes: object) -> None:
        self.t.jobs[job_id] = changed(self.t.jobs[job_id], **changes)

    def _stand_if(self, job_id: str, phases: tuple[Phase, ...], **changes: object) -> None:
        if self.t.jobs[job_id].phase in phases:
            self._stand(job_id, **changes)

    def _wait(self, standing: Standing, now_ns: int) -> None:
        if standing.not_before_ns > now_ns:
            insort(self.queue.later, (standing.not_before_ns, standing.job.id))
        else:
            self.queue.add(standing.job, self.tag(standing.job.id), standing.order)

    def wake(self, now_ns: int) -> set[str]:
        """Those whose pause is over wait for cards again. Returns the chips that they want."""
        later, chips = self.queue.later, set[str]()
        while later and later[0][0] <= now_ns:
            standing = self.t.jobs[later.pop(0)[1]]
            self.queue.add(standing.job, self.tag(standing.job.id), standing.order)
            chips |= {option.chip for option in standing.job.menu}
        return chips

    def _leave(self, job_id: str) -> None:
        """A job waits no more, in whichever way it did."""
        standing = self.t.jobs[job_id]
        line = (standing.not_before_ns, job_id)
        at = bisect_left(self.queue.later, line)
        if job_id in self.t.reservations:
            self._drop_reservation(job_id)
        elif at < len(self.queue.later) and self.queue.later[at] == line:
            del self.queue.later[at]
        else:
            self.queue.remove(standing.job, self.tag(job_id), standing.order)

    def _keep_cards(self, reservation: Reservation) -> None:
        for card in reservation.allocation.each():
            self._kept[card] = reservation.job
        self._refresh(reservation.allocation)
        self._count_held(reservation.allocation, self.t.jobs[reservation.job].job.organisation, 1)

    def _drop_reservation(self, job_id: str) -> None:
        reservation = self.t.reservations.pop(job_id)
        for card in reservation.allocation.each():
            del self._kept[card]
        self._refresh(reservation.allocation)
        self._count_held(reservation.allocation, self.t.jobs[job_id].job.organisation, -1)

    def _over(self, standing: Standing, now_ns: int) -> None:
        job = standing.job
        self.shares.leave(job.organisation, job.project, now_ns)
        last = self.t.runs[standing.runs[-1]] if standing.runs else None
        if last and last.outcome == "succeeded":
            self.history.note(kinds(job), lasted_s(self, standing))
        del self.t.entered[job.id], self.t.sizes[job.id]

    def _launch(self, event: e.Launched) -> None:
        self._leave(event.job)
        standing = self.t.jobs[event.job]
        before = standing.runs[-1] if standing.runs else ""
        run = self.t.runs[event.run] = Run(
            id=event.run,
            job=event.job,
            attempt=event.attempt,
            allocation=event.allocation,
            price_micro_per_card_s=event.price_micro_per_card_s,
            launched_at_ns=event.at_ns,
            expected_s=event.expected_s,
            lasts_s=event.lasts_s,
            transfer_s=event.transfer_s,
        )
        self._stand(event.job, phase=Phase.STARTING, runs=(*standing.runs, event.run), reason="")
        self._hold(run)
        if before and self.t.runs[before].allocation.centre == event.allocation.centre:
            self.unsent.get(event.allocation.centre, {}).pop(before, None)  # what it left is this run's now

    def _admit(self, run_id: str, at_ns: int) -> None:
        run = self.t.runs[run_id] = changed(self.t.runs[run_id], queue_reason="", admitted_at_ns=at_ns)
        self._stand_if(run.job, (Phase.QUEUED,), phase=Phase.STARTING, reason="")

    def _end(self, event: e.Ended) -> None:
        run = self.t.runs[event.run] = changed(
            self.t.runs[event.run],
            ended_at_ns=event.at_ns,
            outcome=event.outcome,
            exit_code=event.exit_code,
            reason=event.reason,
            held_ns=event.held_ns,
            lost_ns=event.lost_ns,
            artefacts=event.artefacts,
            artefact_bytes=event.artefact_bytes,
            queue_reason="",
            checkpoint_at_ns=self.t.runs[event.run].checkpoint_at_ns or (event.at_ns if event.checkpointed else 0),
        )
        allocation = run.allocation
        self._count(run, event.at_ns)
        del self.live[run.id], self.live_at[allocation.centre][run.id]
        self.limited.pop(run.id, None)
        self.elastic.pop(run.id, None)
        self.ends.forget(run.id)
        self._stand_by_no_more(run)
        self._give_back(allocation, self.t.jobs[run.job].job.organisation)
        if event.outcome in ("failed", "lost"):
            self._doubt(run)
        evidence.note(self, run)
        self._note_unsent(run)

    def _count(self, run: Run, now_ns: int) -> None:
        """What a run that ended held, and did, counts for its job and its organisation."""
        standing = self.t.jobs[run.job]
        card_s = card_seconds(self, run)
        self.shares.use(standing.job.organisation, card_s, now_ns)
        done = standing.done
        if run.expected_s:
            done = min(1.0, done + (run.held_ns - run.lost_ns) / NS_PER_S / run.expected_s) if standing.job.resumable else 0.0
        self._stand(run.job, served_ns=standing.served_ns + int(card_s * NS_PER_S), done=done)
        for reservation in [r for r in self.t.reservations.values() if run.id in r.runs]:
            left = tuple(name for name in reservation.runs if name != run.id)
            self.t.reservations[reservation.job] = changed(reservation, runs=left)

    def _keep(self, event: e.OutputKept) -> None:
        before = self.t.runs[event.run].kept
        if before and before.whole and not event.whole:
            return  # what was looked at before the run had ended arrives late
        kept = Kept(version=event.version, size_bytes=event.size_bytes, files=event.files, at_ns=event.at_ns, whole=event.whole)
        run = self.t.runs[event.run] = changed(self.t.runs[event.run], kept=kept)
        if event.whole:
            self.unsent.get(run.allocation.centre, {}).pop(run.id, None)

    def _doubt(self, run: Run) -> None:
        """A run failed: its cards are to be looked at before the next one. Where nobody knows which, all of the node's."""
        for part in run.allocation.parts:
            if f"after {part.node}" in run.checked:
                continue  # they were, since
            node = self.node(run.allocation.centre, part.node)
            cards = run.bound.get(part.node, part.cards)
            if node and node.counted and part.node not in run.bound:
                cards = tuple(card.index for card in node.cards)
            for card in cards:
                self.t.good_checks.pop(place_name(run.allocation.centre, part.node, card), None)

    def _note_unsent(self, run: Run) -> None:
        """What an ended run left is to be sent, unless a later run of its job goes on with it there."""
        if not run.artefacts or run.artefact_bytes < 0 or (run.kept and run.kept.whole):
            return
        runs = self.t.jobs[run.job].runs
        later = (self.t.runs[name] for name in runs[runs.index(run.id) + 1 :])
        if all(one.allocation.centre != run.allocation.centre for one in later):
            self.unsent.setdefault(run.allocation.centre, {})[run.id] = None

    # Indexes.

    def _index(self) -> None:
        self.keys_by_hash = {key.secret_sha256: key.id for key in self.t.keys.values()}
        fold_pool.index(self)
        self._take_up_older()
        for standing in self.t.jobs.values():
            if standing.phase is Phase.WAITING and standing.job.id not in self.t.reservations:
                self._wait(standing, self.t.last_at_ns)
        for reservation in self.t.reservations.values():
            self._keep_cards(reservation)
        for run in self.t.runs.values():
            if not run.outcome:
                self._hold(run)
            else:
                self._note_unsent(run)
        fold_use.index(self)

    def _take_up_older(self) -> None:
        """A snapshot from before shares were kept: its open jobs come in as if they did now, in their order."""
        missing = [s for s in self.t.jobs.values() if not s.phase.over and s.job.id not in self.t.entered]
        if missing or not self.shares.is_sized:
            self.measure()
        for standing in sorted(missing, key=lambda standing: standing.order):
            job = standing.job
            self.t.entered[job.id] = self.shares.enter(job.organisation, job.project, self.t.last_at_ns)
            self.t.sizes[job.id] = size_of(self, standing)

    def _hold(self, run: Run) -> None:
        self.live[run.id] = None
        self.live_at.setdefault(run.allocation.centre, {})[run.id] = None
        job = self.t.jobs[run.job].job
        if job.time_limit_s is not None:
            self.limited[run.id] = None
        if job.elastic:
            self.elastic[run.id] = None
        self._take(run.allocation, run.id, job.organisation)
        self._stand_by(run)
        self._expect(run)

    def _stand_by(self, run: Run) -> None:
        """Say anew when a run would have to make way."""
        self._stand_by_no_more(run)
        if run.stop:
            return
        job = self.t.jobs[run.job].job
        standby = self.softs if job.resumable else self.hards
        if job.resumable and (until_ns := spared_until_ns(run, job)) > self.t.last_at_ns:
            standby = self.greens
            heapq.heappush(self.ripening, (until_ns, run.id))
        standby.add(run.id, run.allocation.chip, job, self.tag(job.id))

    def _stand_by_no_more(self, run: Run) -> None:
        for standby in (self.softs, self.greens, self.hards):
            standby.remove(run.id)

    def ripen(self, now_ns: int) -> None:
        """Runs that were spared for a while aren't any more."""
        while self.ripening and self.ripening[0][0] <= now_ns:
            run = self.t.runs[heapq.heappop(self.ripening)[1]]
            if run.id in self.greens and spared_until_ns(run, job := self.t.jobs[run.job].job) <= now_ns:
                self.greens.remove(run.id)
                self.softs.add(run.id, run.allocation.chip, job, self.tag(job.id))

    def node(self, centre: str, node: str) -> Node | None:
        room = self.rooms.by_node.get((centre, node))
        return room.node if room else None

    def measure(self) -> None:
        """Say anew how much effective compute the pool has."""
        self.shares.resize(sum(cards * self.compute(chip) for chip, cards in self.rooms.total.items()), self.t.last_at_ns)

    def refresh(self, centre: str, node: str) -> None:
        """Say anew which cards of a node are free."""
        room = self.rooms.by_node.get((centre, node))
        if room:  # it may have left while a run held its cards, or its centre may have been revoked
            self.rooms.set_free(centre, node, self.free_of(centre, room.node))

    def free_of(self, centre: str, node: Node) -> tuple[int, ...]:
        """The cards of a node that a run could get now."""
        if not self.troubled and not node.counted:
            taken, kept, name = self._taken, self._kept, node.name
            return tuple([i for i in map(_index_of, node.cards) if (c := (centre, name, i)) not in taken and c not in kept])
        if self.why_out(centre, node):
            return ()
        cards = ((centre, node.name, card.index) for card in node.cards)
        idle = [card[2] for card in cards if card not in self._taken and card not in self._kept]
        stands = self.t.node_states.get(centre, {}).get(node.name) or NodeState(name=node.name)
        if node.counted:  # others' cards are a number; that the numbers overlap with ours for a moment takes none away twice
            return tuple(idle[: max(0, len(idle) - len(set(stands.busy)))])
        out = self.bad_cards.get((centre, node.name), {})
        return tuple(index for index in idle if index not in out and index not in stands.busy)

    def out_of(self, centre: str, node: Node) -> set[int]:
        """The cards of a node that are nobody's when a run leaves them: out of use, or others'."""
        if not self.troubled or node.counted:
            return set()
        stands = self.t.node_states.get(centre, {}).get(node.name)
        return {*self.bad_cards.get((centre, node.name), ()), *(stands.busy if stands else ())}

    def expect_again(self, centre: str) -> None:
        """The nodes of a centre changed, and maybe their islands: say anew where its runs are expected to end."""
        for run_id in self.live_at.get(centre, {}):
            self._expect(self.t.runs[run_id])

    def _take(self, allocation: Allocation, run: str, organisation: str) -> None:
        for card in allocation.each():
            assert card not in self._taken, f"{card} is held by {self._taken[card]} and was given to {run}"
            self._taken[card] = run
        self._refresh(allocation)
        self._count_held(allocation, organisation, 1)

    def _count_held(self, allocation: Allocation, organisation: str, sign: int) -> None:
        held, cards = f"{organisation}/{allocation.chip}", sign * allocation.cards
        self.rights.count(organisation, allocation.chip, cards)
        self.held[held] = self.held.get(held, 0) + cards

    def _give_back(self, allocation: Allocation, organisation: str) -> None:
        for card in allocation.each():
            del self._taken[card]
        self._refresh(allocation)
        self._count_held(allocation, organisation, -1)

    def _refresh(self, allocation: Allocation) -> None:
        for part in allocation.parts:
            self.refresh(allocation.centre, part.node)

    def _expect(self, run: Run) -> None:
        node = self.node(run.allocation.centre, run.allocation.parts[0].node)
        island = (node.pretend, run.allocation.centre, node.island) if node else None
        self.ends.expect(run, self.t.jobs[run.job].job, island)
        if run.expected_s is None:
            self.check_later(run, run.running_at_ns or run.launched_at_ns)

    def check_later(self, run: Run, now_ns: int) -> None:
        """Say when to look next whether a run outlasts its forecast."""
        began_ns = run.running_at_ns or run.launched_at_ns
        more_s = outgrown_s(self, self.t.jobs[run.job], (now_ns - began_ns) / NS_PER_S) if run.running_at_ns else FIRST_CHECK_S
        if more_s < math.inf:
            at_ns = began_ns + int(max(more_s, FIRST_CHECK_S) * NS_PER_S) + 1
            self.ends.check_at(run.id, max(at_ns, now_ns + NS_PER_S))


FIRST_CHECK_S = 300.0
_index_of = attrgetter("index")


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
