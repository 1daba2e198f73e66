"""Say why a job waits, what would let it go, and when it is likely to start. Pure.

    found = why(state, standing, now_ns)                     # forecast=False: `start` is left out, and it costs next to nothing
    found.text        # "8 x h100-sxm: 3 of 64 are free, and 2 jobs are due before it"
    found.release     # "runs that end, or one that is due later and makes way"
    found.start       # Start(soonest_s=0, likely_s=1260, latest_s=5400), or None: nobody can say

Asked:  which single thing keeps this job from starting?
Answer: the first of these that is true: its cards are being left by others; it waits out a pause after a failure; its quota or
        budget; cards that are out of use; a window of maintenance; cards that are busy, with those that go first.
Start:  `starts.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from forebay.cloud.core.budget import over_budget
from forebay.cloud.core.job import Option, Phase, Standing
from forebay.cloud.core.money import cost_micro
from forebay.cloud.core.starts import Start, ahead, foretell
from forebay.cloud.core.state import State
from forebay.units import NS_PER_S, show_money, show_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """What keeps a job from starting."""

    constraint: str  # "reserved", "pause", "quota", "budget", "out of use", "maintenance", "busy"
    text: str
    release: str
    start: Start | None = None


def why(state: State, standing: Standing, now_ns: int, *, forecast: bool = True) -> Why | None:
    """None for a job that doesn't wait for the cloud. Without `forecast` no start is foretold, nor counted who goes first."""
    if standing.phase is not Phase.WAITING:
        return None
    job = standing.job
    reservation = state.t.reservations.get(job.id)
    if reservation:
        grace_s = max((state.t.runs[run].grace_s for run in reservation.runs), default=0.0)
        return Why(
            constraint="reserved",
            text=f"{reservation.allocation.cards} x {reservation.allocation.chip} are kept for it; "
            f"{len(reservation.runs)} runs are leaving them",
            release="the last of these runs has saved its work and ended",
            start=Start(soonest_s=0.0, likely_s=grace_s / 2, latest_s=grace_s + 5.0),
        )
    if standing.not_before_ns > now_ns:
        left_s = (standing.not_before_ns - now_ns) / NS_PER_S
        return Why(
            constraint="pause",
            text=f"it is tried again in {show_seconds(left_s)}, after: {standing.reason}",
            release="the pause is over",
            start=Start(soonest_s=left_s, likely_s=left_s, latest_s=left_s + 1.0),
        )
    spent = over_budget(state, job.organisation, job.project, now_ns)
    if spent:
        return Why(constraint="budget", text=spent, release="the budget is raised or lifted")
    spent = _over_its_own(state, standing, now_ns)
    if spent:
        return Why(constraint="budget", text=spent, release="nothing: cancel it, and submit it with a larger budget")
    refused = {option: reason for option in job.menu if (reason := state.why_not(job, option))}
    if len(refused) == len(job.menu):
        option, reason = next(iter(refused.items()))
        return Why(
            constraint="quota",
            text=reason,
            release=f"a run of {job.organisation} ends, or its quota is raised",
            start=foretell(state, standing, option, now_ns, own_only=True) if forecast else None,
        )
    options = [option for option in job.menu if option not in refused]
    out = [option for option in options if _usable(state, option) < option.cards]
    if len(out) == len(options):
        option = out[0]
        usable, total = _usable(state, option), state.total.get(option.chip, 0)
        return Why(
            constraint="out of use",
            text=f"{option.cards} x {option.chip} are wanted on one island, of which {usable} are in use; {total} are known",
            release=f"nodes with {option.chip} come back: see `forebay pool`",
        )
    window = next((w for w in state.t.windows.values() if w.to_ns > now_ns), None)
    options = [option for option in options if option not in out]
    best, start = _best(state, standing, options, now_ns) if forecast else (options[0], None)
    if window and best is not None and state.free_cards(best.chip) >= best.cards:
        left_s = (window.to_ns - now_ns) / NS_PER_S
        return Why(
            constraint="maintenance",
            text=f"its time limit reaches into the maintenance of {window.place}",
            release="the maintenance is over, or a shorter time limit",
            start=Start(soonest_s=left_s, likely_s=left_s, latest_s=left_s + 60.0),
        )
    assert best is not None
    first = len(ahead(state, job, best.chip, now_ns)) if forecast else 0
    free, total = state.free_cards(best.chip), state.total[best.chip]
    behind = f", and {first} {'job is' if first == 1 else 'jobs are'} due before it" if first else ""
    return Why(
        constraint="busy",
        text=f"it wants {best.cards} x {best.chip}; {free} of {total} are free{behind}",
        release="runs end, or one that is due later makes way",
        start=start,
    )


def start_of(state: State, standing: Standing, now_ns: int) -> Start | None:
    """When a job is likely to start. At once, when it has; None: nobody can say."""
    if standing.runs and standing.phase is not Phase.WAITING:
        return Start(soonest_s=0.0, likely_s=0.0, latest_s=0.0)
    found = why(state, standing, now_ns)
    return found.start if found else None


def _over_its_own(state: State, standing: Standing, now_ns: int) -> str:
    """Why a job's own budget lets no run of it start; empty: it does."""
    job = standing.job
    if job.budget_micro is None:
        return ""
    left = job.budget_micro - sum(cost_micro(state.t.runs[run], now_ns) for run in standing.runs)
    if left <= 0:
        return f"its budget of {show_money(job.budget_micro)} is spent"
    rest = min(rest_micro(state, standing, option) for option in job.menu)
    return (
        f"{show_money(left)} of its budget are left, and the rest of it costs at least {show_money(rest)}" if rest > left else ""
    )


def rest_micro(state: State, standing: Standing, option: Option) -> int:
    """What the rest of a job costs on a line of its menu at today's price, as far as it said how long it takes there."""
    return int((option.expected_s or 0.0) * (1.0 - standing.done) * option.cards * state.price(option.chip))


def _usable(state: State, option: Option) -> int:
    """Cards of the island that has most in use now, busy or free."""
    most = 0
    for island in state.rooms.islands.get(option.chip, {}).values():
        if not state.troubled:
            most = max(most, island.total)
            continue
        rooms = (room for room in island.rooms.values() if not state.why_out(room.centre, room.node))
        bad = state.bad_cards
        most = max(most, sum(len(room.node.cards) - len(bad.get((room.centre, room.node.name), {})) for room in rooms))
    return most


def _best(state: State, standing: Standing, options: list[Option], now_ns: int) -> tuple[Option | None, Start | None]:
    found = [(option, foretell(state, standing, option, now_ns)) for option in options]
    known = [(start.likely_s, i) for i, (_, start) in enumerate(found) if start]
    return found[min(known)[1]] if known else found[0] if found else (None, None)
