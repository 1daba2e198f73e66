"""What all baselines share: jobs come, are launched, end; who is next is for each of them to say.

A baseline obeys no quotas, shares, limits or back-offs. It sees what the core sees: the menu, and times where they are known.
"""

from __future__ import annotations

from dataclasses import dataclass

from forebay.cloud.core import events as e
from forebay.cloud.core.job import Job, Option
from forebay.cloud.core.pool import Allocation
from forebay.cloud.replay.baselines.floor import Floor
from forebay.units import NS_PER_S

Shape = tuple[tuple[str, int], ...]
"""What a job's options ask for. Where one job of a shape finds no room, no other does."""


@dataclass(slots=True)
class Known:
    """A job as a baseline knows it."""

    job: Job
    order: int
    shape: Shape
    attempts: int = 0
    run: str = ""  # empty: it waits
    option: Option | None = None  # that it runs on
    allocation: Allocation | None = None
    began_ns: int = 0
    served: float = 0.0  # card-seconds, or what else a policy counts
    counted_ns: int = 0  # until when that was counted


class Plain:
    """The root of the baselines."""

    name = ""
    asked_size_only = True  # an elastic job is held at the size that its owner asked for

    def __init__(self) -> None:
        self.floor = Floor("", ())
        self.jobs: dict[str, Known] = {}
        self.running: dict[str, Known] = {}
        self._orders = 0
        self._shapes: dict[Shape, Shape] = {}

    # What a baseline says.

    def arrive(self, known: Known) -> None:
        """A job waits: a new one, or one that was stopped."""
        raise NotImplementedError

    def leave(self, known: Known) -> None:
        """A job is over."""

    def schedule(self, now_ns: int, ticked: bool) -> list[e.Event]:
        """What follows. `ticked`: the time has come that `due_ns` said."""
        raise NotImplementedError

    def due_ns(self) -> int | None:
        return None

    # What they share.

    def tell(self, fact: e.Event) -> list[e.Event]:
        match fact:
            case e.Submitted(job=job):
                self._orders += 1
                shape = tuple([(option.chip, option.cards) for option in job.menu])
                known = Known(job, self._orders, self._shapes.setdefault(shape, shape))
                self.jobs[job.id] = known
                self.arrive(known)
                return self.schedule(fact.at_ns, False)
            case e.Ended(run=run, outcome=outcome):
                known = self.running.pop(run)
                assert known.allocation is not None
                self.floor.give_back(known.allocation)
                self.count(known, fact.at_ns)
                known.run, known.allocation, known.option = "", None, None
                job_id = known.job.id
                first: e.Event
                if outcome == "succeeded":
                    self.leave(known)
                    del self.jobs[job_id]
                    first = e.Finished(at_ns=fact.at_ns, by="forebay", job=job_id, phase="succeeded")
                else:
                    first = e.Requeued(
                        at_ns=fact.at_ns,
                        by="forebay",
                        job=job_id,
                        run=run,
                        not_before_ns=fact.at_ns,
                        left=3,
                        reason="others are next",
                        forgiven=True,
                    )
                    self.arrive(known)
                return [first, *self.schedule(fact.at_ns, False)]
            case e.Tick():
                return self.schedule(fact.at_ns, True)
            case e.NodesSeen(centre=centre, nodes=nodes):
                self.floor = Floor(centre, nodes)
        return []

    def count(self, known: Known, now_ns: int) -> None:
        """Add what a run has held since this was last asked."""
        since_ns = now_ns - known.counted_ns
        known.counted_ns = now_ns
        if known.option:
            known.served += since_ns / NS_PER_S * self.worth(known, known.option)

    def worth(self, known: Known, option: Option) -> float:
        """What a second on an option counts for."""
        return option.cards

    def launch(self, known: Known, option: Option, now_ns: int) -> e.Launched | None:
        """The decision, or None where the cards aren't free."""
        free = self.floor.free.get(option.chip, 0)
        allocation = self.floor.take(option.chip, option.cards)
        if allocation is None:
            return None
        known.attempts += 1
        known.run = f"{known.job.id}-{known.attempts}"
        known.option, known.allocation = option, allocation
        known.began_ns = known.counted_ns = now_ns
        self.running[known.run] = known
        return e.Launched(
            at_ns=now_ns,
            by="forebay",
            run=known.run,
            job=known.job.id,
            attempt=known.attempts,
            allocation=allocation,
            price_micro_per_card_s=0,
            free_cards=free,
            waiting=0,
            expected_s=option.expected_s,
        )

    def launch_first(self, known: Known, now_ns: int) -> e.Launched | None:
        """On the first of its options whose cards are free."""
        for option in known.job.menu:
            launched = self.launch(known, option, now_ns)
            if launched:
                return launched
        return None
