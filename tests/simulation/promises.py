"""Promises about time: lenders get back what is guaranteed to them, and nobody waits for ever.

Asked:  how long may something last before a promise is broken?
Answer: an organisation that waits for what is guaranteed to it, and could have it from those that borrowed, has cards reserved
        within a few ticks, and has them after `reclaim_s` and the way of the messages. A job that exact sharing would have ended
        long ago has started, however many come after it.
Limits: what is disturbed (a window, a silent centre, a cloud that is down) starts these clocks anew.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from forebay.cloud.core.state import State
from forebay.cloud.core.tenant import COMPUTE
from forebay.cloud.core.yields import urgency

from .audit import Audit, must

if TYPE_CHECKING:
    from .world import World

NS = 10**9
OVERDUE = 150.0  # mean lengths of a job that a job may be overdue; three times what was found in lives without a fault


class Promises:
    def __init__(self, world: World) -> None:
        self._world = world
        self._calm_since_s = 0.0
        self._owed: dict[tuple[str, str], float] = {}  # (organisation, chip) -> since when
        self.most_overdue = 0.0

    def look(self) -> None:
        world, now = self._world, self._world.now_s
        if world.cloud is None:
            self._calm_since_s = now
            self._owed.clear()
            return
        state = world.cloud.loop.state
        if any(window.to_ns >= state.t.last_at_ns for window in world.audit.windows.values()):
            self._owed.clear()
        else:
            self._lenders(state, world.audit, now)
        if self._disturbed(state):
            self._calm_since_s = now
        else:
            self._given_back(world.audit, now)
            self._overdue(state, world.audit, now)

    def _disturbed(self, state: State) -> bool:
        world, audit = self._world, self._world.audit
        return (
            bool(world.network.broken or audit.away or audit.revoked)
            or any(engine.down for engine in world.engines.values())
            or any(agent is None for agent in world.agents.values())
            or any(state.condition.value != "up" for state in audit.states.values())
            or any(window.to_ns >= state.t.last_at_ns for window in audit.windows.values())
        )

    def _slack_s(self) -> float:
        plan = self._world.plan
        return 60.0 + 4 * plan.tick_s + 8 * plan.longest_delay_s

    def _lenders(self, state: State, audit: Audit, now: float) -> None:
        owed: set[tuple[str, str]] = set()
        wide: set[tuple[str, str]] = set()  # where a job of its own, which wants more than is guaranteed, may be before it
        limited = {name.split("/")[0] for name in audit.budgets}
        before_ns = self._world.wall_ns() - 10 * NS
        for known in audit.open.values():
            job = known.job
            if known.where != "waits":
                continue
            wide |= {
                key
                for option in job.menu
                if (key := (job.organisation, option.chip)) in audit.quotas
                and audit.held[key] + option.cards > audit.guaranteed(*key)
            }
            if known.not_before_ns > before_ns:
                continue
            if (job.organisation, COMPUTE) in audit.quotas or job.organisation in limited:
                continue
            if len(job.menu) > 1:
                continue
            option = job.menu[0]
            key = (job.organisation, option.chip)
            if (
                key in audit.quotas
                and audit.held[key] + option.cards <= audit.guaranteed(*key)
                and self._could(state, audit, key, option.cards)
            ):
                owed.add(key)
        since = {key: self._owed.get(key, now) for key in owed - wide}
        for key, at_s in since.items():
            if audit.last_got.get(key, -1.0) > at_s or audit.rights_changed_s > at_s:
                since[key] = now
            else:
                must(
                    now - at_s <= self._slack_s(),
                    f"{key[0]} waits for {key[1]} that are guaranteed to it and lent, for {now - at_s:.0f} s",
                )
        self._owed = since

    def _given_back(self, audit: Audit, now: float) -> None:
        for name, reserved in audit.reserved.items():
            if "guaranteed" in reserved.reason:
                organisation = audit.jobs[name].job.organisation
                quota = audit.quotas.get((organisation, reserved.allocation.chip))
                at_s = max(audit.reserved_at_s[name], self._calm_since_s, audit.rights_changed_s)
                within_s = (quota.reclaim_s if quota else 60.0) + self._slack_s()
                must(now - at_s <= within_s, f"{organisation} has what it lent back within {within_s:.0f} s, and not {name}")

    def _could(self, state: State, audit: Audit, key: tuple[str, str], cards: int) -> bool:
        """Whether so many cards are free, or borrowed and held by runs that can be stopped, on one island."""
        organisation, chip = key
        on: dict[tuple[object, str], int] = defaultdict(int)
        for run in state.live:
            known = state.t.runs[run]
            if known.allocation.chip != chip:
                continue
            owner = state.t.jobs[known.job].job.organisation
            node = state.node(known.allocation.centre, known.allocation.parts[0].node)
            out = {centre_node for centre_node in state.bad_cards if centre_node[0] == known.allocation.centre}
            parts = [(known.allocation.centre, part.node) for part in known.allocation.parts]
            if any(part in out or (found := state.node(*part)) is None or state.why_out(part[0], found) for part in parts):
                continue
            if owner != organisation and node and not known.stop and not known.queue_reason:
                on[((node.pretend, known.allocation.centre, node.island), owner)] += known.allocation.cards
        for island_key, island in state.rooms.islands.get(chip, {}).items():
            lent = sum(
                min(n, max(0, audit.held[(owner, chip)] - audit.guaranteed(owner, chip)))
                for (where, owner), n in on.items()
                if where == island_key
            )
            if island.free + lent >= cards:
                return True
        return False

    def _overdue(self, state: State, audit: Audit, now: float) -> None:
        """Nobody waits on and on although exact sharing would have ended their job."""
        world = self._world
        if audit.budgets:
            return
        limited = {organisation for organisation, _ in audit.quotas}
        for name, known in audit.open.items():
            job = known.job
            if known.where != "waits" or job.organisation in limited:
                continue
            if state.t.jobs[name].phase.over:
                continue  # decided; its line is on its way to the disk
            since_s = max(self._calm_since_s, (known.waits_since_ns - world.wall_ns()) / NS + now)
            overdue_s = min(-urgency(state, job, state.t.last_at_ns), now - since_s)
            self.most_overdue = max(self.most_overdue, overdue_s / world.plan.mean_job_s)
            limit_s = OVERDUE * world.plan.mean_job_s + self._slack_s()
            must(overdue_s < limit_s, f"{name} has been overdue for {overdue_s:.0f} s and waits")
