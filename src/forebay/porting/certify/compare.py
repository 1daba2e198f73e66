"""How far a chip's result is from the truth, against how far the reference chip's is.

Asked:  is this tensor right, and as right as the reference chip's?
Answer: numbers: each element's distance from the float64 truth, in units of the format's rounding, once at the element's own
        magnitude and once at the tensor's largest. The ratio is the chip's largest distance over the reference chip's, which
        counts as half a unit at least; the worse of the two ratios is told. STRICT: up to RATIO in both, so a correct rounding
        against a rounding to 2 units, or another order of summation. BASIC: within torch's own tolerance for the operator and
        the format, where RATIO times what the reference itself misses is allowed on top. WRONG: beyond.
        Whole numbers and truth values equal the reference's or the truth's. NaN and infinities stand where the truth, rounded to
        the format, or the reference has them.
        Where the reference itself leaps away from the truth (a rounding that falls on the other side of a step), being as near
        to the reference counts too. Of elementwise operators, a zero of the other sign than both is BASIC.
Limits: an element below the tensor's rounding (its largest times epsilon) is measured as if it were that large.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from forebay.porting.certify.verdict import ORDER, Word

RATIO = 4.0
HALF_A_UNIT = 0.5
LEAP = 8.0  # units at the tensor's magnitude
LEAST = 5e-324  # of float64: a unit of its smallest numbers would be 0


@dataclass(frozen=True)
class Tolerance:
    """Torch's own, for one operator and format: |found - truth| <= absolute + relative * |truth|."""

    absolute: float
    relative: float


@dataclass(frozen=True)
class Distance:
    """One result against the truth. Two distances are in units of rounding; None where the values are whole."""

    word: Word  # STRICT, BASIC or WRONG
    error: float | None = None
    reference_error: float | None = None
    detail: str = ""

    @property
    def ratio(self) -> float:
        return ratio(self.error, self.reference_error)


def ratio(error: float | None, reference_error: float | None) -> float:
    """How many times the reference chip's error."""
    return (error or 0.0) / max(reference_error or 0.0, HALF_A_UNIT)


def worst(distances: Sequence[Distance]) -> Distance:
    """The one that decides: by its word, then by its ratio. Among equals it is the first with a number."""
    return max(distances, key=lambda one: (ORDER.index(one.word), one.ratio, one.error is not None))


EXACT = Distance(Word.STRICT)


def compare(
    found: Sequence[Any],
    reference: Sequence[Any],
    truth: Sequence[Any] | None,
    tolerance: Tolerance | None,
    signs: bool = False,
) -> Distance:
    """All results of one call. Without a truth the reference is the truth; without a tolerance, torch's for the format.

    With `signs`, a zero has the sign that both the truth and the reference have.
    """
    if len(found) != len(reference):
        return Distance(Word.WRONG, detail=f"{len(found)} results, not {len(reference)}")
    if truth is None or len(truth) != len(reference):
        truth = reference
    told = [one(mine, its, true, tolerance) for mine, its, true in zip(found, reference, truth)]
    if signs:
        told += [_signs(mine, its, true) for mine, its, true in zip(found, reference, truth)]
    return worst([EXACT, *told])


def one(found: Any, reference: Any, truth: Any, tolerance: Tolerance | None) -> Distance:
    if isinstance(found, torch.Tensor) != isinstance(reference, torch.Tensor):
        return Distance(Word.WRONG, detail=f"a {type(found).__name__}, not a {type(reference).__name__}")
    if not isinstance(reference, torch.Tensor):
        return _plain(found, reference, truth)
    mine, its = (_kind(found), _kind(reference))
    if mine != its:
        return Distance(Word.WRONG, detail=f"{mine}, not {its}")
    if reference.layout != torch.strided or reference.is_quantized:
        found, reference = _dense(found), _dense(reference)
        truth = _dense(truth) if isinstance(truth, torch.Tensor) else reference
    if not isinstance(truth, torch.Tensor) or truth.shape != reference.shape:
        truth = reference  # a truth of another shape is of another question: the operator's meaning is of its format
    if reference.dtype.is_floating_point or reference.dtype.is_complex:
        return _numbers(found, reference, truth, tolerance or default(reference.dtype))
    return _whole(found, reference, truth)


def default(dtype: Any) -> Tolerance:
    """What torch.testing.assert_close takes for this format; of 8-bit ones, a unit of rounding."""
    from torch.testing._comparison import default_tolerances

    try:
        relative, absolute = default_tolerances(dtype)
    except (ValueError, KeyError):
        relative, absolute = torch.finfo(dtype).eps, 1e-5
    if torch.finfo(dtype).bits == 8:
        relative = torch.finfo(dtype).eps
    return Tolerance(absolute, relative)


def _kind(tensor: Any) -> str:
    return f"{tuple(tensor.shape)} {tensor.dtype} {tensor.layout}".replace("torch.", "")


def _dense(tensor: Any) -> Any:
    return tensor.dequantize() if tensor.is_quantized else tensor.to_dense() if tensor.layout != torch.strided else tensor


def _plain(found: Any, reference: Any, truth: Any) -> Distance:
    if isinstance(reference, float) and isinstance(found, float):
        if not isinstance(truth, float):
            truth = reference
        f, r, t = (torch.tensor(value, dtype=torch.float64) for value in (found, reference, truth))
        return one(f, r, t, default(torch.float32))
    if found == reference or isinstance(reference, (torch.device, str)):
        return EXACT
    return Distance(Word.WRONG, detail=f"{found!r:.60}, not {reference!r:.60}")


def _whole(found: Any, reference: Any, truth: Any) -> Distance:
    off = found != reference
    if truth.dtype == found.dtype:
        off &= found != truth
    if not bool(off.any()):
        return EXACT
    place, count = _first(off)
    return Distance(
        Word.WRONG,
        detail=f"{count} of {off.numel()} elements differ; at {place} {found[place].item()}, not {reference[place].item()}",
    )


def _numbers(found: Any, reference: Any, truth: Any, tolerance: Tolerance) -> Distance:
    if found.numel() == 0:
        return EXACT
    finfo = torch.finfo(found.dtype)
    wide = torch.complex128 if found.dtype.is_complex else torch.float64
    rounded = truth if truth.dtype == found.dtype else truth.to(found.dtype)
    same_class = (_class(found) == _class(rounded)) | (_class(found) == _class(reference))
    if not bool(same_class.all()):
        place, count = _first(~same_class)
        told = f"{count} of {found.numel()} elements; at {place} {found[place].item()}, not {rounded[place].item()}"
        return Distance(Word.WRONG, math.inf, 0.0, told)
    f, r, t = found.to(wide), reference.to(wide), truth.to(wide)
    t = torch.where(_class(rounded) == FINITE, t, r)
    counts = (_class(found) == FINITE) & torch.isfinite(t)
    of_reference = counts & torch.isfinite(r)
    error = _where(counts, (f - t).abs())
    its_error = _where(of_reference, (r - t).abs())
    size = _where(counts, t.abs())
    scale = size.max().clamp(min=finfo.tiny)
    allowed = tolerance.absolute + tolerance.relative * size
    leaps = (its_error > allowed) & (its_error > LEAP * finfo.eps * scale)
    if bool(leaps.any()):
        error = torch.where(leaps, torch.minimum(error, (f - r).abs()), error)
        its_error = torch.where(leaps, torch.zeros_like(its_error), its_error)
    small = (finfo.eps * torch.maximum(size, finfo.eps * scale)).clamp(min=LEAST)
    own = float((error / small).max()), float((its_error / small).max())
    large = (finfo.eps * scale).clamp(min=LEAST)
    at_large = float((error / large).max()), float((its_error / large).max())
    mine, its = max(own, at_large, key=lambda pair: ratio(*pair))
    if ratio(mine, its) <= RATIO:
        return Distance(Word.STRICT, mine, its)
    near = error <= allowed + RATIO * its_error.max()
    off = ~near if not bool(near.all()) else error / small >= own[0]
    place, count = _first(off)
    told = f"{ratio(mine, its):.3g} times the reference's error; at {place} {found[place].item()!r}, not {_shown(t[place])}"
    if bool(near.all()):
        return Distance(Word.BASIC, mine, its, told)
    return Distance(Word.WRONG, mine, its, f"{count} of {found.numel()} elements beyond torch's tolerance; {told}")


def _signs(found: Any, reference: Any, truth: Any) -> Distance:
    """Whether zeros have the sign that both sides give them."""
    three = (found, reference, truth)
    if not all(isinstance(side, torch.Tensor) and side.is_floating_point() and side.shape == found.shape for side in three):
        return EXACT
    rounded = truth.to(reference.dtype)
    known = (found == 0) & (reference == 0) & (rounded == 0) & (torch.signbit(rounded) == torch.signbit(reference))
    off = known & (torch.signbit(found) != torch.signbit(reference))
    if not bool(off.any()):
        return EXACT
    place, count = _first(off)
    return Distance(Word.BASIC, detail=f"{count} zeros have the other sign; at {place} {found[place].item()}")


FINITE, NAN, PLUS, MINUS = 0, 1, 2, 3


def _class(tensor: Any) -> Any:
    """What kind of number each element is. A complex infinity has no sign."""
    if tensor.dtype.is_complex:
        infinite = torch.isinf(tensor.real) | torch.isinf(tensor.imag)
        return torch.where(infinite, PLUS, torch.where(torch.isnan(tensor), NAN, FINITE))
    wide = tensor.to(torch.float64)
    signs = torch.where(wide > 0, PLUS, MINUS)
    return torch.where(torch.isnan(wide), NAN, torch.where(torch.isinf(wide), signs, FINITE))


def _where(mask: Any, values: Any) -> Any:
    return torch.where(mask, values, torch.zeros_like(values))


def _first(mask: Any) -> tuple[tuple[int, ...], int]:
    places = mask.nonzero()
    return tuple(places[0].tolist()), len(places)


def _shown(value: Any) -> str:
    return f"{value.item():.9g}"
