"""Measure one case: its samples on the host in float64, on the reference chip, and on the chip, and what follows from them.

Asked:  what did this operator do on the chip, in this format and direction?
Answer: `measure` makes each sample's call three times over: widened to float64 on the host (the truth), in the format on the host
        (the reference chip), and on the chip, there twice from one seed. Forward, the first samples are also called with out=
        (into a tensor of poison, and into an empty one) and in place, and their arguments are looked at afterwards. Operators
        that draw are compared by distribution (randoms.py), those whose values are uninitialised memory by shape and format.
Limits: a truth that the host can't compute in float64 is taken in the format itself, and the verdict says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from forebay.porting.certify import looks, randoms
from forebay.porting.certify.calls import Outcome, backward, forward
from forebay.porting.certify.compare import Distance, Tolerance, compare, default, ratio
from forebay.porting.certify.database import uninitialised
from forebay.porting.certify.exceptions import HOST_DIFFERS_TWICE, MAY_DIFFER_TWICE, OF_THE_FORMAT, UNIQUE_ONLY_PROCESSED, listed
from forebay.porting.certify.samples import Sample, carried, choose, names_a_device, seed_of, widened
from forebay.porting.certify.tally import Tally
from forebay.porting.certify.target import HOST, Side, side
from forebay.porting.certify.traffic import Traffic
from forebay.porting.certify.variants import variants
from forebay.porting.certify.verdict import Case, Verdict, Word

MOST = {"full": 10, "smoke": 1}  # of the database's samples, of one case
ELEMENTWISE = ("UnaryUfuncInfo", "BinaryUfuncInfo")  # torch's database's classes
TRIED = 8  # samples of which those are taken
VARIED = 2  # samples that are also called with out= and in place; drawn ones that are drawn often
OFTEN = {"full": randoms.Patience(20_000, 200), "smoke": randoms.Patience(2_000, 32)}
ONCE = randoms.Patience(0, randoms.LEAST_SEEDS)
BUDGET_S = 20.0  # for one case: then no further sample begins


class NoReference(Exception):
    """The reference chip itself can't make this call."""


def measure(op: Any, case: Case, place: Any, mode: str = "full") -> Verdict:
    """The verdict. Raises nothing for what the operator does; a crash or a hang is for whoever watches this process."""
    dtype = getattr(torch, case.format)
    tally = Tally()
    began = time.monotonic()
    try:
        samples = choose(op, case.operator, dtype, case.direction == "backward", MOST[mode], own=mode == "full")
    except Exception as error:
        return _verdict(case, tally, Word.UNTESTED, f"no sample could be made: {_told(error)}")
    refused = "torch's database has no sample for it"
    for number, sample in enumerate(samples):
        try:
            tally.samples += _one_sample(op, case, sample, number, place, dtype, tally, mode)
        except NoReference as error:
            refused = str(error)
        except Exception as error:
            tally.samples += 1
            tally.see(Word.ERROR, _told(error))
            break
        if time.monotonic() - began > BUDGET_S:
            break
    if not tally.samples:
        return _verdict(case, tally, Word.UNTESTED, refused)
    return _verdict(case, tally, tally.word, tally.said.get(tally.word, "") or tally.note)


def _verdict(case: Case, tally: Tally, word: Word, detail: str) -> Verdict:
    told = max(tally.distances, key=lambda one: (ratio(one.error, one.reference_error), one.error is not None))
    return Verdict(
        operator=case.operator,
        format=case.format,
        direction=case.direction,
        word=word,
        samples=tally.samples,
        error=_finite(told.error),
        reference_error=_finite(told.reference_error),
        host_bytes=tally.host_bytes,
        seconds=tally.seconds,
        reference_seconds=tally.reference_seconds,
        detail=" ".join(detail.split())[:300],
    )


def _finite(error: float | None) -> float | None:
    """JSON has no infinity: an error that is no number at all has the largest."""
    return None if error is None else min(error, 1e300)


@dataclass(frozen=True)
class _Sides:
    """How one sample's call is made on each side."""

    call: Callable[..., Outcome]  # of a sample that is where it shall run, on a side
    sample: Sample
    operator: str
    chip: Side

    def on(self, where: Side, **more: Any) -> Outcome:
        return self.call(carried(self.sample, self.operator, where.place), where, **more)


def _one_sample(op: Any, case: Case, sample: Sample, number: int, place: Any, dtype: Any, tally: Tally, mode: str) -> int:
    """Put what this sample shows into the tally. 1 when there was something to compare."""
    seed = seed_of(case.operator, case.format, str(number))
    sample = carried(sample, case.operator, HOST.place)  # torch's makers may have put some of it on a GPU that they found
    process = listed(case.operator, UNIQUE_ONLY_PROCESSED)
    forth = case.direction == "forward"

    def call(at: Sample, where: Side, seed: int = seed) -> Outcome:
        if forth:
            return forward(op, at, seed, where, process=process)
        return backward(op, at, seed, dtype, where)

    chip = side(torch.device(place))
    sides = _Sides(call, sample, case.operator, chip)
    before = torch.get_rng_state()
    try:
        reference_input = carried(sample, case.operator, torch.device("cpu"))
        reference = call(reference_input, HOST)
        drawn = not torch.equal(_after_seed(seed), torch.get_rng_state())
    except Exception as error:
        raise NoReference(f"the reference chip fails: {_told(error)}") from error
    finally:
        torch.set_rng_state(before)
    if not forth and not any(isinstance(one, torch.Tensor) for one in reference.results):
        raise NoReference("no result of its samples takes a gradient")
    mine = carried(sample, case.operator, place)
    with Traffic() as traffic:
        found = call(mine, chip)
    tally.seconds += found.seconds
    tally.reference_seconds += reference.seconds
    looks.at_traffic(traffic, mine, tally)
    if mine.tensors() or names_a_device(mine):
        looks.at_places(found, reference, place, tally)
    if uninitialised(case.operator):
        tally.seen(compare([_zeros(one) for one in found.on_host()], [_zeros(one) for one in reference.results], None, None))
        tally.note = "shape and format only: its values are uninitialised memory"
        return 1
    again = sides.on(chip)
    if drawn:
        tally.seen(_drawn(sides, seed, OFTEN[mode] if tally.drawn < VARIED else ONCE))
        tally.drawn += 1
        tally.note = "compared by distribution: its values are drawn"
        _look_twice(case, found, again, sides, tally)
        return 1
    truth = _truth(call, sample, case, tally)
    tolerance = tolerance_of(op, dtype, str(torch.device(place).type))
    mine_on_host = found.on_host()
    tally.seen(compare(mine_on_host, reference.results, truth, tolerance, signs=forth and type(op).__name__ in ELEMENTWISE))
    _look_twice(case, found, again, sides, tally)
    if forth:
        looks.at_strides(found, reference, sample, tally)
        looks.at_arguments(mine, reference_input, sample, tally)
        looks.at_aliases(mine, found, reference_input, reference, tally)
        if tally.varied < VARIED and number < TRIED and not process:
            left = list(variants(op, sample, case.operator, chip, seed, reference.results))
            tally.varied += bool(left)
            for how, results in left:
                if isinstance(results, str):
                    tally.see(Word.WRONG, f"{how}: {results}")
                else:
                    tally.seen(compare(results, reference.results, truth, tolerance), f"{how}: ")
    return 1


def _after_seed(seed: int) -> Any:
    return torch.Generator().manual_seed(seed).get_state()


def _truth(call: Any, sample: Sample, case: Case, tally: Tally) -> Sequence[Any] | None:
    if listed(case.operator, OF_THE_FORMAT):
        tally.note = "the reference chip is its truth: its meaning is of the format"
        return None
    try:
        return tuple(call(widened(sample), HOST).results)
    except Exception as error:
        tally.note = f"the reference chip is its truth: in float64 the host says {_told(error)}"
        return None


def _drawn(sides: _Sides, seed: int, patience: randoms.Patience) -> Distance:
    def draw(where: Side) -> Callable[[int], Sequence[Any]]:
        return lambda one: sides.on(where, seed=one).on_host()

    return randoms.alike(draw(sides.chip), draw(HOST), seed, patience)


def _look_twice(case: Case, found: Outcome, again: Outcome, sides: _Sides, tally: Tally) -> None:
    """The same seed, the same arguments: the same bits, where the reference chip gives the same bits twice."""
    if listed(case.operator, HOST_DIFFERS_TWICE) or looks.same(found.on_host(), again.on_host()):
        return
    if looks.same(sides.on(HOST).results, sides.on(HOST).results):
        known = listed(case.operator, MAY_DIFFER_TWICE)
        why = ", as torch documents it for CUDA" if known else ""
        tally.see(Word.NONDETERMINISTIC, f"the same call with the same seed gave other bits{why}")


def _zeros(value: Any) -> Any:
    return torch.zeros_like(value) if isinstance(value, torch.Tensor) else value


def tolerance_of(op: Any, dtype: Any, device: str) -> Tolerance | None:
    """Torch's default for the format, or the widest that its database asks for this operator. None for whole numbers."""
    if not (dtype.is_floating_point or dtype.is_complex):
        return None
    found = default(dtype)
    for one in _overrides(op, device):
        if dtype in one:
            absolute, relative = getattr(one[dtype], "atol", one[dtype]), getattr(one[dtype], "rtol", 0.0)
            found = Tolerance(max(found.absolute, absolute), max(found.relative, relative))
    return found


def _overrides(op: Any, device: str) -> Iterator[Any]:
    for info in op.decorators or ():
        if getattr(info, "device_type", None) in (None, "cpu", device) and getattr(info, "cls_name", None) in (
            None,
            "TestCommon",
        ):
            for decorator in getattr(info, "decorators", [info]):
                yield from [decorator.d] if hasattr(decorator, "d") and isinstance(decorator.d, dict) else []


def _told(error: BaseException) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:200]}"
