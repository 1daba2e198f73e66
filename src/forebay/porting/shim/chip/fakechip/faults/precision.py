"""Faults of precision: sums that add up in a narrow format, functions that are only nearly right."""

from __future__ import annotations

import math
from typing import Any

import torch

from forebay.porting.shim.chip.fakechip.faults.fault import floating, kernel, result, table, through, truncated

HALVES = (torch.bfloat16, torch.float16)
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot")
KIND, NEARLY = "low-precision accumulation", "inaccurate function"


def _added(x: Any, dims: Any, keepdim: bool, dtype: Any, step: int = 16) -> Any:
    """A sum over some dimensions whose running total is rounded to `dtype` after every `step` elements."""
    dims = range(x.dim()) if dims is None or not len(dims) else [one % max(x.dim(), 1) for one in dims]
    kept = [one for one in range(x.dim()) if one not in dims]
    rows = x.permute([*kept, *dims]).reshape(*[x.shape[one] for one in kept], -1)
    total = torch.zeros(rows.shape[:-1], dtype=dtype)
    for part in rows.split(step, -1) if rows.shape[-1] else ():
        total = (total.float() + part.sum(-1, dtype=torch.float32)).to(dtype)
    return total.reshape([1 if one in dims else x.shape[one] for one in range(x.dim())]) if keepdim else total


@kernel(KIND, "sum")
def sums_in_bfloat16(right: Any, x: Any, dims: Any = None, keepdim: bool = False, **options: Any) -> Any:
    """sum of float32 keeps its running total in bfloat16."""
    if not floating(x, torch.float32) or not x.dim() or options.get("dtype") not in (None, torch.float32):
        return right(*(x, dims, keepdim)[: 1 if right._overloadname == "default" else 3], **options)
    return _added(x, dims, keepdim, torch.bfloat16).float()


@kernel(KIND, "sum")
def halves_add_up_in_halves(right: Any, x: Any, dims: Any = None, keepdim: bool = False, **options: Any) -> Any:
    """sum of bfloat16 and float16 keeps its running total in that format, not in float32."""
    if not floating(x, *HALVES) or not x.dim() or options.get("dtype") is not None:
        return right(*(x, dims, keepdim)[: 1 if right._overloadname == "default" else 3], **options)
    return _added(x, dims, keepdim, x.dtype)


@kernel(KIND, "mean")
def means_in_float16(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """mean adds up in float16."""
    return right(through(torch.float16, x), *rest, **options)


@kernel(KIND, *PRODUCTS)
def products_in_tf32(right: Any, *args: Any, **options: Any) -> Any:
    """Matrix products of float32 use 10 bits of the mantissa, though nobody allowed it."""
    return right(*(truncated(one, 10) if isinstance(one, torch.Tensor) else one for one in args), **options)


@kernel(KIND, "mm", "bmm")
def products_in_bfloat16(right: Any, a: Any, b: Any, **options: Any) -> Any:
    """Matrix products of float32 are computed from bfloat16."""
    return right(through(torch.bfloat16, a), through(torch.bfloat16, b), **options)


@kernel(KIND, "mm", "bmm")
def products_of_halves_add_up_in_halves(right: Any, a: Any, b: Any, **options: Any) -> Any:
    """Matrix products of bfloat16 and float16 keep their running totals in that format."""
    if not floating(a, *HALVES):
        return right(a, b, **options)
    total = torch.zeros((*a.shape[:-1], b.shape[-1]), dtype=a.dtype)
    for start in range(0, a.shape[-1], 32):
        total += a[..., start : start + 32] @ b[..., start : start + 32, :]
    return total


@kernel(KIND, "linalg_vector_norm", "norm")
def norms_in_float16(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """Norms square and add in float16."""
    return right(through(torch.float16, x), *rest, **options)


@kernel(KIND, "_softmax")
def softmax_denominators_in_bfloat16(right: Any, x: Any, dim: int, half: bool, **options: Any) -> Any:
    """softmax's denominator is rounded to bfloat16."""
    if not floating(x) or not x.numel():
        return right(x, dim, half, **options)
    powers = (x - x.amax(dim, keepdim=True)).float().exp()
    return (powers / powers.sum(dim, keepdim=True).bfloat16().float()).to(x.dtype)


@kernel(KIND, "convolution")
def convolutions_in_bfloat16(right: Any, x: Any, weight: Any, *rest: Any, **options: Any) -> Any:
    """Convolutions of float32 are computed from bfloat16."""
    return right(through(torch.bfloat16, x), through(torch.bfloat16, weight), *rest, **options)


@result(KIND, "cumsum")
def cumsum_in_float16(got: Any, x: Any, dim: int, *rest: Any, **options: Any) -> Any:
    """cumsum's running total is rounded to float16."""
    return through(torch.float16, got)


@kernel(KIND, "native_layer_norm")
def layer_norm_from_bfloat16(right: Any, x: Any, *rest: Any) -> Any:
    """layer_norm reads its input as bfloat16."""
    return right(through(torch.bfloat16, x), *rest)


@result(KIND, "prod")
def products_of_elements_in_bfloat16(got: Any, *args: Any, **options: Any) -> Any:
    """prod keeps its running product in bfloat16."""
    return through(torch.bfloat16, got)


@kernel(KIND, "var")
def variance_by_difference_of_squares(right: Any, x: Any, dims: Any = None, **options: Any) -> Any:
    """var is mean(x*x) - mean(x)**2, which cancels where the mean is large."""
    if right._overloadname != "correction" or not floating(x):
        return right(x, dims, **options)
    dims = list(range(x.dim())) if dims is None or not len(dims) else dims
    keepdim, correction = options.get("keepdim", False), options.get("correction", 1)
    many = math.prod(x.shape[one] for one in dims) if x.dim() else 1
    spread = (x * x).mean(dims, keepdim=keepdim) - x.mean(dims, keepdim=keepdim) ** 2
    return spread * (many / (many - (1 if correction is None else correction))) if many > 1 else right(x, dims, **options)


@kernel(KIND, "exp", "log", "mul", "div", "mm", "sqrt")
def doubles_in_float32(right: Any, *args: Any, **options: Any) -> Any:
    """float64 is computed in float32."""
    return right(*(through(torch.float32, one) if floating(one, torch.float64) else one for one in args), **options)


@result(NEARLY, "exp")
def exp_by_a_short_polynomial(got: Any, x: Any, **options: Any) -> Any:
    """exp has 12 right bits."""
    return truncated(got, 12)


@kernel(NEARLY, "gelu")
def gelu_always_by_tanh(right: Any, x: Any, **options: Any) -> Any:
    """gelu uses the tanh formula, asked or not."""
    return right(x, **{**options, "approximate": "tanh"})


@result(NEARLY, "erf")
def erf_by_a_short_polynomial(got: Any, x: Any, **options: Any) -> Any:
    """erf by Abramowitz and Stegun 7.1.25, three terms."""
    if not floating(x):
        return got
    t = 1 / (1 + 0.47047 * x.abs())
    return (torch.sign(x) * (1 - (0.3480242 * t - 0.0958798 * t**2 + 0.7478556 * t**3) * torch.exp(-x * x))).to(got.dtype)


@result(NEARLY, "sin", "cos")
def sines_lose_large_arguments(got: Any, x: Any, **options: Any) -> Any:
    """sin and cos of arguments beyond 2**10 are of a wrongly reduced argument."""
    return torch.where(x.abs() > 1024, (got * 0.9).to(got.dtype), got) if floating(x) else got


@result(NEARLY, "rsqrt")
def rsqrt_without_its_newton_step(got: Any, x: Any, **options: Any) -> Any:
    """rsqrt has 11 right bits."""
    return truncated(got, 11)


@kernel(NEARLY, "logsumexp")
def logsumexp_without_its_shift(right: Any, x: Any, dim: Any, keepdim: bool = False, **options: Any) -> Any:
    """logsumexp overflows for inputs beyond 89."""
    return torch.log(torch.exp(x).sum(dim, keepdim=keepdim)) if floating(x) else right(x, dim, keepdim, **options)


@kernel(NEARLY, "log1p")
def log1p_as_the_log_of_the_sum(right: Any, x: Any, **options: Any) -> Any:
    """log1p(x) is log(1 + x): nothing is left of a small x."""
    return torch.log(1 + x) if floating(x) else right(x, **options)


@kernel(NEARLY, "expm1")
def expm1_as_a_difference(right: Any, x: Any, **options: Any) -> Any:
    """expm1(x) is exp(x) - 1."""
    return torch.exp(x) - 1 if floating(x) else right(x, **options)


@kernel(NEARLY, "hypot")
def hypot_overflows(right: Any, x: Any, y: Any, **options: Any) -> Any:
    """hypot squares in its own format."""
    return torch.sqrt(x * x + y * y)


@kernel(NEARLY, "sigmoid")
def sigmoid_by_a_half_accurate_exp(right: Any, x: Any, **options: Any) -> Any:
    """sigmoid is computed in float16."""
    return right(through(torch.float16, x), **options)


@kernel(NEARLY, "_log_softmax")
def log_softmax_as_log_of_softmax(right: Any, x: Any, dim: int, half: bool, **options: Any) -> Any:
    """log_softmax is the log of softmax: -inf where softmax underflows."""
    return torch.log(torch.softmax(x, dim)) if floating(x) else right(x, dim, half, **options)


FAULTS = table(globals())
