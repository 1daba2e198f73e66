"""What states that are cut further than ZeRO 1 cost, micro-batch by micro-batch.

Asked:  gradients and weights that no card holds whole must travel for each micro-batch. How much of it does a step wait for?
Answer: transfers run a layer ahead of what computes, and nothing hides two transfers: what hides the last scatter and the first
        gather (`once`) is not counted again.
            ZeRO 3 alone    weights for each pass, gradients with each backward (Rajbhandari et al., arXiv 1910.02054, section 7)
            ZeRO 2 alone    gradients with each backward; FSDP2's lets gathered weights go after a backward
            in a pipeline   as torch.distributed.pipelining runs FSDP2 (`abilities`): gradients once, after the last backward;
                            ZeRO 3 gathers for each backward and for the forwards that fill the pipeline
Units:  seconds. Arrays have one entry a plan.
Limits: of what is hidden the framework's `disturbs` is still paid: transfers take units and bandwidth from the layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from forebay.plan.cuts import Cuts
from forebay.plan.passes import Site


def each_micro_batch(
    at: Site,
    cuts: Cuts,
    data: Any,
    last: Any,
    scatter: Any,
    weights: Any,
    stage: Any,
    micro: Any,
    late: Any,
    layers: Any,
) -> Any:
    """`data`, what a step does once, with what travels for each micro-batch; `last` is its part of the gradients, of which the
    backward of `late` micro-batches hides some.
    """
    piped, three = cuts.stages > 1, cuts.zero == 3

    def unhidden(travels: Any, behind: Any) -> Any:
        gone = np.maximum(travels / np.maximum(1.0, layers), travels - behind * stage)
        return np.maximum(gone, travels * at.framework.disturbs)

    alone = np.where(three, unhidden(micro * (2 * weights + scatter), micro),
                     data + unhidden((micro - 1) * (scatter + at.framework.regathers * weights), micro - 1))  # fmt: skip
    gathers = unhidden((micro + np.minimum(micro, cuts.stages)) * weights, micro - late * 2 / 3)
    return np.where(cuts.zero < 2, data, np.where(piped, np.where(three, last + gathers, data), alone))
