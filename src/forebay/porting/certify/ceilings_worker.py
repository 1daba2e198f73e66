"""Measure how fast this device is, from inside the job. Torch and the standard library only.

Asked:  how many flop and bytes a second does the device reach in matrix products, copies and attention?
Answer: each is run at growing sizes (`ceilings_clock.grow`); at the best size the median of the runs counts.
Units:  flop/s and bytes/s. A product of n x n matrices has 2 n^3 flop. A copy on the card reads and writes each byte; between
        host and card a byte counts once. Causal attention over T tokens has half of 4 B H T^2 D flop, and 2.5 times that backward
        (FlashAttention-2, arXiv 2307.08691, section 4.1).
Limits: the kernels that torch has there, not the best that can be written. Nothing is clipped by the vendor's sheet. Python 3.9
        and torch 2.4 run it.

    python -m forebay.porting.certify.ceilings_worker --device cuda [--import torch_npu] [--seconds 60]

prints a JSON line for each ceiling.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

from forebay.porting.certify.ceilings_clock import Call, Clock, Work, absent, grow

FORMATS = ("fp32", "tf32", "bf16", "fp16", "fp8", "int8")
COPIES = ("on the card", "host to card", "host to card, pinned", "card to host", "card to host, pinned")
OF_16_BITS = {"bf16": torch.bfloat16, "fp16": torch.float16}
SHARE_OF_MEMORY = 0.25
MIB = 1 << 20


def matmul(device: str, clock: Clock, seconds: float) -> Iterator[dict[str, Any]]:
    before = torch.get_float32_matmul_precision()
    for word in FORMATS:
        if word == "tf32" and not switches_tf32(device):
            yield absent("matmul", word, "flop/s", "this device's torch has no switch for tf32")
            continue
        torch.set_float32_matmul_precision("high" if word == "tf32" else "highest")
        yield grow("matmul", word, "flop/s", products(device, word), clock, seconds / len(FORMATS))
    torch.set_float32_matmul_precision(before)


def switches_tf32(device: str) -> bool:
    kind = torch.device(device).type
    return kind != "cpu" and hasattr(getattr(torch.backends, kind, None), "matmul")


def products(device: str, word: str) -> Iterator[Work]:
    n = 256
    while 3 * 4 * n * n <= memory(device):
        yield f"{n} x {n} x {n}", 2.0 * n**3, product(device, word, n)
        n *= 2


def product(device: str, word: str, n: int) -> Call:
    if word == "int8":
        a, b = (torch.randint(-8, 8, (n, n), dtype=torch.int8).to(device) for _ in range(2))
        b = b.t().contiguous().t()  # the layout that the libraries of cards want
        return lambda: torch._int_mm(a, b)
    if word == "fp8":
        a, b = (torch.randn(n, n).to(torch.float8_e4m3fn).to(device) for _ in range(2))
        b = b.t().contiguous().t()
        one = torch.ones((), device=device)
        return lambda: torch._scaled_mm(a, b, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
    a, b = (torch.randn(n, n).to(device, OF_16_BITS.get(word, torch.float32)) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def copy(device: str, clock: Clock, seconds: float) -> Iterator[dict[str, Any]]:
    names = COPIES if torch.device(device).type != "cpu" else COPIES[:1]
    for name in names:
        yield grow("copy", name, "bytes/s", copies(device, name), clock, seconds / len(names))


def copies(device: str, name: str) -> Iterator[Work]:
    nbytes, pinned = MIB, name.endswith("pinned")
    while 2 * nbytes <= memory(device):
        here = torch.ones(nbytes, dtype=torch.uint8)  # pages that nobody wrote to are no memory yet
        if name == "on the card":
            source, target, moved = here.to(device), torch.zeros(nbytes, dtype=torch.uint8, device=device), 2.0 * nbytes
        else:
            here = here.pin_memory() if pinned else here
            there = torch.zeros(nbytes, dtype=torch.uint8, device=device)
            source, target = (here, there) if name.startswith("host") else (there, here)
            moved = float(nbytes)
        yield f"{nbytes // MIB} MiB", moved, copying(source, target, pinned)
        nbytes *= 2


def copying(source: Any, target: Any, pinned: bool) -> Call:
    return lambda: target.copy_(source, non_blocking=pinned)


def attention(device: str, clock: Clock, seconds: float) -> Iterator[dict[str, Any]]:
    for word in ("fp32", *OF_16_BITS):
        for backward in (False, True):
            name = f"{word} causal {'backward' if backward else 'forward'}"
            works = attentions(device, OF_16_BITS.get(word, torch.float32), backward)
            yield grow("attention", name, "flop/s", works, clock, seconds / 6)


def attentions(device: str, dtype: Any, backward: bool) -> Iterator[Work]:
    """One sequence, 8 heads of 64: small models' heads. A device that keeps all scores needs T^2 of memory."""
    heads, width, tokens = 8, 64, 128
    while 8 * heads * tokens * width * 4 + 2 * heads * tokens * tokens * 4 <= memory(device):
        qkv = [torch.randn(1, heads, tokens, width).to(device, dtype).requires_grad_(backward) for _ in range(3)]
        flop = 2.0 * heads * tokens * tokens * width
        yield f"B=1 H={heads} D={width} T={tokens}", flop * (2.5 if backward else 1), attending(qkv, backward)
        tokens *= 2


def attending(qkv: Any, backward: bool) -> Call:
    if not backward:
        return lambda: F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=True)
    out = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=True)
    seed = torch.randn_like(out)
    return lambda: torch.autograd.grad(out, qkv, seed, retain_graph=True)


def memory(device: str) -> int:
    """Bytes of the device's free memory that may be used."""
    try:
        free = int(getattr(torch, torch.device(device).type).mem_get_info()[0])
    except (AttributeError, RuntimeError, TypeError):  # no such call, as on the processor
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    return int(free * SHARE_OF_MEMORY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", required=True)
    parser.add_argument("--import", dest="imports", nargs="*", default=[], help="modules that bring the device to torch")
    parser.add_argument("--kind", action="append", choices=sorted(MEASURED), help="only this; may be said again")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each kind, about (default 60)")
    asked = parser.parse_args()
    for name in asked.imports:
        importlib.import_module(name)
    torch.manual_seed(0)
    for kind in asked.kind or MEASURED:
        for line in MEASURED[kind](asked.device, Clock(asked.device), asked.seconds):
            print(json.dumps(line), flush=True)


MEASURED = {"matmul": matmul, "copy": copy, "attention": attention}

if __name__ == "__main__":
    main()
