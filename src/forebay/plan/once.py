"""What a step does once: gradients and weights travel, and the optimizer runs.

Asked:  beside its micro-batches, what does a step take?
Answer: gradients are scattered behind the last backward passes and weights gathered behind the first forward passes (the
        distributed optimizer, ZeRO 1; Rajbhandari et al., arXiv 1910.02054); what doesn't fit behind them is waited for, and what
        does costs the layers a share. The optimizer reads and writes memory. ZeRO 2 and 3 by micro-batch: `sharded`.
Units:  seconds. Arrays have one entry a plan.
Limits: the last layer's gradients have nothing to hide behind.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from forebay.plan.cuts import Cuts
from forebay.plan.model import Workload
from forebay.plan.network import gather, nearer
from forebay.plan.passes import STREAM, Site
from forebay.plan.sharded import each_micro_batch
from forebay.units import GB

ADAM_BYTES = 30.0  # through memory for each weight: master, two moments and gradient read, three written, the 16-bit copy
# An optimizer in the host's memory (ZeRO-Offload, arXiv 2101.06840, section 3): gradients go down and weights come up over PCIe
# 4.0 or 5.0 x16, shared with nothing; each card has an eighth of what two sockets' memory carries. Both assumed.
HOST_LINK_BYTES_PER_S = 25 * GB
HOST_MEMORY_BYTES_PER_S = 30 * GB
SWEEP_BYTES = 10.0  # for each gradient: cleared, added to, and read for the norm


def held(work: Workload, cuts: Cuts) -> tuple[Any, Any]:
    """Weights on a card of the mean stage, before ZeRO: plain ones, and experts'."""
    m = work.model
    plain = m.layers * m.attention_parameters + (m.layers - m.expert_layers) * m.mlp_parameters
    plain = plain + m.expert_layers * m.shared_parameters
    routed = m.expert_layers * m.routed_parameters
    words = m.vocabulary * m.width * np.where((cuts.stages > 1) | m.tied_embeddings, 1, 2)
    return plain / (cuts.tensor * cuts.stages) + words / cuts.tensor, routed / (cuts.expert * cuts.expert_tensor * cuts.stages)


def once(work: Workload, at: Site, cuts: Cuts, stage: Any, micro: Any) -> tuple[Any, Any]:
    """What a step does once: gradients and weights that travel unhidden, and the optimizer."""
    m = work.model
    plain, routed = held(work, cuts)
    group, stride, copies = cuts.shards * cuts.context, cuts.tensor, cuts.replicas
    apart = np.where(cuts.stages_inner, cuts.stages, 1)  # ranks of other stages between those of neighbouring data ranks
    if cuts.stages_inner.any():
        stride = np.where(apart > 1, nearer(at.links, cuts.shards, apart, cuts.context, stride), stride)
    expert = np.maximum(1, cuts.expert * cuts.expert_tensor)
    own = np.maximum(1.0, group * cuts.tensor / expert)  # cards of one copy that have the same part of the same experts
    layers = m.layers / cuts.stages
    bytes_each = at.framework.gradient_bytes
    piped = cuts.stages > 1

    def travel(size: float) -> Any:
        a = gather(at.links, group, stride, plain * size)
        return a + gather(at.links, own, expert, routed * size)

    def summed(size: float) -> Any:
        """Each rank's part, over the copies (HSDP)."""
        a = gather(at.links, copies, cuts.tensor * group * apart, plain / group * size)
        return 2 * (a + gather(at.links, copies, expert * own, routed / own * size))

    # ZeRO 0 sums the gradients whole: a scatter and a gather of them. ZeRO 1 and 2 scatter gradients and gather weights.
    scatter, collect = travel(bytes_each), np.where(cuts.zero == 0, travel(bytes_each), travel(2.0))
    if (copies > 1).any():
        scatter = scatter + summed(bytes_each)
    forward, backward = stage / 3, stage * 2 / 3
    if at.framework.hides_data:
        # Hidden behind the last micro-batch's backward and the first one's forward pass; interleaved, a chunk's gradients are
        # done while the other chunks of p micro-batches still compute. The last layer's have nothing to hide behind.
        window = np.where(cuts.chunks > 1, np.minimum(cuts.stages, micro) * (1 - 1 / cuts.chunks), 1.0)
        # FSDP in a pipeline scatters when its stage has done its last backward (abilities.py): only other chunks hide it.
        late = np.where(piped & (cuts.zero >= 2) & (cuts.chunks == 1), 0.0, window)
        last = np.maximum(scatter / np.maximum(1.0, layers), scatter - late * backward)
        data = last + np.maximum(collect / np.maximum(1.0, layers), collect - window * forward)
        last = np.maximum(last, scatter * at.framework.disturbs)
        data = np.maximum(data, (scatter + collect) * at.framework.disturbs)
    else:
        last, late, data = scatter, np.zeros(len(cuts)), scatter + collect
    if (cuts.zero >= 2).any():
        data = each_micro_batch(at, cuts, data, last, scatter, travel(2.0), stage, micro, late, layers)
    shard = np.where(cuts.zero == 0, plain + routed, plain / np.maximum(1, group) + routed / own)
    swept = np.where((cuts.zero == 3) | ((cuts.zero == 2) & ~piped), shard, plain + routed)
    rate = STREAM * at.device.memory_bytes_per_s
    on_host = shard * (bytes_each + 2.0) / HOST_LINK_BYTES_PER_S + shard * ADAM_BYTES / HOST_MEMORY_BYTES_PER_S
    optimizer = swept * SWEEP_BYTES / rate + np.where(cuts.offload > 0, on_host, shard * ADAM_BYTES / rate)
    return data, optimizer
