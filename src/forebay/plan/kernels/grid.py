"""A measured table as a grid, read between its points.

Asked:  a kernel was timed at a few sizes. What does it take at another?
Answer: the logarithm of its time, linear between the points in the logarithms of its sizes. Between two points the rate then
        follows a power law, which is how rates grow with size until they are flat. Beyond the largest size the rate stays what
        it is there: the time grows by the work (attention's by the square of the tokens). Below the smallest size the time
        stays: it is what a launch takes.
Units:  seconds; sizes in elements.
Limits: what lies between two points is smooth here; real kernels show steps of whole tiles (up to 10 %).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Log-times over the product of its axes."""

    axes: tuple[Floats, ...]  # logarithms of sizes, rising
    log_s: NDArray[np.float32]  # as many dimensions as axes
    powers: tuple[float, ...] = ()  # with which power of a size the work grows; (): with the size itself

    def seconds(self, *sizes: Any) -> Floats:
        """Time at these sizes (arrays that broadcast)."""
        places = [_place(axis, np.log(np.asarray(size, dtype=np.float64))) for axis, size in zip(self.axes, sizes, strict=True)]
        shape = np.broadcast_shapes(*(low.shape for low, _, _ in places))
        total = np.zeros(shape)
        for corner in range(1 << len(places)):
            weight: Any = 1.0
            index = []
            for axis, (low, share, _) in enumerate(places):
                high = corner >> axis & 1
                index.append(low + high)
                weight = weight * (share if high else 1.0 - share)
            total += weight * self.log_s[tuple(index)]
        for (_, _, over), power in zip(places, self.powers or (1.0,) * len(places), strict=True):
            total += power * over
        return np.exp(total)


def _place(axis: Floats, at: Floats) -> tuple[NDArray[np.intp], Floats, Floats]:
    """The point below, the share of the way to the next, and by how much (in logarithms) the size lies beyond the last."""
    inside = np.clip(at, axis[0], axis[-1])
    low = np.clip(np.searchsorted(axis, inside, side="right") - 1, 0, len(axis) - 2)
    return low, (inside - axis[low]) / (axis[low + 1] - axis[low]), np.maximum(at - axis[-1], 0.0)


@cache
def stored(name: str) -> Any:
    """The packed tables of that name: a mapping of members, each read on first use."""
    return np.load(resources.files("forebay.plan") / "data" / "kernels" / f"{name}.npz")  # type: ignore[arg-type]


@cache
def members(name: str) -> frozenset[str]:
    return frozenset(stored(name).files)


def risen(one: Grid) -> Grid:
    """The grid of products as a long job meets them: none runs at a lower rate than a smaller one.

    Timed in a loop by itself, a large product runs into the card's power limit where a small one doesn't (A100: 265 TFLOP/s at
    8,192 rows, 245 at 16,384), and a size that suits no kernel of the library falls below its neighbours. In a job the limit
    follows the mean power and slows all sizes: that is the scalar's (`plan/fit.py`), and would be counted twice.
    """
    work = sum(axis.reshape([-1 if i == at else 1 for i in range(len(one.axes))]) for at, axis in enumerate(one.axes))
    rate = np.asarray(work) - one.log_s
    for at in range(len(one.axes)):
        rate = np.maximum.accumulate(rate, axis=at)
    return Grid(one.axes, (work - rate).astype(np.float32), one.powers)


@cache
def grid(name: str, member: str, axes: int, powers: tuple[float, ...] = ()) -> Grid:
    """A grid of the packed tables: MEMBER holds log-seconds, MEMBER/0, MEMBER/1 ... the sizes of its axes."""
    file = stored(name)
    logs = tuple(np.log(file[f"{member}/{axis}"].astype(np.float64)) for axis in range(axes))
    return Grid(logs, file[member], powers)


def filled(log_s: NDArray[np.float32], axes: tuple[Floats, ...]) -> NDArray[np.float32]:
    """The table without holes: a hole takes its nearest neighbour's rate along the axis where one is nearest."""
    out = log_s.copy()
    while np.isnan(out).any():
        before = out.copy()
        for place in np.argwhere(np.isnan(before)):
            best = None
            for axis, size in enumerate(axes):
                for step in (-1, 1):
                    near = list(place)
                    near[axis] += step
                    if 0 <= near[axis] < len(size) and not np.isnan(before[tuple(near)]):
                        away = size[place[axis]] - size[near[axis]]
                        if best is None or abs(away) < abs(best[0]):
                            best = (away, before[tuple(near)] + away)
            if best is not None:
                out[tuple(place)] = best[1]
    return out
