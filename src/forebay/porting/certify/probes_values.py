"""Values for probes: what numbers a kernel meets at the edges of its format.

Asked:  which values show that a kernel forgets NaN, saturates, flushes subnormals, rounds otherwise or wraps elsewhere?
Answer: for floats, one tensor for each magnitude, since a tensor's largest element sets what counts as an error in it; and one
        with NaN, infinities and zeros of both signs among ordinary numbers. For integers, the smallest, the largest, and those
        beyond what narrower integers and floats hold.
Limits: values come from torch's generator, which the engine seeds for each operator.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

NAN, INF = float("nan"), float("inf")
ODD = (0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 2.5, -2.5, 3.0, -3.0)  # steps and halves


def spread(shape: tuple[int, ...], dtype: Any) -> Any:
    """Ordinary numbers, of which none equals its neighbour: for integers -9 to 9, where there are such."""
    if dtype == torch.bool:
        return torch.rand(shape) < 0.5
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(shape, dtype=torch.complex128 if dtype.is_complex else torch.float64).mul(2).to(dtype)
    return torch.randint(0 if dtype == torch.uint8 else -9, 10, shape, dtype=dtype)


def wholes(shape: tuple[int, ...], dtype: Any) -> Any:
    """Small whole numbers: many are equal."""
    return torch.randint(0, 2 if dtype == torch.bool else 4, shape).to(dtype)


def magnitudes(dtype: Any, *, with_edges: bool) -> Iterator[Any]:
    """Vectors of one magnitude each."""
    finfo = torch.finfo(dtype)
    for scale in (1e-6, 1e-3, 1.0, 30.0, 3e3):
        values = torch.randn(65, dtype=torch.float64) * scale
        yield values.clamp(-finfo.max / 2, finfo.max / 2).to(dtype)
    yield torch.tensor(ODD * 3, dtype=dtype)
    yield torch.linspace(-0.999, 0.999, 67, dtype=torch.float64).to(dtype)
    if with_edges:
        yield (torch.linspace(-0.9, 0.9, 66, dtype=torch.float64) * finfo.tiny).to(dtype)  # subnormal
        yield torch.tensor((NAN, 1.0, INF, -1.0, -INF, 0.0, -0.0, 2.0, -2.0, 0.25), dtype=dtype)
        yield torch.tensor(
            (finfo.max, -finfo.max, finfo.max / 2, finfo.tiny, -finfo.tiny, 88.0, 90.0, -105.0, 710.0), dtype=dtype
        )


def grid(dtype: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs of values: ordinary and odd ones, edges, tiny with tiny, huge with huge."""
    finfo = torch.finfo(dtype)
    sets = (
        ODD,
        (NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 2.5, 7.0),
        (finfo.tiny, finfo.tiny / 4, -finfo.tiny / 2, finfo.tiny * 1.5),
        (finfo.max, -finfo.max, finfo.max / 3, finfo.max / 1e3),
    )
    for values in sets:
        x = torch.tensor(values, dtype=dtype)
        yield x.repeat_interleave(len(x)), x.repeat(len(x))
    x = torch.tensor(sets[2], dtype=dtype)
    yield x.repeat(3), torch.tensor((0.5,) * 4 + (0.75,) * 4 + (4.0,) * 4, dtype=dtype)
    y = torch.randn(65, dtype=torch.float64)
    yield (y * 1e-5).to(dtype), y.flip(0).to(dtype)
    yield (y * 1e3).to(dtype), y.flip(0).to(dtype)


def extremes(dtype: Any) -> Any:
    """Numbers at the edges of an integer's format, and beside the powers of two at which others end."""
    if dtype == torch.bool:
        return torch.tensor((False, True, True, False, True))
    if dtype.is_floating_point or dtype.is_complex:
        return spread((33,), dtype)
    info = torch.iinfo(dtype)
    powers = [2**one + more for one in (7, 8, 15, 16, 24, 31, 32, 53, 62) for more in (-1, 1)]
    values = {
        0,
        1,
        2,
        3,
        5,
        7,
        -1,
        -2,
        -3,
        -7,
        info.max,
        info.max - 1,
        info.min,
        info.min + 1,
        *powers,
        *(-one for one in powers),
    }
    return torch.tensor(sorted(one for one in values if info.min <= one <= info.max), dtype=dtype)


def edges(dtype: Any) -> Any:
    """A vector that has a format's ordinary numbers and its edges."""
    if dtype.is_complex or dtype.is_floating_point or dtype == torch.bool:
        return spread((33,), dtype)
    return torch.cat((extremes(dtype), spread((9,), dtype)))


def rows(dtype: Any, length: int) -> Iterator[Any]:
    """Long rows: of one sign, so that a total grows; of a product near one; of a large mean; that cancel; that rise, and fall."""
    if not dtype.is_floating_point:
        yield spread((3, length), dtype)
        if dtype not in (torch.bool, torch.uint8):
            yield torch.stack((torch.arange(length), -torch.arange(length))).clamp(*_ends(dtype)).to(dtype)
            yield torch.randint(_ends(dtype)[1] // 2, _ends(dtype)[1], (3, length)).to(dtype)
        return
    near_one = torch.rand((3, length), dtype=torch.float64)
    yield (near_one + 0.5).to(dtype)
    yield (1 + (near_one - 0.5) / 64).to(dtype)
    yield (torch.randn((3, length), dtype=torch.float64) + 300).to(dtype)
    yield torch.randn((3, length), dtype=torch.float64).to(dtype)
    steady = torch.linspace(-2, 3, length, dtype=torch.float64)
    yield torch.stack((steady, -steady)).to(dtype)


def _ends(dtype: Any) -> tuple[int, int]:
    return torch.iinfo(dtype).min, torch.iinfo(dtype).max


def rows_with_edges(dtype: Any) -> Any:
    """A row with NaN, at its beginning, inside and at its end; with infinities; with both; of one value; of -inf alone."""
    rows = torch.randn((9, 37), dtype=torch.float64)
    rows[0, 0] = rows[1, 17] = rows[2, -1] = NAN
    rows[3, 5] = INF
    rows[4, 5] = -INF
    rows[5, 3], rows[5, 30] = INF, -INF
    rows[6, 3], rows[6, 30] = INF, NAN
    rows[7] = 2.0
    rows[8] = -INF
    return rows.to(dtype)
