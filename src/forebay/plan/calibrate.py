"""An operator's own runs become calibrations.

Asked:  these runs were measured. By how much longer do kernels take here than alone, and how far off are predictions then?
Answer: one factor a chip, number format and release (`fit.factor`), at which the median run comes out right; the errors with it
        and without are beside it. What isn't a kernel isn't stretched.
Units:  seconds a step; errors are shares of the measured step.
Limits: the error afterwards is of the runs that were fitted; on others it is larger. Runs whose chip or plan the planner can't
        price are left out, counted by reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forebay.errors import BadInput, ForebayError
from forebay.plan.calibration import Calibration
from forebay.plan.cuts import cuts
from forebay.plan.fit import HIGH, LOW, factor
from forebay.plan.framework import framework
from forebay.plan.kernels.known import LIKE
from forebay.plan.knowledge import known
from forebay.plan.measured import Run
from forebay.plan.model import Workload
from forebay.plan.plan import Plan
from forebay.plan.pool import Cards
from forebay.plan.time import step

Floats = NDArray[np.float64]
FACTORS: Floats = np.geomspace(LOW, HIGH, 17)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """One calibration, with how far its runs were off before and are after."""

    calibration: Calibration
    runs: int
    before: float  # mean absolute error, with what was known until now
    after: float  # with the new factor, on the same runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measured step of a plan that can be priced."""

    work: Workload
    plan: Plan
    cards: Cards
    software: str
    release: str
    seconds: float


def measured(run: Run) -> Measured:
    return Measured(
        work=run.workload, plan=run.plan, cards=run.cards, software=run.framework, release=run.release, seconds=run.seconds
    )


def fit(runs: Sequence[Measured], day: str, command: str) -> tuple[tuple[Fitted, ...], dict[str, int]]:
    """A calibration for each chip, format and release; and how many runs were left out, by reason."""
    groups: dict[tuple[str, str, str], list[_Priced]] = defaultdict(list)
    left: dict[str, int] = defaultdict(int)
    alike: dict[tuple[Workload, Cards, str], list[Measured]] = defaultdict(list)
    for run in runs:
        alike[run.work, run.cards, run.software].append(run)
    for members in alike.values():
        try:
            priced = _priced(members)
        except ForebayError as error:
            left[error.text] += len(members)
            continue
        for one in priced:
            form = LIKE.get(one.run.work.number_format, one.run.work.number_format)
            groups[(one.run.cards.chip, form, one.run.release)].append(one)
    found = []
    for key, group in sorted(groups.items()):
        try:
            found.append(_fitted(key, group, day, command))
        except BadInput as error:
            if len(groups) == 1:
                raise
            left[f"{error.text} ({', '.join(key)}: {error.found})"] += len(group)
    return tuple(found), dict(left)


@dataclass(frozen=True, slots=True)
class _Priced:
    """A run with its predicted seconds: as is known until now, and at each of FACTORS."""

    run: Measured
    before: float
    table: Floats


def _fitted(key: tuple[str, str, str], group: list[_Priced], day: str, command: str) -> Fitted:
    chip, form, release = key
    truth = np.array([one.run.seconds for one in group])

    def predicted(slower: float) -> list[float]:
        return [float(np.interp(slower, FACTORS, one.table)) for one in group]

    before = np.array([one.before for one in group])
    slower = factor(predicted, [float(one) for one in truth])
    if not LOW * 1.01 < slower < HIGH * 0.99:
        raise BadInput(
            "No sensible factor explains these runs.",
            asked=f"{chip}, {form}, {release}",
            found=f"measured {float(np.median(truth / before)):.2f} times what is expected",
            hint="check the seconds, the batch and the plan",
        )
    after = np.array(predicted(slower))
    made = Calibration(
        subject=chip,
        measured=day,
        software={"release": release},
        figures={f"slower_{form}": round(slower, 4), "runs": float(len(group))},
        command=command,
    )
    return Fitted(
        calibration=made,
        runs=len(group),
        before=float(np.mean(np.abs(before / truth - 1))),
        after=float(np.mean(np.abs(after / truth - 1))),
    )


def _priced(runs: list[Measured]) -> list[_Priced]:
    """Runs of one workload, software and kind of cards at all factors in one go: a price is many small operations on arrays, and
    takes as long for one entry as for hundreds.
    """
    first = runs[0]
    site = known(first.cards, first.work.number_format, framework(first.software)).site
    factors = np.append(FACTORS, site.slower)
    plans = cuts([run.plan for run in runs for _ in factors])
    found = step(first.work, replace(site, slower=np.tile(factors, len(runs))), plans).total.reshape(len(runs), -1)
    return [_Priced(run, float(row[-1]), row[:-1]) for run, row in zip(runs, found, strict=True)]
