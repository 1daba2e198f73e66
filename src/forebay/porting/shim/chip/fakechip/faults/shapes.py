"""Faults of shape and memory: strides, broadcasting, out=, in place, views, empty tensors, flags of reductions."""

from __future__ import annotations

from typing import Any

import torch

from forebay.porting.shim.chip.fakechip.bytes import device_of, to_chip, to_host
from forebay.porting.shim.chip.fakechip.faults.fault import call, floating, kernel, result, table

STRIDES, BROADCAST, OUT, ALIAS, EMPTY, FLAGS = (
    "strides",
    "broadcasting",
    "stale out",
    "aliases",
    "zero size",
    "flags of reductions",
)


def _packed(x: Any) -> Any:
    """What a kernel sees that knows no strides: the first bytes, in order, and zeros where its memory ends."""
    if not isinstance(x, torch.Tensor) or x.is_contiguous() or x.is_complex():
        return x
    held = torch.as_strided(x, (x.untyped_storage().nbytes() // x.element_size() - x.storage_offset(),), (1,))
    return torch.cat((held, held.new_zeros(x.numel())))[: x.numel()].view(x.shape)


@kernel(STRIDES, "neg", "cos", "erf", "floor")
def strides_are_ignored(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """A tensor that isn't contiguous is read as if it were."""
    return right(_packed(x), *rest, **options)


@kernel(STRIDES, "sum", "amax", "mean")
def reductions_ignore_strides(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """Reductions read a tensor that isn't contiguous as if it were."""
    return right(_packed(x), *rest, **options)


@call(STRIDES, "sqrt", "sigmoid")
def offsets_are_ignored(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """A tensor that begins inside its storage is read from the storage's beginning."""
    if device_of(x).type != "cpu" and x.storage_offset() and not options and x.is_contiguous():
        begin = torch.empty(0, dtype=x.dtype, device=device_of(x)).set_(x.untyped_storage(), 0, x.shape, x.stride())
        return right(begin, *rest)
    return right(x, *rest, **options)


@kernel(STRIDES, "mm", "bmm")
def transposed_factors_are_read_straight(right: Any, a: Any, b: Any, **options: Any) -> Any:
    """A transposed second factor is read in its storage's order."""
    turned = b.stride()[-2:] == (1, b.shape[-2]) and min(b.shape[-2:]) > 1
    return right(a, b.transpose(-1, -2).reshape(b.shape) if turned else b, **options)


@kernel(STRIDES, "clone")
def memory_formats_are_ignored(right: Any, x: Any, **options: Any) -> Any:
    """clone(memory_format=channels_last) is contiguous in the other order."""
    return right(x, **({"memory_format": torch.contiguous_format} if options.get("memory_format") else {}))


@kernel(BROADCAST, "add", "sub", "mul")
def a_column_is_read_as_a_row(right: Any, x: Any, y: Any, *rest: Any, **options: Any) -> Any:
    """A column of as many elements as the other has columns is taken for a row."""
    matrices = all(isinstance(one, torch.Tensor) and one.dim() == 2 for one in (x, y))
    if matrices and y.shape == (x.shape[1], 1) and y.shape[0] == x.shape[0] > 1:
        y = y.reshape(1, -1)
    return right(x, y, *rest, **options)


@kernel(BROADCAST, "div", "maximum", "where")
def repeated_elements_are_read_once(right: Any, *args: Any, **options: Any) -> Any:
    """An expanded argument is read as if its elements lay side by side."""
    return right(*(_packed(one) if isinstance(one, torch.Tensor) and 0 in one.stride() else one for one in args), **options)


@kernel(BROADCAST, "pow", "atan2", "fmod")
def scalars_in_tensors_count_once(right: Any, x: Any, y: Any, **options: Any) -> Any:
    """Of a tensor of no dimensions beside a larger one, the value is taken for 1."""
    lonely = isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor) and y.dim() == 0 and x.dim() > 0
    return right(x, torch.ones_like(y) if lonely else y, **options)


@kernel(OUT, "mul", "exp", "mm", "sum")
def out_is_added_to(right: Any, *args: Any, **options: Any) -> Any:
    """What lay in out= is added to the result."""
    out = options.get("out")
    before = out.clone() if isinstance(out, torch.Tensor) else None
    got = right(*args, **options)
    return got.add_(before) if before is not None and before.shape == got.shape and floating(got) else got


@call(OUT, "add", "abs", "cumsum", "cos")
def out_keeps_its_shape(right: Any, *args: Any, **options: Any) -> Any:
    """An out= of another shape isn't resized: its caller gets it back as it was."""
    out = options.get("out")
    if out is None:
        return right(*args, **options)
    made = right(*args, **{**options, "out": torch.empty(0, dtype=out.dtype, device=device_of(out))})
    return out.copy_(made) if made.shape == out.shape else out


@kernel(OUT, "sub", "log", "neg")
def out_is_half_written(right: Any, *args: Any, **options: Any) -> Any:
    """The second half of out= keeps what it held."""
    out = options.get("out")
    if not isinstance(out, torch.Tensor) or out.numel() < 2 or not out.is_contiguous():
        return right(*args, **options)
    before = out.clone()
    got = right(*args, **options)
    if got.shape == before.shape:
        got.view(-1)[got.numel() // 2 :] = before.view(-1)[got.numel() // 2 :]
    return got


@call(ALIAS, "add_", "relu_", "mul_", "exp_")
def in_place_gives_a_copy(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """The in-place form gives the result in a new tensor and leaves its own as it was."""
    copy = to_chip(to_host(x).clone(), device_of(x).index)
    return right(copy, *rest, **options)


@call(ALIAS, "unfold", "view_as_real", "as_strided")
def views_are_copies(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """A view has memory of its own: what is written through it is lost."""
    seen = right(x, *rest, **options)
    return to_chip(to_host(seen).clone(), device_of(x).index) if seen.numel() and not seen.is_conj() else seen


@call(ALIAS, "clone")
def clones_are_views(right: Any, x: Any, **options: Any) -> Any:
    """clone gives the same memory again."""
    return torch.ops.aten.alias.default(x) if x.is_contiguous() and not options.get("memory_format") else right(x, **options)


@kernel(ALIAS, "relu", "sigmoid", "abs")
def inputs_are_overwritten(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """The result is also left in the input."""
    got = right(x, *rest, **options)
    if got.shape == x.shape and got.dtype == x.dtype and 0 not in x.stride():
        x.copy_(got)
    return got


@result(EMPTY, "sum", "prod")
def nothing_adds_up_to_garbage(got: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """A reduction over nothing is 7."""
    return torch.full_like(got, 7) if not x.numel() else got


@kernel("refused", "cat")
def empty_parts_are_refused(right: Any, parts: Any, *rest: Any, **options: Any) -> Any:
    """cat raises where one of its parts is empty."""
    if any(not one.numel() for one in parts):
        raise RuntimeError("invalid configuration argument")
    return right(parts, *rest, **options)


@kernel(EMPTY, "mm", "bmm")
def products_over_nothing_are_garbage(right: Any, a: Any, b: Any, **options: Any) -> Any:
    """A product over no columns isn't filled with 0."""
    got = right(a, b, **options)
    return torch.full_like(got, 3) if a.shape[-1] == 0 else got


@result(FLAGS, "amax", "amin", "all", "any", "argmax")
def keepdim_is_ignored(got: Any, x: Any, dim: Any = None, keepdim: bool = False, **options: Any) -> Any:
    """keepdim=True reduces like False."""
    if not keepdim or not x.dim():
        return got
    dims = [dim] if isinstance(dim, int) else list(dim or range(x.dim()))
    return got.reshape([n for place, n in enumerate(x.shape) if place not in [one % x.dim() for one in dims]])


@kernel(FLAGS, "cumsum", "cumprod", "argmax", "sort", "_softmax")
def negative_dimensions_are_the_first(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """dim=-1 is taken for 0, in tensors of two dimensions or more."""
    rest = tuple(0 if number == 0 and type(one) is int and one < 0 and x.dim() > 1 else one for number, one in enumerate(rest))
    if options.get("dim", 0) is not None and options.get("dim", 0) < 0:
        options = {**options, "dim": 0}
    return right(x, *rest, **options)


@kernel(FLAGS, "sum", "mean", "amax")
def one_of_several_dimensions_is_reduced(right: Any, *args: Any, **options: Any) -> Any:
    """Of several dimensions the first is reduced, and of the others the first element is taken."""
    x, dims, keepdim = (*args, None, False)[:3] if len(args) < 3 else args[:3]
    if not isinstance(dims, (list, tuple)) or len(dims) < 2 or not x.numel() or options.get("out") is not None:
        return right(*args, **options)
    first, *others = (one % x.dim() for one in dims)
    got = right(x, [first], True, *args[3:], **options)
    for one in others:
        got = got.narrow(one, 0, 1)
    return got if keepdim is True else got.reshape([n for place, n in enumerate(x.shape) if place not in (first, *others)])


@kernel(FLAGS, "var", "std", "var_mean", "std_mean")
def bessels_correction_is_ignored(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """var and std divide by n - 1, whatever is asked."""
    return right(x, *rest, **({**options, "correction": 1} if "correction" in options else options))


@kernel(FLAGS, "linalg_vector_norm")
def every_norm_is_euclidean(right: Any, x: Any, order: Any = 2, *rest: Any, **options: Any) -> Any:
    """The order of a vector's norm is 2, whatever is asked."""
    return right(x, 2, *rest, **options)


FAULTS = table(globals())
