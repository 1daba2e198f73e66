"""Probes of operators that torch's database has no family for, by what they work on: long rows, products, places, casts.

Asked:  what shows a narrow accumulator in a product or a norm, a lost tail in a sort, an index that is one off, a cast that cuts?
Answer: one table from an operator's name to the kinds of calls that its arguments allow.
Limits: an operator that isn't in the table gets the database's samples, larger (probes_varied.py), and none of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from forebay.porting.certify.probes_values import INF, NAN, rows_with_edges, spread, wholes
from forebay.porting.certify.probes_values import rows as long_rows

Call = tuple[tuple[Any, ...], dict[str, Any]]
LONG, ROW = 4099, 2053


def rows(op: Any, dtype: Any, requires_grad: bool) -> Iterator[Call]:
    for maker in TABLE.get(op.name, ()):
        if dtype.is_floating_point or maker in WHOLE_TOO:
            yield from maker(op, dtype, requires_grad)


# ---------------------------------------------------------------- rows


def _along(op: Any, dtype: Any, requires_grad: bool) -> Iterator[Call]:
    """Functions of a row that keep its length."""
    for x in long_rows(dtype, LONG):
        yield (x,), {"dim": -1}
    yield (spread((5, 33, 9), dtype),), {"dim": -2}
    yield (spread((17, 9), dtype).t(),), {"dim": 0}
    yield (spread((3, 0), dtype),), {"dim": -1}
    if dtype.is_floating_point:
        yield (spread((3, 65), dtype) * 50 + 200,), {"dim": -1}
        yield (spread((3, 65), dtype) * 30 - 400,), {"dim": -1}
        if not requires_grad:
            yield (rows_with_edges(dtype),), {"dim": -1}


def _products(op: Any, dtype: Any, requires_grad: bool) -> Iterator[Call]:
    """Factors of a long inner dimension, of a short one and of none, each also transposed in memory."""
    name, draw = op.name.rpartition(".")[2], spread if dtype.is_floating_point else wholes
    for inner in (LONG, 33, 0):
        a, b = _near_one((17, inner), dtype, draw), _near_one((inner, 33), dtype, draw)
        yield _factors(name, a, b), {}
        yield _factors(name, a, b.t().contiguous().t()), {}
        yield _factors(name, a.t().contiguous().t(), b), {}


def _near_one(shape: tuple[int, ...], dtype: Any, draw: Callable[..., Any]) -> Any:
    return (torch.rand(shape, dtype=torch.float64) + 0.5).to(dtype) if dtype.is_floating_point else draw(shape, dtype)


def _factors(name: str, a: Any, b: Any) -> tuple[Any, ...]:
    total = spread((a.shape[0], b.shape[1]), a.dtype)
    return {
        "mm": (a, b),
        "matmul": (a, b),
        "__rmatmul__": (b, a),
        "bmm": (a[None], b[None]),
        "addmm": (total, a, b),
        "baddbmm": (total[None], a[None], b[None]),
        "addbmm": (total, a[None], b[None]),
        "mv": (a, b[:, 0]),
        "addmv": (total[:, 0], a, b[:, 0]),
        "linear": (a, b.t(), total[0]),
        "inner": (a, b.t()),
    }.get(name, (a[0], b[:, 0]))


def _attention(op: Any, dtype: Any, requires_grad: bool) -> Iterator[Call]:
    q, k, v = (spread((1, 2, length, 16), dtype) for length in (33, 129, 129))
    yield (q, k, v), {}
    yield (q, k[..., :33, :], v[..., :33, :]), {"is_causal": True}
    yield (q, k, v), {"scale": 0.5}
    yield (q, k, v, torch.rand(33, 129) > 0.3), {}


def _convolutions(op: Any, dtype: Any, requires_grad: bool) -> Iterator[Call]:
    size = int(op.name[-2])
    x = (torch.rand((2, 128, *(9,) * size), dtype=torch.float64) + 0.5).to(dtype)
    weight = (torch.rand((128, 4, *(3,) * size) if "transpose" in op.name else (4, 128, *(3,) * size), dtype=torch.float64)).to(
        dtype
    )
    yield (x, weight, spread((4,), dtype)), {}
    yield (x, weight, None), {"stride": 2, "padding": 1}
    yield (x, weight, None), {"dilation": 2}


def _norms_of_rows(op: Any, dtype: Any, requires_grad: bool) -> Iterator[Call]:
    for x in long_rows(dtype, LONG):
        yield (x, (LONG,)), {}
    x = spread((5, 33), dtype)
    yield (x, (33,), spread((33,), dtype)), {}
    yield (x * 1e-3, (33,)), {"eps": 1e-5}
    yield (x, (33,)), {"eps": 0.1}


def _norms_of_batches(op: Any, dtype: Any, requires_grad: bool) -> Iterator[Call]:
    x = spread((7, 6, 65), dtype)
    mean, var, weight, bias = spread((6,), dtype).abs(), spread((6,), dtype).abs() + 1, spread((6,), dtype), spread((6,), dtype)
    if op.name.endswith("group_norm"):
        yield (x, 3, weight, bias), {}
        yield (x * 1e-3 + 1, 2), {"eps": 0.1}
        return
    if not requires_grad:
        for momentum in (0.1, 0.7):
            yield (x, mean, var), {"training": True, "momentum": momentum, "weight": weight, "bias": bias}
        yield (x, mean, var), {"training": False, "eps": 0.1}
    yield (x * 3 + 5, None, None), {"training": True}


# ---------------------------------------------------------------- order


def _distinct(shape: tuple[int, int], dtype: Any) -> Any:
    """Rows without equal elements, as far as the format has so many numbers."""
    most = {torch.bfloat16: 250, torch.float16: 2000}.get(dtype, shape[1])
    return torch.stack([torch.randperm(min(most, shape[1])) for _ in range(shape[0])]).sub(most // 2).to(dtype)


def _sorted(op: Any, dtype: Any, requires_grad: bool) -> Iterator[Call]:
    x = _distinct((3, ROW), dtype)
    name = op.name
    if name in ("sort", "argsort"):
        yield (x,), {"dim": -1}
        yield (x,), {"dim": -1, "descending": True}
        yield (x[:, :33].t(),), {"dim": 0}
        yield (wholes((3, 129), dtype),), {"dim": -1, "stable": True}
        if dtype.is_floating_point and not requires_grad:
            yield (rows_with_edges(dtype)[:3],), {"dim": -1, "stable": True}
    elif name == "topk":
        for largest in (True, False):
            yield (x, 7), {"dim": -1, "largest": largest}
        yield (x[:, :33], 33), {"dim": -1}
    elif name == "kthvalue":
        for k in (1, 3, 17):
            yield (x[:, :129], k), {"dim": -1}
    else:
        yield (x[:, :129],), {} if name == "msort" else {"dim": -1}
        if dtype.is_floating_point and not requires_grad and name != "mode":
            yield (rows_with_edges(dtype)[:3],), {} if name == "msort" else {"dim": -1}


def _found(op: Any, dtype: Any, requires_grad: bool) -> Iterator[Call]:
    """Places in a sorted row: between its elements, and at them, from either side."""
    row = torch.arange(0, 130, 2).to(dtype)
    values = torch.arange(-1, 100).to(dtype)
    for right in (False, True):
        yield ((row, values) if op.name == "searchsorted" else (values, row)), {"right": right}


def _largest(op: Any, dtype: Any, requires_grad: bool) -> Iterator[Call]:
    x = _distinct((3, ROW), dtype)
    if "no_dim" in op.variant_test_name or op.name == "aminmax":
        yield (x,), {}
        yield (x[0],), {}
    if op.variant_test_name != "binary":
        for rows in long_rows(dtype, ROW):
            yield (rows,), {} if "no_dim" in op.variant_test_name else {"dim": -1}
    if "no_dim" not in op.variant_test_name and op.variant_test_name != "binary":
        yield (x,), {"dim": -1}
        yield (x,), {"dim": 1, "keepdim": True}
    if dtype.is_floating_point and not requires_grad and op.variant_test_name != "binary":
        yield (rows_with_edges(dtype),), {} if "no_dim" in op.variant_test_name else {"dim": -1}


# ---------------------------------------------------------------- places


def _places(op: Any, dtype: Any, requires_grad: bool) -> Iterator[Call]:
    """Indices in any order: the first, the last, repeated ones, hundreds of one."""
    x, some = spread((41, 7), dtype), torch.tensor((40, 0, 1, 40, 3, 2, 39, 1))
    many = torch.randint(0, 5, (1025,))
    name = op.name
    if name == "index_select":
        yield (x, 0, some), {}
        yield (x, -1, torch.tensor((6, 0, 5))), {}
        yield (x[:, :0], 0, some), {}
        yield (x, 0, some[:0]), {}
    elif name == "index_add":
        yield (x, 0, some, spread((8, 7), dtype)), {}
        yield (x, 0, many, spread((1025, 7), dtype)), {}
    elif name in ("gather", "take_along_dim"):
        index = torch.randint(0, 41, (65, 7))
        index[0], index[1], index[2] = 0, 1, 40
        for values, places in ((x, index), (x[:, :0], index[:, :0])):
            yield ((values, 0, places) if name == "gather" else (values, places, 0)), {}
    elif name in ("scatter_add", "scatter"):
        index = torch.stack([torch.randperm(41) for _ in range(7)], 1) if name == "scatter" else torch.randint(0, 5, (41, 7))
        yield (x, 0, index, spread((41, 7), dtype)), {}
        if name == "scatter_add":
            yield (x, 0, torch.randint(0, 5, (1025, 7)), spread((1025, 7), dtype)), {}
    elif name == "nn.functional.embedding":
        yield (some, x), {}
        yield (many, x), {}
        yield (some[:0], x), {}
    elif name == "index_put":
        yield (x, (some,), spread((8, 7), dtype)), {"accumulate": True}
        yield (x, (many,), spread((1025, 7), dtype)), {"accumulate": True}
    else:
        yield (x, some), {}


def _moved(op: Any, dtype: Any, requires_grad: bool) -> Iterator[Call]:
    """What only moves elements, in shapes whose sides differ."""
    wide, tall = spread((7, 37), dtype), spread((37, 7), dtype)
    name = op.name
    for x in (wide, tall, wide.t()):
        if name in ("tril", "triu"):
            for diagonal in (-2, 0, 1):
                yield (x,), {"diagonal": diagonal}
        elif name == "flip":
            yield (x, (0, 1)), {}
            yield (x, (-1,)), {}
        elif name == "roll":
            yield (x, (2, -3), (0, 1)), {}
            yield (x, 5), {}
        elif name == "cat":
            yield ([x, x[:0], x[:3]],), {"dim": 0}
            yield ([x, x[:, :0]],), {"dim": -1}
        elif name == "diag_embed":
            yield (x,), {"offset": 1}
        elif name == "nn.functional.pad":
            yield (x, (2, 1)), {"value": 2.5}
        elif name == "nonzero":
            yield (torch.ones(ROW, dtype=dtype),), {}
        else:
            yield (x,), {}


def _formats_of_memory(op: Any, dtype: Any, requires_grad: bool) -> Iterator[Call]:
    """Asked for, a memory format is given: the engine compares strides where a call names one."""
    x = spread((2, 3, 5, 7), dtype)
    for one in (torch.channels_last, torch.contiguous_format):
        yield (x,), {"memory_format": one}
        yield (x.contiguous(memory_format=torch.channels_last),), {"memory_format": one}


def _ranges(op: Any, dtype: Any, requires_grad: bool) -> Iterator[Call]:
    for count in (17, 33, 1025):
        if op.name == "arange":
            yield (0, count), {"dtype": dtype, "device": "cpu"}
            yield (count, 0, -3), {"dtype": dtype, "device": "cpu"}
        else:
            yield (-3, 5), {"steps": count, "dtype": dtype, "device": "cpu"}


# ---------------------------------------------------------------- casts

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def casts(op: Any) -> Iterator[Call]:
    """Numbers on both sides of zero with all bits of their fractions, halves, NaN. No float is beyond an integer's range."""
    if op.name not in CASTS:
        return
    targets = {"to": (*FLOATS, torch.int32, torch.int64, torch.int8), "type_as": ()}.get(op.name, (None,))
    for source in (*FLOATS, torch.int64, torch.uint8, torch.bool):
        x = torch.cat((torch.randn(129, dtype=torch.float64) * 9, torch.arange(-6, 7) / 2)).to(source)
        if op.name == "byte" or source == torch.uint8:
            x = x.abs() if source != torch.bool else x
        for target in targets:
            yield ((x,) if target is None else (x, target)), {}
        if source in FLOATS and op.name in ("bfloat16", "half", "float", "double"):
            yield (torch.tensor((NAN, INF, -INF, -0.0, 65519.0, 65520.0, 3.3e38, 1e-6, 6e-8, 1e-40), dtype=source),), {}


CASTS = ("to", "byte", "char", "short", "int", "long", "half", "bfloat16", "float", "double", "bool")

TABLE: dict[str, tuple[Callable[[Any, Any, bool], Iterator[Call]], ...]] = {
    **dict.fromkeys(
        (
            "softmax",
            "log_softmax",
            "nn.functional.softmin",
            "nn.functional.softmax",
            "logsumexp",
            "special.log_softmax",
            "special.softmax",
        ),
        (_along,),
    ),
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "nn.functional.normalize", "norm"), (_along,)),
    **dict.fromkeys(("mm", "matmul", "__rmatmul__", "bmm", "addmm", "baddbmm", "addbmm", "mv", "addmv"), (_products,)),
    **dict.fromkeys(("dot", "vdot", "inner", "linalg.vecdot", "nn.functional.linear"), (_products,)),
    "nn.functional.scaled_dot_product_attention": (_attention,),
    **dict.fromkeys((f"nn.functional.conv{one}{size}d" for one in ("", "_transpose") for size in (1, 2, 3)), (_convolutions,)),
    **dict.fromkeys(("nn.functional.layer_norm", "nn.functional.rms_norm"), (_norms_of_rows,)),
    **dict.fromkeys(("nn.functional.batch_norm", "nn.functional.group_norm"), (_norms_of_batches,)),
    **dict.fromkeys(("sort", "argsort", "topk", "kthvalue", "msort", "median", "nanmedian"), (_sorted,)),
    **dict.fromkeys(("searchsorted", "bucketize"), (_found,)),
    **dict.fromkeys(("max", "min", "aminmax"), (_largest,)),
    **dict.fromkeys(("index_select", "index_add", "gather", "take_along_dim", "scatter", "scatter_add"), (_places,)),
    **dict.fromkeys(("nn.functional.embedding", "index_put", "take"), (_places,)),
    **dict.fromkeys(
        ("tril", "triu", "flip", "roll", "cat", "diag_embed", "nn.functional.pad", "nonzero", "t", "fliplr"), (_moved,)
    ),
    **dict.fromkeys(("clone", "contiguous"), (_formats_of_memory,)),
    **dict.fromkeys(("arange", "linspace"), (_ranges,)),
}
WHOLE_TOO = (_along, _products, _sorted, _found, _largest, _places, _moved, _ranges)
