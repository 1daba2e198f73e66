"""Operators whose results are drawn: compared by their distribution.

Asked:  is what a chip draws what the reference chip would draw?
Answer: both draw again and again, from other seeds, until there are enough numbers. Shape, format and kinds of numbers
        are the same; where the reference draws few different values at an element (dropout: zero or a scaled input), the chip
        draws those; and the two samples' distributions, all elements together, pass a two-sample Kolmogorov-Smirnov test, and
        their means, shares of zeros and variances a z-test, at odds of about one in a million of a false alarm.
Limits: a bias too small for so many numbers to show is not seen, nor are correlations between elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from forebay.porting.certify.compare import EXACT, Distance, one
from forebay.porting.certify.verdict import Word

LEAST_SEEDS = 32
Z = 6.0
KS = math.sqrt(-math.log(1e-8 / 2) / 2)  # the statistic's bound is this times sqrt((n + m) / (n m))
FEW = 3  # values at one element
OVERFLOWS = 0.002  # share of draws that may overflow a narrow format by chance, as a Cauchy distribution's do
ENOUGH = 200  # numbers: of fewer nothing can be told but whether they are numbers
RARE = 0.1  # share of draws: a value of probability p isn't seen in 8 draws, yet drawn, with p (1 - p)^8, at most 0.043


@dataclass(frozen=True)
class Patience:
    """How much is drawn from one sample: until there are so many numbers, or from so many seeds."""

    numbers: int
    seeds: int


def alike(
    draw_found: Callable[[int], Sequence[Any]],
    draw_reference: Callable[[int], Sequence[Any]],
    seed: int,
    patience: Patience,
) -> Distance:
    """Compare two sources of results; each gives the tensors, on the host, that it draws from a seed."""
    mine, its = [draw_found(seed)], [draw_reference(seed)]
    for found, reference in zip(mine[0], its[0]):
        if isinstance(reference, torch.Tensor) and isinstance(found, torch.Tensor):
            kind = one(torch.zeros_like(found), torch.zeros_like(reference), torch.zeros_like(reference), None)
            if kind.word is not Word.STRICT:
                return kind
    if len(mine[0]) != len(its[0]):
        return Distance(Word.WRONG, detail=f"{len(mine[0])} results, not {len(its[0])}")
    smallest = min((one.numel() for one in its[0] if isinstance(one, torch.Tensor) and one.numel()), default=0)
    if not smallest:
        return EXACT
    seeds = min(patience.seeds, max(LEAST_SEEDS, math.ceil(patience.numbers / smallest)))
    for number in range(1, seeds):
        mine.append(draw_found(seed + number))
        its.append(draw_reference(seed + 7919 * number))  # other seeds: the two are independent
    for place in range(len(its[0])):
        if isinstance(its[0][place], torch.Tensor) and its[0][place].layout == torch.strided:
            why = differ(torch.stack([draw[place] for draw in mine]), torch.stack([draw[place] for draw in its]))
            if why:
                return Distance(Word.WRONG, detail=f"{why} ({seeds} seeds)")
    return EXACT


def differ(found: Any, reference: Any) -> str:
    """Why two stacks of draws (the first dimension is the seed) aren't of one distribution, or ""."""
    wide = torch.complex128 if reference.dtype.is_complex else torch.float64
    eps = torch.finfo(reference.dtype).eps if reference.dtype.is_floating_point or reference.dtype.is_complex else 0.0
    f, r = found.to(wide).reshape(len(found), -1), reference.to(wide).reshape(len(reference), -1)
    if f.is_complex():
        f, r = torch.view_as_real(f).flatten(1), torch.view_as_real(r).flatten(1)
    finite_f, finite_r = torch.isfinite(f), torch.isfinite(r)
    if bool(torch.isnan(f).any()) and not bool(torch.isnan(r).any()):
        return f"{int(torch.isnan(f).sum())} draws are nan"
    if float((~finite_f).double().mean()) > float((~finite_r).double().mean()) + OVERFLOWS:
        return f"{int((~finite_f).sum())} draws aren't finite, not {int((~finite_r).sum())}"
    if f.numel() < ENOUGH:
        return ""
    few = _few(f, r, eps)
    if few:
        return few
    if len(f) < LEAST_SEEDS or len(r) < LEAST_SEEDS:
        return ""
    f, r = (torch.where(torch.isfinite(one), one, torch.zeros_like(one)) for one in (f, r))
    effect = 1.0
    for name, x, y in (
        ("the mean", f, r),
        ("the share of zeros", (f == 0).double(), (r == 0).double()),
        ("the variance", (f - f.mean()) ** 2, (r - r.mean()) ** 2),
    ):
        square, more = zip(*map(_spread, (x, y)))
        effect = max(effect, *more)
        slack = Z * math.sqrt(sum(square)) + 4 * eps * float(y.abs().max())
        if abs(float(x.mean() - y.mean())) > slack:
            return f"{name} is {float(x.mean()):.4g}, not {float(y.mean()):.4g}"
    apart = _kolmogorov_smirnov(f.flatten(), r.flatten())
    count = min(f.numel(), r.numel()) / effect
    bound = KS * math.sqrt(2 / count)
    if eps and apart > bound + _tied(r.flatten()):
        return f"the distributions are {apart:.3g} apart, where {bound:.3g} is chance"
    return ""


def _spread(draws: Any) -> tuple[float, float]:
    """The square of the mean's standard error, and how many times that of independent elements it is.

    Elements of one draw may go together, as a channel's do that is dropped: seeds are what is independent.
    """
    alone = float(draws.var(unbiased=False)) / draws.numel()
    together = float(draws.mean(1).var()) / len(draws)
    return max(alone, together), max(1.0, together / alone if alone else 1.0)


def _few(f: Any, r: Any, eps: float) -> str:
    """Where the reference has few values at every element, the chip has no other: at most a rare one that it didn't draw."""
    if int(max(len(column.unique()) for column in r.t()[:64])) > FEW:
        return ""
    seen = r[: max(8, 5_000_000 // max(1, f.numel()))]
    near = (f[:, None] - seen[None]).abs() <= 4 * eps * seen.abs().max() + 1e-12
    unknown = ~near.any(1) & torch.isfinite(f)
    if float(unknown.double().mean()) <= RARE:
        return ""
    place = tuple(unknown.nonzero()[0].tolist())
    count = f"{int(unknown.sum())} of {unknown.numel()} draws"
    return f"{count} have a value that the reference never has there, as {float(f[place]):.6g}"


def _kolmogorov_smirnov(f: Any, r: Any) -> float:
    values: Any = torch.cat([f, r])
    values = values.unique()
    below = [torch.searchsorted(one.sort().values, values, right=True).double() / len(one) for one in (f, r)]
    return float((below[0] - below[1]).abs().max())


def _tied(r: Any) -> float:
    """Rounding moves ties: half the share of the commonest value that isn't zero is forgiven, up to a hundredth."""
    counts = r[r != 0].unique(return_counts=True)[1]
    return min(0.01, float(counts.max()) / len(r) / 2) if len(counts) else 0.0
