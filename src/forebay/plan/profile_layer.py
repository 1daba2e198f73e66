"""A layer benchmark: transformer layers run on this machine's card until its power limit bites, and become a calibration.

Asked:  by how much longer do a layer's kernels take here, warm and for long, than the planner's tables say?
Answer: `measure` times layers of plain torch, forward and backward, without a stop; the median of the last half counts.
        `factor_of` is the factor (`fit.factor`) at which what `layers.layer` expects of the same layers is right in the median.
Units:  seconds of one forward and backward pass of one layer.
Limits: one card and one layer: no transfers, no optimizer, no waiting for slower cards, nobody's training software. torch's own
        attention and elementwise kernels, for which PLAIN makes allowance by count and not by measurement. Never run by us on an
        accelerator; on CPUs only.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from forebay.errors import BadInput
from forebay.plan.calibration import Calibration
from forebay.plan.cuts import cuts
from forebay.plan.fit import HIGH, LOW, factor
from forebay.plan.framework import Framework
from forebay.plan.kernels.known import LIKE, Device
from forebay.plan.layers import layer
from forebay.plan.model import Model, Workload
from forebay.plan.network import links
from forebay.plan.passes import Site
from forebay.plan.plan import Plan
from forebay.plan.pool import Cards

Tell = Callable[[str, int, int], None]  # what runs, seconds that passed, of how many

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
TOGETHER = 4  # passes between two looks at the clock, so that the card never waits for the host for long
WARM = 2  # groups of them that aren't timed: kernels are chosen, memory is taken
# The gate's two kernels move ten bytes an element where a fused one moves six: a third more in all. torch's flash attention is
# the one written for Ampere's units. The card is fed ahead (TOGETHER), so the host's launches don't show.
PLAIN = Framework(name="torch", ampere=True, traffic=1.3, host_s=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One layer that was run: its shape, and what a forward and backward pass took."""

    work: Workload  # one layer; its sequences are the micro-batch
    seconds: float
    passes: int  # that the median was taken from


def shapes(number_format: str) -> tuple[Workload, ...]:
    """Layers as of Llama 3 8B, of Llama 2 13B, and an eighth of one of Llama 3 70B (arXiv 2407.21783; 2307.09288)."""
    return (
        _shape("8B", number_format, 2, width=4096, heads=32, kv_heads=8, mlp_width=14336),
        _shape("13B", number_format, 1, width=5120, heads=40, kv_heads=40, mlp_width=13824),
        _shape("70B/8", number_format, 1, width=8192, heads=8, kv_heads=1, mlp_width=3584, head_width=128),
    )


def measure(device: str, shapes: Sequence[Workload], seconds_most: float, tell: Tell | None = None) -> tuple[Timed, ...]:
    """Run each shape for an equal share of the time. Raises BadInput where the card can't."""
    each = seconds_most / len(shapes)
    out = []
    for work in shapes:
        try:
            out.append(_timed(device, work, each, tell or (lambda what, done, of: None)))
        except (RuntimeError, AssertionError) as error:  # out of memory, no driver, torch built without the device
            asked = f"{work.model.name}, {work.number_format}, {work.sequences} x {work.tokens} tokens on {device}"
            raise BadInput("The layer can't be run here.", asked=asked, found=(str(error).splitlines() or [""])[0]) from error
    return tuple(out)


def factor_of(timed: Sequence[Timed], dev: Device, framework: Framework = PLAIN) -> float:
    """The factor at which the median layer comes out right."""
    return factor(lambda slower: expected(timed, dev, framework, slower), [one.seconds for one in timed])


def expected(timed: Sequence[Timed], dev: Device, framework: Framework, slower: float) -> list[float]:
    """What the planner expects of the same layers on one card. The host's launches are left out (PLAIN says why)."""
    cards = Cards(chip=dev.name, count=1, island=1, up_bytes_per_s=1.0, out_bytes_per_s=1.0)  # nothing travels
    site = Site(device=dev, links=links(cards), framework=replace(framework, host_s=0.0), slower=slower)
    found = []
    for one in timed:
        plan = cuts([Plan(replicas=1, shards=1, tensor=1, stages=(dev.name,), micro_batch=one.work.sequences)])
        both = layer(one.work, site, plan, experts=False)
        found.append(float((both.forward + both.backward).total.item()))
    return found


def calibration(timed: Sequence[Timed], dev: Device, version: str, day: str, command: str) -> Calibration:
    """The factor with its date and torch's version. Raises BadInput where no sensible factor explains the seconds."""
    slower = factor_of(timed, dev)
    form = timed[0].work.number_format
    if not LOW * 1.01 < slower < HIGH * 0.99:
        alone = median(one.seconds / told for one, told in zip(timed, expected(timed, dev, PLAIN, 1.0), strict=True))
        raise BadInput(
            "No sensible factor explains these layers.",
            asked=f"{dev.name}, {form}",
            found=f"measured {alone:.2f} times what the kernels' tables say",
            hint="is the card free, whole and not capped?",
        )
    figures = {f"slower_{LIKE.get(form, form)}": round(slower, 4), "layer_benchmark": float(len(timed))}
    return Calibration(subject=dev.name, measured=day, software={"torch": version}, figures=figures, command=command)


def ready(plugin: str | None) -> str:
    """torch's version, with the vendor's plug-in loaded. Raises BadInput where either is missing."""
    try:
        import torch

        if plugin:
            importlib.import_module(plugin)
    except ImportError as error:
        raise BadInput("A layer is run with torch, which can't be imported here.", found=str(error)) from error
    return str(torch.__version__)


def _shape(name: str, number_format: str, micro_batch: int, **sides: Any) -> Workload:
    # Learned positions: the layer that runs has no rotary, and none shall be counted.
    model = Model(name=name, layers=1, vocabulary=0, positions=1, **sides)
    return Workload(model=model, sequences=micro_batch, tokens=4096, number_format=number_format)


def _timed(device: str, work: Workload, seconds: float, tell: Tell) -> Timed:
    step, wait = _step(device, work), _waiter(device)
    for _ in range(WARM):
        step()
    wait()
    began = last = time.perf_counter()
    groups: list[float] = []
    while last - began < seconds or len(groups) < 2:
        for _ in range(TOGETHER):
            step()
        wait()
        now = time.perf_counter()
        groups.append((now - last) / TOGETHER)
        last = now
        tell(f"layer of {work.model.name}", int(last - began), max(1, int(seconds)))
    late = groups[len(groups) // 2 :]  # by then the card is warm, and its clock is what the power limit leaves
    return Timed(work=work, seconds=median(late), passes=len(late) * TOGETHER)


def _step(device: str, work: Workload) -> Callable[[], None]:
    """One forward and backward pass of one layer, with fresh gradients."""
    import torch
    from torch.nn.functional import linear, rms_norm, silu

    m, dtype = work.model, getattr(torch, DTYPES[work.number_format])
    kv = m.kv_heads * m.head

    def made(*sides: int) -> Any:
        drawn = torch.randn(sides, device=device, dtype=dtype) * sides[-1] ** -0.5  # random bits: zeros would save power
        return drawn.requires_grad_()

    qkv, out = made(m.heads * m.head + 2 * kv, m.width), made(m.width, m.heads * m.head)
    up, down = made(2 * m.mlp_width, m.width), made(m.width, m.mlp_width)
    scales = [torch.ones(m.width, device=device, dtype=dtype, requires_grad=True) for _ in range(2)]
    given = torch.randn((work.sequences, work.tokens, m.width), device=device, dtype=dtype, requires_grad=True)
    back = torch.randn_like(given)
    leaves = (qkv, out, up, down, *scales, given)

    def step() -> None:
        mixed: Any = linear(rms_norm(given, (m.width,), scales[0]), qkv)
        parts = mixed.split((m.heads * m.head, kv, kv), dim=-1)
        q, k, v = (part.unflatten(-1, (-1, m.head)).transpose(1, 2) for part in parts)
        seen = _attend(q, k, v).transpose(1, 2).flatten(2)
        x = given + linear(seen, out)
        gate, value = linear(rms_norm(x, (m.width,), scales[1]), up).chunk(2, dim=-1)
        y: Any = x + linear(silu(gate) * value, down)
        y.backward(back)
        for leaf in leaves:
            leaf.grad = None

    return step


def _attend(q: Any, k: Any, v: Any) -> Any:
    """Causal attention; queries share heads of keys and values."""
    from torch.nn.functional import scaled_dot_product_attention

    shared = q.shape[1] // k.shape[1]
    if shared == 1:
        return scaled_dot_product_attention(q, k, v, is_causal=True)
    try:
        return scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    except TypeError:  # before torch 2.5
        k, v = (one.repeat_interleave(shared, dim=1) for one in (k, v))
        return scaled_dot_product_attention(q, k, v, is_causal=True)


def _waiter(device: str) -> Callable[[], None]:
    """Wait until the device has done all that it was given. A CPU has when the call returns."""
    import torch

    kind = torch.device(device).type
    if kind == "cpu":
        return lambda: None
    room = getattr(torch, kind, None) or torch.accelerator
    return lambda: room.synchronize(torch.device(device))
