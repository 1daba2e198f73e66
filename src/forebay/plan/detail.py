"""All that is said of one choice: interval, rates, money, energy, where the seconds go, memory by stage.

Asked:  a plan with its seconds. What else would a person want to know before they take it?
Answer: a Choice, filled in. MFU counts each product once and attention in full, over the dense peaks of the cards it holds.
Units:  seconds, tokens a second, bytes, micro-units of the pool's currency, joules.
Limits: money and energy are of cards held, whatever they do; without a price or a power figure there is none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace

import numpy as np

from forebay.plan.calibration import Calibration
from forebay.plan.cuts import cuts
from forebay.plan.framework import Framework
from forebay.plan.knowledge import Known, known
from forebay.plan.memory import memory
from forebay.plan.model import Workload
from forebay.plan.plan import Choice, Plan
from forebay.plan.pool import Pool
from forebay.plan.time import Step, step

HOUR_S = 3600
TRILLION = 10**12


def detailed(
    work: Workload,
    pool: Pool,
    choice: Choice,
    software: Framework,
    calibrations: Iterable[Calibration] = (),
    imbalance: float = 1.0,
) -> Choice:
    """The choice with all its figures."""
    kinds = {name: known(one, work.number_format, software, calibrations, imbalance) for name, one in pool.by_kind.items()}
    plan, seconds = choice.plan, choice.seconds_a_step
    need = plan.need()
    parts = dict(choice.parts)
    if not parts:
        parts = breakdown(step(work, kinds[next(iter(need))].site, cuts([plan])))
    weakest = max((kinds[chip] for chip in need), key=_width)
    low, high = weakest.interval(seconds, work.model.experts is not None)
    peak = sum(kinds[chip].site.device.peak(work.number_format) * count for chip, count in need.items())
    stages = memory(work, plan)
    return replace(
        choice,
        low_s=low,
        high_s=high,
        tokens_per_s=work.tokens_a_step / seconds,
        mfu=work.flop / seconds / peak,
        parts=parts,
        memory=stages,
        memory_bytes=max(one.total for one in stages),
        **_money(work, pool, plan, seconds),  # type: ignore[arg-type]
        tier=f"{weakest.tier}: {weakest.said}" if weakest.said != weakest.tier else weakest.tier,
    )


def breakdown(found: Step) -> dict[str, float]:
    """Seconds by part, of a single plan, without the parts that are nothing."""
    parts = {one.name: float(np.squeeze(getattr(found, one.name))) for one in fields(Step)}
    return {name: seconds for name, seconds in parts.items() if seconds > 0}


def _width(knows: Known) -> float:
    low, high = knows.interval(1.0)
    return high - low


def _money(work: Workload, pool: Pool, plan: Plan, seconds: float) -> dict[str, object]:
    prices = {name: one.price_per_hour for name, one in pool.by_kind.items()}
    watts = {name: one.watts for name, one in pool.by_kind.items()}
    need = plan.need()
    cost: int | None = None
    joules: float | None = None
    if all(prices.get(chip) is not None for chip in need):
        cost = round(sum((prices[chip] or 0) * count for chip, count in need.items()) * seconds / HOUR_S)
    if all(watts.get(chip) is not None for chip in need):
        joules = sum((watts[chip] or 0.0) * count for chip, count in need.items()) * seconds
    return {
        "cost_a_step": cost,
        "cost_a_trillion_tokens": None if cost is None else round(cost * TRILLION / work.tokens_a_step),
        "currency": pool.currency if cost is not None else "",
        "joules_a_step": joules,
    }
