"""Triton kernels of our own, each beside what torch gives."""

import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

PROJECT = "forebay's own"
KIND = "triton"


@triton.jit
def add_kernel(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    tl.store(out + at, tl.load(x + at, mask=inside) + tl.load(y + at, mask=inside), mask=inside)


@triton.jit
def softmax_kernel(x, out, columns, BLOCK: tl.constexpr):
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    values = tl.load(x + row * columns + at, mask=at < columns, other=-float("inf"))
    powers = tl.exp(values - tl.max(values, axis=0))
    tl.store(out + row * columns + at, powers / tl.sum(powers, axis=0), mask=at < columns)


@triton.autotune(configs=[triton.Config({"M": 16, "N": 16}), triton.Config({"M": 32, "N": 16})], key=["size"])
@triton.heuristics({"K": lambda arguments: min(32, arguments["size"])})
@triton.jit
def matmul_kernel(a, b, c, size, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    rows, columns, inner = tl.program_id(0) * M + tl.arange(0, M), tl.program_id(1) * N + tl.arange(0, N), tl.arange(0, K)
    sum_MN = tl.zeros((M, N), dtype=tl.float32)
    for k in range(0, size, K):
        left = tl.load(a + rows[:, None] * size + (k + inner)[None, :])
        right = tl.load(b + (k + inner)[:, None] * size + columns[None, :])
        sum_MN += tl.dot(left, right, input_precision="ieee")
    tl.store(c + rows[:, None] * size + columns[None, :], sum_MN)


@triton.jit
def layernorm_kernel(x, weight, out, columns, eps, BLOCK: tl.constexpr):
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    inside = at < columns
    values = tl.load(x + row * columns + at, mask=inside, other=0.0)
    mean = tl.sum(values, axis=0) / columns
    apart = tl.where(inside, values - mean, 0.0)
    scale = libdevice.rsqrt(tl.sum(apart * apart, axis=0) / columns + eps)
    tl.store(out + row * columns + at, apart * scale * tl.load(weight + at, mask=inside), mask=inside)


@triton.jit
def count_kernel(x, counts, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(counts + tl.load(x + at, mask=at < n, other=0), 1, mask=at < n)


def kernels(folder, tools):
    torch.manual_seed(0)
    x, y = torch.randn(500, device="cuda"), torch.randn(500, device="cuda")
    out = torch.empty_like(x)
    add_kernel[(triton.cdiv(500, 128),)](x, y, out, 500, BLOCK=128)
    yield "add", out, x + y

    x = torch.randn(9, 100, device="cuda")
    out = torch.empty_like(x)
    softmax_kernel[(9,)](x, out, 100, BLOCK=128)
    yield "softmax", out, torch.softmax(x, 1)

    a, b = torch.randn(64, 64, device="cuda"), torch.randn(64, 64, device="cuda")
    c = torch.empty_like(a)
    matmul_kernel[lambda meta: (64 // meta["M"], 64 // meta["N"])](a, b, c, 64)
    yield "matrix product, autotuned", c, a @ b

    weight = torch.randn(100, device="cuda")
    layernorm_kernel[(9,)](x, weight, out, 100, 1e-5, BLOCK=128)
    yield "layer norm with libdevice", out, torch.nn.functional.layer_norm(x, (100,), weight)

    x = torch.randint(0, 16, (300,), device="cuda")
    counts = torch.zeros(16, dtype=torch.int32, device="cuda")
    count_kernel[(3,)](x, counts, 300, BLOCK=128)
    yield "counting with atomics", counts, torch.bincount(x, minlength=16)
