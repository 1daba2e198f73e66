"""The habits of engines, made anew of some models' runs: how far does it flatter to have chosen them with all runs in sight?

The time to first token is linear in four habits, so that each combination of a grid is priced by five runs of the planner. For
each engine and model the combination is taken that has the smallest median error on the *other* models' runs of that engine (on
all other models' where they are fewer than 20). Waves keep their share of the batch: that is how they are built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from serving_rows import Row

from forebay.plan.serving_load import Habits

DOORS_S = (0.01, 0.02, 0.03, 0.05, 0.07)
PASSES = (0.8, 1.0, 1.2, 1.4, 1.7)
TOGETHER = (0.05, 0.07, 0.08, 0.1, 0.12, 0.15)
HELD = (0.5, 1.0, 3.0, 6.0, 10.0, 15.0)
ENOUGH = 20
Array = NDArray[np.float64]
NONE = Habits(door_s=0.0, passes=0.0, together=0.0, held=0.0)
ONE = {
    "door_s": Habits(door_s=1.0, passes=0.0, together=0.0, held=0.0),
    "passes": Habits(door_s=0.0, passes=1.0, together=0.0, held=0.0),
    "together": Habits(door_s=0.0, passes=0.0, together=1.0, held=0.0),
    "held": Habits(door_s=0.0, passes=0.0, together=0.0, held=1.0),
}


def refitted(rows: Sequence[Row], first: Callable[[Habits], Array], true: Array) -> Array:
    """Seconds to first token of each row, with habits that its model had no part in. `first` prices all rows with some habits."""
    base = first(NONE)
    slopes = {name: first(one) - base for name, one in ONE.items()}
    waves = np.array([row.harness == "one length" and row.engine == "sglang" for row in rows])
    said = []
    for door, passes, together, held in product(DOORS_S, PASSES, TOGETHER, HELD):
        share = np.where(waves, 0.5, together)
        said.append(
            base + door * slopes["door_s"] + passes * slopes["passes"] + share * slopes["together"] + held * slopes["held"]
        )
    every = np.array(said)
    off = np.abs(every / true - 1)
    engines, models = np.array([row.engine for row in rows]), np.array([row.model.name for row in rows])
    out = np.zeros(len(rows))
    for engine, model in sorted(set(zip(engines, models, strict=True))):
        mine = (engines == engine) & (models == model)
        others = (engines == engine) & (models != model)
        if others.sum() < ENOUGH:
            others = models != model
        best = int(np.argmin(np.median(off[:, others], axis=1)))
        out[mine] = every[best, mine]
    return out
