"""One step of Adam (Kingma and Ba 2015, algorithm 1) or AdamW (Loshchilov and Hutter 2019, algorithm 2), in fp32.

apex reaches it by two doors: apex.optimizers.FusedAdam and amp_C.multi_tensor_adam.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def adam_step(
    lists: Sequence[Sequence[Tensor]],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    step: int,
    decoupled: bool,
    bias_correction: bool,
    weight_decay: float,
) -> None:
    """`lists`: gradients, parameters and the two moments. decoupled is AdamW; otherwise the decay joins the gradient."""
    beta1, beta2 = betas
    first = 1 - beta1**step if bias_correction else 1.0
    second = 1 - beta2**step if bias_correction else 1.0
    for gradient, parameter, mean, square in zip(*lists):  # noqa: B905  # Python 3.9 has no `strict`
        g, p = gradient.float(), parameter.float()
        if not decoupled:
            g = g + weight_decay * p
        mean.copy_(beta1 * mean.float() + (1 - beta1) * g)
        square.copy_(beta2 * square.float() + (1 - beta2) * g * g)
        update = (mean.float() / first) / ((square.float() / second).sqrt() + eps)
        if decoupled:
            update = update + weight_decay * p
        parameter.copy_(p - lr * update)
