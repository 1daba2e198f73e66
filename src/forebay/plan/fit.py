"""The one scalar of a calibration: how much longer a chip's kernels take in a long job than alone.

Asked:  a few runs were measured. By which factor must the kernels' seconds be stretched so that steps come out right?
Answer: of one's own runs, the factor at which the median of measured over predicted is 1 (`factor`). Of others' runs, whose
        recipes are known in part, the likeliest one (`likeliest`): a run says as much as it feels of the factor, what lies far
        off counts no more than what lies SPREAD off, and few runs move it less far from what holds for most chips than many.
        One factor a chip, number format and release; what is not a kernel (transfers, waiting, launches) isn't stretched.
Units:  none; seconds.
Limits: a factor says nothing of why. It holds for its release (notes on releases: 2 to 7 % from one to the next).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

# Without any measured run. Sustained matrix products take 1.06 to 1.20 times as long as burst ones (plan/data/kernels/README.md);
# gaps between kernels and what no table times come on top.
UNCALIBRATED = 1.2
LOW, HIGH = 0.6, 4.0
APART = 0.15  # how far, in logarithms, the factors of chips and releases lie from UNCALIBRATED: two of three within
SPREAD = 0.10  # the same of a model's run from what the others' factor says

Predicted = Callable[[float], Sequence[float]]
"""Seconds of each run at a factor; they rise with it."""


def factor(predicted: Predicted, measured: Sequence[float]) -> float:
    """The factor at which the median run comes out right."""
    truth = np.asarray(measured, dtype=np.float64)
    return _found(lambda slower: float(np.median(truth / np.asarray(predicted(slower)))) - 1.0)


def likeliest(predicted: Predicted, measured: Sequence[float]) -> float:
    """The factor that the runs, and what is usual, make the likeliest: Huber's estimate (1964) with a normal prior."""
    truth = np.asarray(measured, dtype=np.float64)

    def pull(slower: float) -> float:
        here, beyond = np.asarray(predicted(slower)), np.asarray(predicted(slower * 1.02))
        felt: NDArray[np.float64] = np.log(beyond / here) / np.log(1.02)  # 0: nothing of the run is stretched
        runs = felt * np.clip(np.log(truth / here) / SPREAD, -1.0, 1.0) / SPREAD
        return float(np.sum(runs)) - float(np.log(slower / UNCALIBRATED)) / APART**2

    return _found(pull)


def _found(pull: Callable[[float], float]) -> float:
    """Where a pull that falls with the factor is zero, by bisection."""
    low, high = LOW, HIGH
    for _ in range(24):
        middle = (low * high) ** 0.5
        if pull(middle) > 0.0:
            low = middle
        else:
            high = middle
    return float((low * high) ** 0.5)
