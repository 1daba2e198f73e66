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
from forebay.plan.layers import Site
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
    groups: dict[tuple[str, str, str], list[tuple[Measured, Site]]] = defaultdict(list)
    left: dict[str, int] = defaultdict(int)
    for run in runs:
        try:
            site = known(run.cards, run.work.number_format, framework(run.software)).site
            _seconds(run, site, site.slower)
        except ForebayError as error:
            left[error.text] += 1
            continue
        form = LIKE.get(run.work.number_format, run.work.number_format)
        groups[(run.cards.chip, form, run.release)].append((run, site))
    found = []
    for key, group in sorted(groups.items()):
        try:
            found.append(_fitted(key, group, day, command))
        except BadInput as error:
            if len(groups) == 1:
                raise
            left[f"{error.text} ({', '.join(key)}: {error.found})"] += len(group)
    return tuple(found), dict(left)


def _fitted(key: tuple[str, str, str], group: list[tuple[Measured, Site]], day: str, command: str) -> Fitted:
    chip, form, release = key
    truth = np.array([run.seconds for run, _ in group])
    table = _priced(group)

    def predicted(slower: float) -> list[float]:
        return [float(np.interp(slower, FACTORS, row)) for row in table]

    before = np.array([_seconds(run, site, site.slower) for run, site in group])
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


def _priced(group: list[tuple[Measured, Site]]) -> Floats:
    """Seconds of each run at each of FACTORS; runs of one workload on the same cards are priced together."""
    table = np.zeros((len(group), len(FACTORS)))
    alike: dict[tuple[Workload, Cards, str], list[int]] = defaultdict(list)
    for i, (run, _) in enumerate(group):
        alike[run.work, run.cards, run.software].append(i)
    for (work, _, _), members in alike.items():
        plans = cuts([group[i][0].plan for i in members])
        for at, slower in enumerate(FACTORS):
            table[members, at] = step(work, replace(group[members[0]][1], slower=float(slower)), plans).total
    return table


def _seconds(run: Measured, site: Site, slower: float) -> float:
    return float(np.squeeze(step(run.work, replace(site, slower=slower), cuts([run.plan])).total))
