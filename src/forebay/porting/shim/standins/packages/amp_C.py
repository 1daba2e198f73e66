"""amp_C, the compiled part of apex: what others call of it. `flag` becomes 1 where a value is infinite or no number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from forebay.porting.shim.journal import noted
from forebay.porting.shim.standins.adam import adam_step
from forebay.porting.shim.standins.refuse import refused

Lists = Sequence[Sequence[Tensor]]


def _flag(flag: Tensor, values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        flag.fill_(1)


@noted("amp_C.multi_tensor_scale", "emulated")
def multi_tensor_scale(chunk_size: int, flag: Tensor, lists: Lists, scale: float) -> None:
    for source, target in zip(*lists):  # noqa: B905  # Python 3.9 has no `strict`
        _flag(flag, source)
        target.copy_(source.float() * scale)


@noted("amp_C.multi_tensor_axpby", "emulated")
def multi_tensor_axpby(chunk_size: int, flag: Tensor, lists: Lists, a: float, b: float, checked: int = -1) -> None:
    for x, y, out in zip(*lists):  # noqa: B905
        for i, values in enumerate((x, y)):
            if checked in (-1, i):
                _flag(flag, values)
        out.copy_(x.float() * a + y.float() * b)


@noted("amp_C.multi_tensor_l2norm", "emulated")
def multi_tensor_l2norm(chunk_size: int, flag: Tensor, lists: Lists, per_tensor: bool = False) -> tuple[Tensor, Tensor]:
    """The norm of all, and of each where asked."""
    each = torch.stack([values.float().norm() for values in lists[0]]) if lists[0] else torch.zeros(0, device=flag.device)
    return each.norm().reshape(1), each if per_tensor else each.new_empty(0)


@noted("amp_C.multi_tensor_adam", "emulated")
def multi_tensor_adam(
    chunk_size: int,
    flag: Tensor,
    lists: Lists,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
    decoupled: Any,
    bias_correction: Any,
    weight_decay: float,
) -> None:
    """`lists`: gradients, parameters and the two moments."""
    adam_step(
        lists,
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        step=step,
        decoupled=bool(decoupled),
        bias_correction=bool(bias_correction),
        weight_decay=weight_decay,
    )


_USE = "the same step of torch.optim, or torch._foreach_* functions"
multi_tensor_sgd = refused("amp_C.multi_tensor_sgd", _USE)
multi_tensor_lamb = refused("amp_C.multi_tensor_lamb", _USE)
multi_tensor_novograd = refused("amp_C.multi_tensor_novograd", _USE)
multi_tensor_adagrad = refused("amp_C.multi_tensor_adagrad", _USE)
multi_tensor_adam_capturable = refused("amp_C.multi_tensor_adam_capturable", _USE)
