"""The recipe for kernels.cu: each kernel beside what torch gives. Run by the tests and by benchmarks/porting_kernels.py."""

import ctypes

import torch

PROJECT = "forebay's own"
KIND = "cu"


def kernels(folder, tools):
    library = tools.compile([folder / "kernels.cu"])
    torch.manual_seed(0)

    def run(name, *arguments):
        tools.call(library, name, *arguments)

    x = torch.randn(10_000, device="cuda")
    out = torch.zeros(1, device="cuda")
    run("run_sum", x, out, x.numel())
    yield "reduction in shared memory", out[0], x.sum()

    x = torch.randn(37, 100, device="cuda")
    y = torch.empty_like(x)
    run("run_softmax", x, y, 37, 100)
    yield "softmax with warp shuffles", y, torch.softmax(x, 1)

    x = torch.randint(0, 50, (5000,), dtype=torch.int32, device="cuda")
    counts = torch.zeros(50, dtype=torch.int32, device="cuda")
    run("run_histogram", x, counts, 5000, 50)
    yield "histogram with atomics", counts, torch.bincount(x, minlength=50)

    x = torch.randn(50, 33, device="cuda")
    y = torch.empty(33, 50, device="cuda")
    run("run_transpose", x, y, 50, 33)
    yield "transposed tiles", y, x.T

    x = torch.randn(1000, device="cuda")
    y = torch.empty_like(x)
    run("run_stencil", x, y, 1000)
    padded = torch.nn.functional.pad(x, (1, 1))
    yield "stencil with constant memory", y, 0.25 * padded[:-2] + 0.5 * x + 0.25 * padded[2:]

    x = torch.rand(500, device="cuda")
    y = torch.empty_like(x)
    run("run_scan", x, y, 500)
    yield "scan of a block", y, x.cumsum(0)

    a, b = torch.randn(64, 64, device="cuda"), torch.randn(64, 64, device="cuda")
    c = torch.empty_like(a)
    run("run_matmul", a, b, c, 64)
    yield "matrix product by tiles", c, a @ b

    x, y = torch.randn(300, device="cuda").half(), torch.randn(300, device="cuda").half()
    wanted = (x.float() * 1.5 + y.float()).half()
    run("run_half", x, y, ctypes.c_float(1.5), 300)
    yield "arithmetic in half", y, wanted

    x = torch.randn(100, device="cuda")
    wanted = 3 * x
    run("run_from_header", x, 100)
    yield "templated launch in a header", x, wanted

    x, y = torch.randn(90, device="cuda"), torch.empty(96, device="cuda")
    run("run_mirror", x, y, 90)
    yield "one warp in step", y, torch.nn.functional.pad(x, (0, 6)).view(3, 32).flip(1).flatten()
