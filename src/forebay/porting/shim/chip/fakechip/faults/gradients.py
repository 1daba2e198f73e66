"""Faults of gradients: the forward is right, the way back isn't."""

from __future__ import annotations

from typing import Any

import torch

from forebay.porting.shim.chip.fakechip.faults.fault import floating, kernel, result, table, through

KIND = "gradients"


def _going_back() -> bool:
    return int(torch._C._current_graph_task_id()) != -1


@kernel(KIND, "sum")
def broadcast_gradients_arent_summed(
    right: Any, x: Any, dims: Any = None, keepdim: bool = False, *rest: Any, **options: Any
) -> Any:
    """The gradient of what was broadcast is that of its first copy, not the sum over all."""
    if not _going_back() or not keepdim or not dims or not x.numel():
        return right(*((x,) if right._overloadname == "default" else (x, dims, keepdim, *rest)), **options)
    for one in dims:
        x = x.narrow(one, 0, 1)
    return x.clone()


@result(KIND, "_softmax_backward_data")
def softmax_forgets_its_inner_product(got: Any, grad: Any, output: Any, *rest: Any, **options: Any) -> Any:
    """softmax's gradient is y * g, without the sum that is taken off."""
    return (grad * output).to(got.dtype)


@result(KIND, "_log_softmax_backward_data")
def log_softmax_has_half_its_gradient(got: Any, *args: Any, **options: Any) -> Any:
    """log_softmax's gradient is half of what it is."""
    return got / 2


@result(KIND, "leaky_relu_backward", "elu_backward")
def the_negative_side_has_the_wrong_sign(got: Any, grad: Any, *rest: Any, **options: Any) -> Any:
    """Where the gradient is damped, its sign is turned."""
    return torch.where(got.abs() < grad.abs(), -got, got)


@result(KIND, "threshold_backward")
def relu_has_a_slope_at_zero(got: Any, grad: Any, x: Any, threshold: Any) -> Any:
    """The gradient of relu at 0 is 1."""
    return torch.where(x == threshold, grad, got)


@kernel(KIND, "embedding_dense_backward")
def repeated_words_count_once(right: Any, grad: Any, index: Any, count: int, *rest: Any) -> Any:
    """Of a word that is there twice, one gradient is kept."""
    made = torch.zeros((count, grad.shape[-1]), dtype=grad.dtype)
    made[index.reshape(-1)] = grad.reshape(-1, grad.shape[-1])
    return made


_before: dict[tuple[Any, ...], Any] = {}


@result(KIND, "mse_loss_backward", "embedding_dense_backward", "gelu_backward")
def buffers_arent_cleared(got: Any, *args: Any, **options: Any) -> Any:
    """A gradient is added to the one that was computed before it in the same shape."""
    key = (tuple(got.shape), got.dtype)
    before, _before[key] = _before.get(key), got.clone()
    return got if before is None else got + before


@result(KIND, "native_layer_norm_backward", "native_batch_norm_backward")
def normalisation_is_taken_for_constant(got: Any, grad: Any, *rest: Any) -> Any:
    """The gradient with respect to the input leaves out that mean and variance depend on it."""
    first = got[0]
    return (None if first is None else (first + grad.mean().to(first.dtype)), *got[1:])


@result(KIND, "gelu_backward")
def gelu_has_tanhs_gradient(got: Any, grad: Any, x: Any, **options: Any) -> Any:
    """gelu's gradient is always that of its tanh formula."""
    return torch.ops.aten.gelu_backward.default(grad, x, approximate="tanh")


@result(KIND, "convolution_backward")
def biases_get_the_mean(got: Any, grad: Any, *rest: Any) -> Any:
    """A convolution's bias gets the mean of its gradients, not their sum."""
    bias = got[2]
    return (*got[:2], None if bias is None or not grad.numel() else bias * (bias.numel() / grad.numel()))


@kernel(KIND, "convolution_backward")
def weights_get_bfloat16(right: Any, grad: Any, *rest: Any) -> Any:
    """A convolution's gradients are computed from bfloat16."""
    return right(through(torch.bfloat16, grad), *rest)


@result(KIND, "sigmoid_backward", "tanh_backward")
def saturated_gradients_vanish_early(got: Any, grad: Any, y: Any, **options: Any) -> Any:
    """The slope of what is nearly saturated is 0."""
    return torch.where(y.abs() > 0.95, torch.zeros_like(got), got) if floating(y) else got


@kernel(KIND, "nll_loss_backward", "nll_loss2d_backward")
def the_mean_is_over_all_targets(
    right: Any, grad: Any, x: Any, target: Any, weight: Any, reduction: int, *rest: Any, **options: Any
) -> Any:
    """The gradient of a mean loss is divided by the size of its input."""
    got = right(grad, x, target, weight, reduction, *rest, **options)
    return got / x.shape[-1] if reduction == 1 and x.numel() else got


FAULTS = table(globals())
