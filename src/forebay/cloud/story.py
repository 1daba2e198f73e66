"""Tell events as sentences, with the numbers on which it was decided."""

from __future__ import annotations

from forebay.cloud.core import events as e
from forebay.cloud.core.pool import Allocation
from forebay.cloud.core.state import State
from forebay.units import NS_PER_S, show_money, show_seconds


def tell(event: e.Event, state: State) -> str:
    """One line for people."""
    match event:
        case e.Submitted(job=job):
            menu = ", or ".join(f"{o.cards} x {o.chip}" for o in job.menu)
            what = " ".join([job.script.entry, *job.script.argv]) if job.script else job.name
            limit = f", at most {show_seconds(job.time_limit_s)}" if job.time_limit_s else ""
            return f"asked for {menu} to run {what}{limit}; up to {job.retries} retries"
        case e.Launched():
            price = show_money(event.price_micro_per_card_s, state.t.currency)
            others = event.waiting - 1
            queue = f"{others} other{'s' if others != 1 else ''} waiting" if others else "nobody else was waiting"
            return (
                f"attempt {event.attempt} gets {_cards(event.allocation)}, at {price} a card-second "
                f"({event.free_cards} {event.allocation.chip} were free, {queue})"
            )
        case e.Started(run=run, carrier=carrier):
            waited = event.at_ns - state.t.runs[run].launched_at_ns
            how = f"; CUDA's words: {carrier}" if carrier else ""
            return f"its ranks started, {show_seconds(waited / NS_PER_S)} after it got its cards{how}"
        case e.StopAsked():
            return f"asked to stop within {show_seconds(event.grace_s)}: {event.reason}"
        case e.Ended():
            lost = (
                f", of which {show_seconds(event.lost_ns / NS_PER_S)} after the last checkpoint are lost" if event.lost_ns else ""
            )
            why = f" ({event.reason.rstrip('.')})" if event.reason and event.outcome != "succeeded" else ""
            return f"{event.outcome}{why}; its cards were held for {show_seconds(event.held_ns / NS_PER_S)}{lost}"
        case e.Requeued():
            pause = max(0, event.not_before_ns - event.at_ns) / NS_PER_S
            when = f"in {show_seconds(pause)}" if pause else "at once"
            return f"to be tried again {when}, {event.left} retries left: {event.reason}"
        case e.Finished():
            return event.phase + (f": {event.reason}" if event.reason else "")
        case e.Cancelled():
            return "asked to cancel the job"
        case _:
            return type(event).__name__


def _cards(allocation: Allocation) -> str:
    where = "; ".join(
        f"{part.node} card{'s' if len(part.cards) > 1 else ''} {', '.join(map(str, part.cards))}" for part in allocation.parts
    )
    pretend = " (pretend)" if allocation.pretend else ""
    return f"{allocation.cards} x {allocation.chip}{pretend} at {allocation.centre}: {where}"
