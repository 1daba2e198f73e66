"""The one scalar of a calibration: how much longer a chip's kernels take in a long job than alone.

Asked:  a few runs were measured. By which factor must the kernels' seconds be stretched so that steps come out right?
Answer: the factor at which the median of measured over predicted is 1. One factor a chip, number format and release; what is not
        a kernel (transfers, waiting, launches) isn't stretched. The spread of what is left gives the interval.
Units:  none; seconds.
Limits: a factor says nothing of why. It holds for its release (notes on releases: 2 to 7 % from one to the next).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

# Without any measured run. Sustained matrix products take 1.06 to 1.20 times as long as burst ones (plan/data/kernels/README.md);
# gaps between kernels and what no table times come on top.
UNCALIBRATED = 1.2
LOW, HIGH = 0.5, 4.0

BELIEVED = 0.15  # how far, in logarithms, a chip's factor lies from UNCALIBRATED: two of three within
RUN = 0.1  # how far, in logarithms, a run lies from what its class's factor says


def factor(predicted: Callable[[float], Sequence[float]], measured: Sequence[float]) -> float:
    """The factor, by bisection: predicted(factor) rises with it. Both in seconds, one entry a run."""
    truth = np.asarray(measured, dtype=np.float64)
    low, high = LOW, HIGH
    for _ in range(24):
        middle = (low * high) ** 0.5
        here, beyond = (np.asarray(predicted(one)) for one in (middle, middle * 1.02))
        felt = np.log(beyond / here) / np.log(1.02)
        pull = np.sum(felt * np.clip(np.log(truth / here) / RUN, -1.0, 1.0)) / RUN
        if pull > np.log(middle / UNCALIBRATED) / BELIEVED**2:
            low = middle
        else:
            high = middle
    return float((low * high) ** 0.5)
