"""apex.amp: mixed precision by levels, over torch's autocast and casts.

Asked:  what initialize(model, optimizer, opt_level=...) and scale_loss mean
Answer: O0 is fp32. O1 casts by operator: torch's autocast for CUDA, on in this thread until the end, off while gradients are
        computed. O2 casts the model but for its batch norms, and steps on fp32 copies of the parameters. O3 casts all of it.
        The loss is scaled, its gradients are unscaled, and a step with an infinite gradient is left out (Micikevicius et al.
        2018, arXiv 1710.03740).
Limits: O1's list of operators is autocast's, which succeeded apex's and differs in a few. Threads that the script starts
        have no O1. register_*_function and half_function are refused.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from forebay.porting.shim.journal import note
from forebay.porting.shim.standins.refuse import refused

from .scaler import LossScaler, Masters

LEVELS = ("O0", "O1", "O2", "O3")
_scalers: list[LossScaler] = []
_level = "O0"


def initialize(
    models: Any,
    optimizers: Any = None,
    enabled: bool = True,
    opt_level: str = "O1",
    cast_model_type: Any = None,
    patch_torch_functions: Any = None,
    keep_batchnorm_fp32: Any = None,
    master_weights: Any = None,
    loss_scale: Any = None,
    cast_model_outputs: Any = None,
    num_losses: int = 1,
    verbosity: int = 1,
    min_loss_scale: float | None = None,
    max_loss_scale: float = 2.0**24,
) -> Any:
    """The same models and optimizers, made ready; in lists where lists were given."""
    global _level
    if opt_level not in LEVELS:
        raise RuntimeError(f"Unexpected optimization level {opt_level}. Options are {', '.join(map(repr, LEVELS))}.")
    note("apex.amp.initialize", "emulated")
    if not enabled:
        return models if optimizers is None else (models, optimizers)
    _level = opt_level
    dynamic = loss_scale == "dynamic" or (loss_scale is None and opt_level in ("O1", "O2"))
    scale = None if dynamic else float(loss_scale or 1.0)
    _scalers[:] = [LossScaler(scale, least=min_loss_scale, most=max_loss_scale) for _ in range(num_losses)]
    narrow = cast_model_type or torch.float16
    if opt_level == "O1":
        torch.set_autocast_enabled("cuda", True)
        torch.set_autocast_dtype("cuda", narrow)
        torch.set_autocast_cache_enabled(False)  # the cache is emptied at the end of a context, and this has none
    for model in _each(models):
        if opt_level in ("O2", "O3"):
            keep = opt_level == "O2" if keep_batchnorm_fp32 is None else keep_batchnorm_fp32 in (True, "True")
            _cast(model, narrow, keep)
            _cast_ends(model, narrow, cast_model_outputs or torch.float32)
    for optimizer in _each(optimizers):
        optimizer._amp = Masters(optimizer, master_weights if master_weights is not None else opt_level == "O2")
    return models if optimizers is None else (models, optimizers)


@contextlib.contextmanager
def scale_loss(
    loss: Any,
    optimizers: Any,
    loss_id: int = 0,
    model: Any = None,
    delay_unscale: bool = False,
    delay_overflow_check: bool = False,
) -> Iterator[Any]:
    """Gives the scaled loss, whose backward() the body calls; afterwards the gradients are the loss's own."""
    note("apex.amp.scale_loss", "emulated")
    if not _scalers:
        yield loss
        return
    scaler, masters = _scalers[loss_id], [optimizer._amp for optimizer in _each(optimizers)]
    for one in masters:
        one.put_aside()
    casting = torch.is_autocast_enabled("cuda")
    torch.set_autocast_enabled("cuda", False)
    try:
        yield loss.float() * scaler.scale
    finally:
        torch.set_autocast_enabled("cuda", casting)
    unscaled = [one.unscale(scaler.scale) for one in masters]
    finite = all(unscaled)
    scaler.update(finite)
    for one in masters:
        one.skip = one.skip or not finite


@contextlib.contextmanager
def disable_casts() -> Iterator[None]:
    with torch.autocast("cuda", enabled=False):
        yield


def master_params(optimizer: Any) -> Iterator[Any]:
    """The parameters that the optimizer steps on."""
    for group in optimizer.param_groups:
        yield from group["params"]


def state_dict(destination: Any = None) -> dict[str, Any]:
    found = {} if destination is None else destination
    for index, scaler in enumerate(_scalers):
        found[f"loss_scaler{index}"] = {"loss_scale": scaler.scale, "unskipped": scaler.unskipped}
    return found  # type: ignore[no-any-return]


def load_state_dict(saved: dict[str, Any]) -> None:
    for index, scaler in enumerate(_scalers):
        scaler.scale = saved[f"loss_scaler{index}"]["loss_scale"]
        scaler.unskipped = saved[f"loss_scaler{index}"]["unskipped"]


_USE = "torch.autocast, and torch.amp.custom_fwd for a function of your own"
half_function = refused("apex.amp.half_function", _USE)
float_function = refused("apex.amp.float_function", _USE)
promote_function = refused("apex.amp.promote_function", _USE)
register_half_function = refused("apex.amp.register_half_function", _USE)
register_float_function = refused("apex.amp.register_float_function", _USE)
register_promote_function = refused("apex.amp.register_promote_function", _USE)
init = refused("apex.amp.init", "apex.amp.initialize")


def _each(things: Any) -> list[Any]:
    if things is None:
        return []
    return list(things) if isinstance(things, (list, tuple)) else [things]


def _cast(model: nn.Module, narrow: torch.dtype, keep_batch_norms: bool) -> None:
    for module in model.modules():
        if keep_batch_norms and isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
            continue
        for values in (*module._parameters.values(), *module._buffers.values()):
            if values is not None and values.is_floating_point():
                values.data = values.data.to(narrow)


def _cast_ends(model: nn.Module, narrow: torch.dtype, wide: torch.dtype) -> None:
    real = model.forward

    @functools.wraps(real)
    def forward(*args: Any, **kwargs: Any) -> Any:
        return _to(real(*_to(args, narrow), **_to(kwargs, narrow)), wide)

    model.forward = forward  # type: ignore[method-assign]


def _to(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: _to(one, dtype) for name, one in value.items()}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(_to(one, dtype) for one in value)
    return value
