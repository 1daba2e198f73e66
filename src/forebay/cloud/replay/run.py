"""Run one trace through one policy, and take the figures.

outcome = replay(trace, nodes, "forebay", settings)
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from forebay.chips.node import Node
from forebay.cloud.core import events as e
from forebay.cloud.replay import site
from forebay.cloud.replay.baselines import Backfill, FirstCome, LeastAttained, MaxMin, MaxThroughput
from forebay.cloud.replay.baselines.plain import Plain
from forebay.cloud.replay.decider import Core, Decider
from forebay.cloud.replay.fluid import equal_share_s
from forebay.cloud.replay.metrics import Figures, figures
from forebay.cloud.replay.trace import Settings, Trace, on_pool
from forebay.cloud.replay.world import History, World
from forebay.errors import BadInput, nearest

BASELINES: Mapping[str, type[Plain]] = {
    policy.name: policy for policy in (FirstCome, Backfill, LeastAttained, MaxMin, MaxThroughput)
}
POLICIES: Mapping[str, Callable[[], Decider]] = {"forebay": Core, **BASELINES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A replay's history and its figures."""

    history: History
    figures: Figures


def replay(
    trace: Trace,
    nodes: Sequence[Node],
    policy: str,
    settings: Settings,
    *,
    progress: Callable[[int, int], None] | None = None,
    heard: Callable[[e.Event], None] | None = None,
    fair_s: Mapping[str, float] | None = None,
) -> Outcome:
    """Through a policy of POLICIES. `fair_s`: each job's time in an equally shared pool, if it is known from another replay."""
    _check(policy)
    if policy in BASELINES and BASELINES[policy].asked_size_only:
        settings = replace(settings, elastic=False)
    good, never = on_pool(trace, site.cards(tuple(nodes)), settings)
    spread = trace.spread_counts if settings.spread is None else settings.spread
    known = trace.times_known if settings.known is None else settings.known
    fair_s = fair_s or equal_share_s(good, site.cards(tuple(nodes)))
    with _few_collections():
        began = time.process_time()
        world = World(good, nodes, POLICIES[policy](), settings, tenants=trace.tenants, known=known, spread=spread, heard=heard)
        history = world.run(progress)
        cpu_s = time.process_time() - began
    return Outcome(history=history, figures=figures(history, policy=policy, cpu_s=cpu_s, refused=len(never), fair_s=fair_s))


def replay_all(
    trace: Trace,
    nodes: Sequence[Node],
    policies: Sequence[str],
    settings: Settings,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Outcome]:
    """Through one policy after another. `progress` is told the policy, and how many jobs of how many have come."""
    for policy in policies:
        _check(policy)
    fair_s = equal_share_s(on_pool(trace, site.cards(tuple(nodes)), settings)[0], site.cards(tuple(nodes)))
    return [
        replay(trace, nodes, policy, settings, progress=partial(progress, policy) if progress else None, fair_s=fair_s)
        for policy in policies
    ]


def _check(policy: str) -> None:
    if policy not in POLICIES:
        raise BadInput("There is no such policy.", asked=policy, hint=" or ".join(nearest(policy, list(POLICIES)) or POLICIES))


@contextmanager
def _few_collections() -> Iterator[None]:
    """A history only grows, so the garbage collector would look through all of it again and again, and find nothing."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 100, 100_000)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
