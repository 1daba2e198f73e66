"""Tell events as sentences, with the numbers on which it was decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forebay.cloud import story_pool
from forebay.cloud.core import events as e
from forebay.cloud.core.foresee import BALANCED, Outlook
from forebay.cloud.core.history import UNKNOWN_S
from forebay.cloud.core.job import Job
from forebay.cloud.core.pool import Allocation
from forebay.cloud.core.state import State
from forebay.units import NS_PER_S, show_bytes, show_money, show_seconds

LEAST_TOLD_S = 0.1  # of the way of a job's data: below that it is no news


def tell(event: e.Event, state: State) -> str:
    """One line for people."""
    match event:
        case e.Submitted(job=job):
            menu = ", or ".join(f"{o.cards} x {o.chip}{_takes(o.expected_s)}" for o in job.menu)
            what = " ".join([job.script.entry, *job.script.argv]) if job.script else job.name
            limit = f", at most {show_seconds(job.time_limit_s)}" if job.time_limit_s else ""
            return f"asked for {menu} to run {what}{limit}; up to {job.retries} retries{_wishes(job, event.at_ns)}"
        case e.Launched():
            price = show_money(event.price_micro_per_card_s, state.t.currency)
            others = event.waiting - 1
            queue = f"{others} other{'s' if others != 1 else ''} waiting" if others else "nobody else was waiting"
            return (
                f"attempt {event.attempt} gets {_cards(event.allocation)}, at {price} a card-second "
                f"({event.free_cards} {event.allocation.chip} were free, {queue}){_forecast(event.outlooks)}{_brings(event)}"
                f"{_lasts(event)}"
            )
        case e.Reserved():
            return _reserved(event)
        case e.Released():
            return f"the cards that were kept for it are free again: {event.reason}"
        case e.Reckoned():
            return f"it runs longer than was expected: all in all about {show_seconds(event.lasts_s)}, as it looks now"

        case e.Queued():
            return f"waits in its centre's own queue: {event.reason.removeprefix('waiting in the centre: ')}"
        case e.Admitted(run=run):
            waited = event.at_ns - state.t.runs[run].launched_at_ns
            return f"its centre's queue let it start, {show_seconds(waited / NS_PER_S)} after it was handed over"
        case e.Started(run=run, carrier=carrier):
            waited = event.at_ns - state.t.runs[run].launched_at_ns
            how = f"; CUDA's words: {carrier}" if carrier else ""
            bound = f", on {_bound(event.bound)}" if event.bound else ""
            fetched = f"; {_fetched(event)}" if event.fetched_ns >= LEAST_TOLD_S * NS_PER_S else ""
            return f"its ranks started{bound}, {show_seconds(waited / NS_PER_S)} after it got its cards{fetched}{how}"
        case e.CheckSeen():
            return _check(event)
        case e.Quarantined():
            what = f"card {event.card} of " if event.card is not None else ""
            return f"{what}{event.centre}/{event.node} was taken out of use: {event.reason}"
        case e.OutputKept():
            so_far = "" if event.whole else " so far"
            files = f"{event.files} file{'s' if event.files != 1 else ''}"
            return f"what it left{so_far} was kept: {files}, {show_bytes(event.size_bytes)}, version {event.version[:12]}"
        case e.CheckpointSeen():
            return "it has completed a checkpoint"
        case e.UseSeen():
            return _use(event)
        case e.IdleWarned():
            reclaim_s = state.t.idle_limits.reclaim_s
            then = f"; the pool takes them back after {show_seconds(reclaim_s)}" if reclaim_s is not None else ""
            return f"warning: its cards have been idle for {show_seconds(event.idle_s)}{then}"
        case e.Credited():
            money = show_money(event.micro, state.t.currency)
            return f"{money} are credited for {event.card_ns / NS_PER_S:,.3f} card-seconds: {event.reason}"
        case e.StopAsked():
            again = "; its job waits again, which uses up no retry" if event.requeue else ""
            return f"asked to save its work and stop within {show_seconds(event.grace_s)}: {event.reason}{again}"
        case e.Ended():
            lost = (
                f", of which {show_seconds(event.lost_ns / NS_PER_S)} after the last checkpoint are lost" if event.lost_ns else ""
            )
            why = f" ({event.reason.rstrip('.')})" if event.reason and event.outcome != "succeeded" else ""
            return f"{event.outcome}{why}; its cards were held for {show_seconds(event.held_ns / NS_PER_S)}{lost}"
        case e.Requeued():
            pause = max(0, event.not_before_ns - event.at_ns) / NS_PER_S
            when = f"in {show_seconds(pause)}" if pause else "at once"
            free = ", which uses up none" if event.forgiven else ""
            return f"to be tried again {when}, {event.left} retries left{free}: {event.reason}"
        case e.Finished():
            return event.phase + (f": {event.reason}" if event.reason else "")
        case e.Cancelled():
            return "asked to cancel the job"
        case _:
            return story_pool.tell(event, state) or type(event).__name__


def _wishes(job: Job, at_ns: int) -> str:
    """What its owner said of its order and choice, as far as it isn't what everybody gets."""
    said = [f"priority {job.priority}"] if job.priority else []
    said += ["elastic"] if job.elastic else ["resumable"] if job.resumable else []
    said += [f"{job.prefer} first"] if job.prefer != BALANCED else []
    said += [f"to end within {show_seconds((job.deadline_ns - at_ns) / NS_PER_S)}"] if job.deadline_ns else []
    said += [f"for at most {show_money(job.budget_micro)}"] if job.budget_micro is not None else []
    return f" ({', '.join(said)})" if said else ""


def _lasts(event: e.Launched) -> str:
    """How long it is expected to last, where that isn't what its owner said, and something is known of its kind."""
    if event.lasts_s in (0.0, UNKNOWN_S, event.expected_s):
        return ""
    return f"; it is expected to last about {show_seconds(event.lasts_s)}"


def _reserved(event: e.Reserved) -> str:
    kept = f"kept for it: {_cards(event.allocation)}"
    if not event.runs:
        return kept
    several = len(event.runs) > 1
    who = f"{len(event.runs)} runs that hold some of them have" if several else "a run that holds some of them has"
    why = f" ({event.reason})" if event.reason else ""
    return f"{kept}; it starts when {who} saved {'their' if several else 'its'} work and left{why}"


def _use(event: e.UseSeen) -> str:
    held = f"{event.held_ns / NS_PER_S:,.0f} card-seconds held"
    measured_ns = event.held_ns if event.measured_ns < 0 else event.measured_ns
    if event.active_ns < 0 or measured_ns <= 0:
        return f"{held}, of which nobody measured how busy they were"
    return f"{held}, at work for {event.active_ns / measured_ns:.0%} of what was measured"


def _cards(allocation: Allocation) -> str:
    where = "; ".join(
        f"{part.node} card{'s' if len(part.cards) > 1 else ''} {', '.join(map(str, part.cards))}" for part in allocation.parts
    )
    pretend = " (pretend)" if allocation.pretend else ""
    return f"{allocation.cards} x {allocation.chip}{pretend} at {allocation.centre}: {where}"


def _takes(expected_s: float | None) -> str:
    return f" ({show_seconds(expected_s)})" if expected_s is not None else ""


def _forecast(outlooks: Sequence[Outlook]) -> str:
    """Why this option: when each would have ended."""
    if not outlooks:
        return ""
    return "; it ends first: " + ", ".join(f"{o.cards} x {o.chip} {_promise(o)}" for o in outlooks)


def _promise(outlook: Outlook) -> str:
    if outlook.starts_in_s is None:
        return "is busy, nobody knows how long"
    if outlook.ends_in_s is None:
        return "is free, nobody knows how long it takes there"
    free = f", free in {show_seconds(outlook.starts_in_s)}" if outlook.starts_in_s else ""
    at = f" at {outlook.centre}" if outlook.centre else ""
    brings = f", its data there in {show_seconds(outlook.transfer_s)}" if outlook.transfer_s else ""
    return f"in {show_seconds(outlook.ends_in_s)}{at}{free}{brings}"


def _brings(event: e.Launched) -> str:
    """How long its data is on the way, if that is long enough to be told."""
    return f"; bringing its data there takes about {show_seconds(event.transfer_s)}" if event.transfer_s >= LEAST_TOLD_S else ""


def _fetched(event: e.Started) -> str:
    return f"{show_bytes(event.fetched_bytes)} of data were brought there in {show_seconds(event.fetched_ns / NS_PER_S)}"


def _bound(bound: Mapping[str, Sequence[int]]) -> str:
    return "; ".join(f"{node} card{'s' if len(cards) != 1 else ''} {', '.join(map(str, cards))}" for node, cards in bound.items())


def _check(check: e.CheckSeen) -> str:
    when = "before it started" if check.when == "before" else "after it failed"
    if not check.bad:
        return f"the cards of {check.node} were checked {when}: well ({show_seconds(check.took_s)})"
    wrong = "; ".join(f"card {card}: {what}" for card, what in sorted(check.bad.items()))
    return f"the cards of {check.node} were checked {when}: {wrong} ({show_seconds(check.took_s)})"
