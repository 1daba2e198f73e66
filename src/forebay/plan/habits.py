"""The noun Habits: what a training framework keeps in memory, where frameworks differ.

Asked:  the same plan holds a fifth more with one software than with another. What must be known of it?
Answer: `HABITS` by the names of `plan/framework.py`; facts of usual settings, never fitted to a run.

Sources: Megatron-LM core 0.14 with Transformer Engine 2.11 (the main gradients of megatron/core/distributed, the empty weight
gradients that modules/_common.py of Transformer Engine keeps by shape, fused or plain cross entropy); torchtitan with FSDP2
(selective recompute saves every other matrix product, torchtitan/models/llama/parallelize_llama.py; loss in float32);
Megatron-LM of 2022 as counted by Korthikanti et al., arXiv 2205.05198, section 4; Megatron-DeepSpeed without flash attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from forebay.units import GIB, MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What differs in memory from one framework to the next. No speed, no version of kernels."""

    name: str
    flash: bool = True  # attention scores are never stored
    dropout: bool = False  # masks of the residual's dropouts, and of the scores', are stored
    every_other: bool = False  # selective recompute keeps every other matrix product, not all but the scores
    empty_gradients: bool = True  # an empty weight gradient of each shape stays allocated
    receives_all: bool = False  # a pipeline stage has a buffer for each micro-batch that it will receive, and keeps what it sent
    logit_bytes: int = 6  # of each logit of the last stage, at the loss
    pad_vocabulary: int = 128  # its multiple, times the tensor degree
    workspace_bytes: int = 128 * MIB  # of matrix libraries
    context_bytes: int = GIB  # the driver's, once
    group_bytes: int = 512 * MIB  # a communicator's buffers
    groups: int = 0  # communicators beside one for each degree above 1
    gradient_bytes: int = 4  # of the main gradients
    optimizer_bytes: int = 12  # a weight: the 32-bit copy and two moments
    eight_bit_weights: bool = False  # matrices in 8 bits have no 16-bit sisters
    eight_bit_inner: bool = False  # the input of an MLP's activation is kept in 8 bits too
    fragments: float = 0.05  # of activations and buffers, what the allocator holds beyond them


MEGATRON = Habits(name="megatron")
FSDP = Habits(
    name="torchtitan",
    every_other=True,
    empty_gradients=False,
    receives_all=True,  # torch/distributed/pipelining/stage.py: args_recv_info, grad_recv_info and fwd_cache, by micro-batch
    logit_bytes=12,
    pad_vocabulary=1,
    fragments=0.2,
)
HABITS: Mapping[str, Habits] = {
    one.name: one
    for one in (
        MEGATRON,
        Habits(name="megatron-lm"),
        Habits(name="megatron-2024", empty_gradients=False),
        Habits(name="megatron-2021", flash=False, dropout=True, empty_gradients=False),
        # NVIDIA's MLPerf submissions, as their memory and public hints suggest: gradients in bf16, 8-bit weights only, the gated
        # activation's input in 8 bits. Not read in their configuration.
        Habits(name="megatron-mlperf", logit_bytes=2, gradient_bytes=2, eight_bit_weights=True, eight_bit_inner=True),
        # Its grid of processes has groups of its own beside Megatron's, with buffers for every peer of a node.
        Habits(
            name="megatron-deepspeed",
            flash=False,
            dropout=True,
            empty_gradients=False,
            logit_bytes=16,  # logits and their gradient in 16 and in 32 bits, and their exponentials
            optimizer_bytes=14,  # with 32-bit copies of 16-bit gradients
            groups=2,
            group_bytes=GIB,
            fragments=0.15,
        ),
        Habits(name="jax", empty_gradients=False, pad_vocabulary=1),
        FSDP,
        # Its releases of 2025 compile the loss (components/loss.py): logits and their gradient in 16 bits, nothing in 32.
        replace(FSDP, name="torchtitan-2025", logit_bytes=4),
        Habits(name="fsdp", empty_gradients=False, logit_bytes=12, pad_vocabulary=1, fragments=0.2),
    )
}
