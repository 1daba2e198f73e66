"""The one scalar of a calibration: how much longer a chip's kernels take in a long job than alone.

Asked:  a few runs were measured. By which factor must the kernels' seconds be stretched so that steps come out right?
Answer: the factor at which the median of measured over predicted is 1. One factor a chip, number format and release; what is not
        a kernel (transfers, waiting, launches) isn't stretched. The spread of what is left gives the interval. Runs that mostly
        wait for their host feel the factor little, and one that fits them would be anything: they aren't asked.
Units:  none; seconds.
Limits: a factor says nothing of why. It holds for its release (notes on releases: 2 to 7 % from one to the next).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

# Without any measured run. Sustained matrix products take 1.06 to 1.20 times as long as burst ones (plan/data/kernels/README.md);
# gaps between kernels and what no table times come on top.
UNCALIBRATED = 1.2
LOW, HIGH = 0.6, 4.0
TELLING = 0.5  # a run tells of kernels if it feels the factor at least this share as much as the run that feels it most


def factor(predicted: Callable[[float], Sequence[float]], measured: Sequence[float]) -> float:
    """The factor, by bisection: predicted(factor) rises with it. Both in seconds, one entry a run."""
    truth = np.asarray(measured, dtype=np.float64)
    felt = np.asarray(predicted(UNCALIBRATED * 1.02)) / np.asarray(predicted(UNCALIBRATED)) - 1.0
    tell = felt >= felt.max() * TELLING
    low, high = LOW, HIGH
    for _ in range(24):
        middle = (low * high) ** 0.5
        if float(np.median((truth / np.asarray(predicted(middle)))[tell])) > 1.0:
            low = middle
        else:
            high = middle
    return float((low * high) ** 0.5)
