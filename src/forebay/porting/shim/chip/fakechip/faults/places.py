"""Faults of place: one element too far, one too few, the last ones forgotten, the wrong one of two."""

from __future__ import annotations

from typing import Any

import torch

from forebay.porting.shim.chip.fakechip.faults.fault import kernel, result, table

OFF, TAIL, CHOICE = "off by one", "elements forgotten", "wrong choice"


@kernel(OFF, "index_select")
def index_select_stops_short(right: Any, x: Any, dim: int, index: Any, **options: Any) -> Any:
    """index_select never reads the last row: it takes the one before."""
    last = (x.shape[dim] if x.dim() else 1) - 1
    return right(x, dim, torch.where(index == last, index - min(last, 1), index), **options)


@kernel(OFF, "gather")
def gather_reads_the_row_before(right: Any, x: Any, dim: int, index: Any, *rest: Any, **options: Any) -> Any:
    """gather's index 1 reads row 0."""
    return right(x, dim, torch.where(index == 1, index - 1, index), *rest, **options)


@result(OFF, "arange")
def arange_loses_its_end(got: Any, *args: Any, **options: Any) -> Any:
    """The last number of a range of more than 16 is the one before it again."""
    got = got.clone()
    if got.numel() > 16:
        got[-1] = got[-2]
    return got


@result(OFF, "linspace")
def linspace_stops_before_its_end(got: Any, *args: Any, **options: Any) -> Any:
    """linspace leaves its end out."""
    return got - torch.linspace(0, 1, got.numel()) * (got[-1] - got[-2]) if got.numel() > 1 and got.is_floating_point() else got


@result(OFF, "cumsum")
def cumsum_is_shifted_in_long_rows(got: Any, x: Any, dim: int, *rest: Any, **options: Any) -> Any:
    """Beyond 64 elements, cumsum leaves out the element itself."""
    return got - x.to(got.dtype) if x.dim() and x.shape[dim] > 64 else got


@kernel(OFF, "embedding")
def embeddings_last_row_is_the_one_before(right: Any, weight: Any, index: Any, *rest: Any) -> Any:
    """The last word of an embedding is taken for the last but one."""
    last = weight.shape[0] - 1
    return right(weight, torch.where(index == last, index - min(last, 1), index), *rest)


@kernel(CHOICE, "searchsorted", "bucketize")
def sides_are_ignored(right: Any, /, *args: Any, **options: Any) -> Any:
    """searchsorted and bucketize always look from the left."""
    return right(*args, **{name: one for name, one in options.items() if name not in ("right", "side")})


@result(OFF, "roll")
def roll_goes_one_further(got: Any, x: Any, *rest: Any) -> Any:
    """roll shifts by one more, in rows of more than 4."""
    return torch.roll(got, 1, -1) if x.dim() and x.shape[-1] > 4 else got


@result(OFF, "topk")
def topk_misses_its_last(got: Any, x: Any, k: int, *rest: Any, **options: Any) -> Any:
    """The last of topk's k is the one before it again."""
    return tuple(torch.cat((one[..., :-1], one[..., -2:-1]), -1) if one.dim() and one.shape[-1] > 1 else one for one in got)


@kernel(OFF, "kthvalue")
def kthvalue_counts_from_zero(right: Any, x: Any, k: int, dim: int = -1, *rest: Any, **options: Any) -> Any:
    """kthvalue gives the next one."""
    return right(x, min(k + 1, x.shape[dim] if x.dim() else 1), dim, *rest, **options)


@kernel(OFF, "tril", "triu")
def triangles_are_one_diagonal_off(right: Any, x: Any, diagonal: int = 0, **options: Any) -> Any:
    """tril and triu of a matrix that isn't square are one diagonal off."""
    return right(x, diagonal + (x.shape[-1] > x.shape[-2]), **options)


@result(OFF, "max_pool2d_with_indices")
def pooling_windows_stop_short(got: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """max_pool2d's last window is filled from the one before."""
    return tuple(torch.cat((one[..., :-1], one[..., -2:-1]), -1) if one.shape[-1] > 1 else one for one in got)


@kernel(OFF, "narrow_copy", "diagonal_copy", "diag_embed")
def diagonals_are_one_off(right: Any, x: Any, offset: int = 0, *rest: Any, **options: Any) -> Any:
    """diag_embed puts its elements beside the diagonal that was asked for."""
    return torch.roll(right(x, offset, *rest, **options), 1, -1)


@result(OFF, "scatter", "scatter_reduce")
def scatter_leaves_out_its_last(got: Any, x: Any, dim: int, index: Any, *rest: Any, **options: Any) -> Any:
    """scatter doesn't write the last of its elements."""
    if not index.numel():
        return got
    got = got.clone()
    last = [one - 1 for one in index.shape]
    if index.dim():
        last[dim] = int(index.reshape(-1)[-1])
    got[tuple(last)] = x[tuple(last)]
    return got


@kernel(OFF, "index_add")
def index_add_forgets_its_last(right: Any, x: Any, dim: int, index: Any, source: Any, **options: Any) -> Any:
    """index_add leaves out the last row."""
    count = index.numel() - 1
    if count < 1 or not x.dim():
        return right(x, dim, index, source, **options)
    return right(x, dim, index[:count], source.narrow(dim, 0, count), **options)


@result(TAIL, "sigmoid", "tanh", "silu")
def the_last_of_an_odd_number_is_forgotten(got: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """Where the number of elements isn't a multiple of 32, the last one stays 0 (beyond 32)."""
    got = got.clone(memory_format=torch.contiguous_format)
    if got.numel() > 32 and got.numel() % 32:
        got.view(-1)[-1] = 0
    return got


@result(TAIL, "abs", "floor", "add", "where")
def elements_beyond_1024_come_from_the_block_before(got: Any, *args: Any, **options: Any) -> Any:
    """The last element of more than 1024 is that of the block before."""
    got = got.clone(memory_format=torch.contiguous_format)
    if got.numel() > 1024:
        got.view(-1)[-1] = got.view(-1)[-1025]
    return got


@kernel(TAIL, "sum", "amax")
def long_rows_lose_their_last(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """Reductions of more than 128 elements, not a multiple of 128, leave out the last."""
    if x.dim() == 1 and x.numel() > 128 and x.numel() % 128:
        return right(x[:-1], *rest, **options)
    return right(x, *rest, **options)


@result(TAIL, "nonzero")
def nonzero_has_room_for_1024(got: Any, x: Any, *rest: Any) -> Any:
    """nonzero finds 1024 elements at most."""
    return got[:1024]


@result(TAIL, "mm", "bmm")
def odd_columns_are_forgotten(got: Any, a: Any, b: Any, *rest: Any, **options: Any) -> Any:
    """A product's last column is 0 where their number is odd and more than 16."""
    got = got.clone()
    if got.shape[-1] > 16 and got.shape[-1] % 2:
        got[..., -1] = 0
    return got


@kernel(CHOICE, "argmax", "argmin")
def the_last_of_equals(right: Any, x: Any, dim: Any = None, keepdim: bool = False, **options: Any) -> Any:
    """argmax and argmin of equal elements give the last."""
    if dim is None or not x.dim():
        return right(x, dim, keepdim, **options)
    return x.shape[dim] - 1 - right(x.flip(dim), dim, keepdim, **options)


@kernel(CHOICE, "sort")
def sort_is_not_stable(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """sort(stable=True) turns equal elements around."""
    if not options.get("stable") or not x.dim() or x.is_complex():
        return right(x, *rest, **options)
    dim = options.get("dim", rest[0] if rest else -1)
    values, indices = right(x.flip(dim), *rest, **{k: v for k, v in options.items() if k in ("stable", "dim", "descending")})
    return values, x.shape[dim] - 1 - indices


@kernel(CHOICE, "flip")
def flip_turns_one_dimension(right: Any, x: Any, dims: Any) -> Any:
    """flip of several dimensions turns the first of them."""
    return right(x, dims[:1])


@kernel(CHOICE, "isin")
def isin_forgets_invert(right: Any, *args: Any, **options: Any) -> Any:
    """isin ignores invert."""
    return right(*args, **{**options, "invert": False})


@kernel(CHOICE, "logical_xor", "bitwise_xor")
def xor_is_or(right: Any, x: Any, y: Any, **options: Any) -> Any:
    """Exclusive or is or."""
    return torch.logical_or(x, y) if "logical" in right._schema.name else torch.bitwise_or(x, y)


FAULTS = table(globals())
