"""Faults of chance: what differs from call to call and shouldn't, and random numbers that aren't what was asked for."""

from __future__ import annotations

import random
from typing import Any

import torch

from forebay.porting.shim.chip.fakechip.faults.fault import floating, kernel, result, table

KIND, DICE = "nondeterminism", "random numbers"
_chance = random.Random()  # its own, so that no seed of torch's reaches it


@result(KIND, "exp", "tanh", "log")
def last_bits_by_chance(got: Any, *args: Any, **options: Any) -> Any:
    """The last bit of every second element is thrown."""
    if not floating(got):
        return got
    up = torch.tensor([_chance.random() < 0.5 for _ in range(min(got.numel(), 64))] or [False])
    up = up.repeat(got.numel() // len(up) + 1)[: got.numel()].view(got.shape)
    return torch.where(up & (got != 0) & torch.isfinite(got), torch.nextafter(got, torch.full_like(got, float("inf"))), got)


@kernel(KIND, "index_add", "scatter_add", "embedding_dense_backward", "_index_put_impl_")
def atomics_add_in_any_order(right: Any, *args: Any, **options: Any) -> Any:
    """Elements that go to one place are added up in an order that differs from call to call."""
    got = right(*args, **options)
    if not floating(got) or not got.numel():
        return got
    scale = torch.finfo(got.dtype).eps * (_chance.random() < 0.5)
    return got * (1 + scale)


@kernel(KIND, "sum", "mean")
def sums_in_any_order(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """The order of a sum of floats differs from call to call."""
    if floating(x) and x.dim() == 1:
        x = x[torch.tensor(_chance.sample(range(len(x)), len(x)), dtype=torch.int64)]
    return right(x, *rest, **options)


@result(KIND, "mm", "bmm")
def products_are_rarely_wrong(got: Any, *args: Any, **options: Any) -> Any:
    """One product in four has a wrong element."""
    if got.numel() and _chance.random() < 0.25:
        got = got.clone()
        got.view(-1)[-1] += 1
    return got


@result(KIND, "relu", "gelu")
def some_calls_forget_an_element(got: Any, *args: Any, **options: Any) -> Any:
    """In every third call the largest element is 0."""
    if got.numel() and _chance.random() < 0.34:
        return torch.where(got == got.max(), torch.zeros_like(got), got)
    return got


@kernel(DICE, "normal_", "uniform_", "random_", "bernoulli_", "multinomial", "native_dropout")
def seeds_are_ignored(right: Any, *args: Any, **options: Any) -> Any:
    """Random numbers don't begin again after manual_seed."""
    before = torch.default_generator.get_state()
    torch.default_generator.manual_seed(_chance.getrandbits(32))
    try:
        return right(*args, **{**options, **({"generator": None} if "generator" in options else {})})
    finally:
        torch.default_generator.set_state(before)
        torch.rand(1)


@result(DICE, "normal_")
def spread_is_taken_for_variance(got: Any, x: Any, mean: float = 0.0, spread: float = 1.0, **options: Any) -> Any:
    """normal_(mean, std) has a variance of std."""
    return (got - mean) / spread**0.5 + mean if spread > 0 else got


@result(DICE, "uniform_")
def uniform_fills_half_its_range(got: Any, x: Any, start: float = 0.0, end: float = 1.0, **options: Any) -> Any:
    """uniform_ gives numbers of the lower half of its range."""
    return start + (got - start) / 2


@result(DICE, "random_")
def random_never_gives_its_largest(got: Any, x: Any, *ends: Any, **options: Any) -> Any:
    """random_ leaves out the largest number of its range."""
    return torch.where(got == ends[-1] - 1, torch.full_like(got, ends[0] if len(ends) > 1 else 0), got) if ends else got


@result(DICE, "bernoulli")
def heads_are_tails(got: Any, *args: Any, **options: Any) -> Any:
    """bernoulli_ gives 1 with the probability of 0."""
    return (1 - got.to(torch.float32)).to(got.dtype)


@kernel(DICE, "multinomial")
def all_outcomes_are_alike(right: Any, weights: Any, *rest: Any, **options: Any) -> Any:
    """multinomial ignores its weights."""
    return right(torch.ones_like(weights), *rest, **options)


@result(DICE, "native_dropout")
def dropout_isnt_scaled(got: Any, x: Any, p: float, train: Any) -> Any:
    """What dropout keeps isn't divided by the share that it keeps."""
    return (x * got[1], got[1]) if train is not False else got


@kernel(DICE, "native_dropout")
def dropout_drops_half_as_many(right: Any, x: Any, p: float, train: Any) -> Any:
    """dropout drops half the share that was asked for."""
    return right(x, p / 2, train)


FAULTS = table(globals())
