"""Kernels written for a card give on the host what torch gives."""

import importlib.util
from pathlib import Path

import pytest

OWN = Path(__file__).parent / "own"
pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch isn't installed")

CUDA = [
    "reduction in shared memory",
    "softmax with warp shuffles",
    "histogram with atomics",
    "transposed tiles",
    "stencil with constant memory",
    "scan of a block",
    "matrix product by tiles",
    "arithmetic in half",
    "templated launch in a header",
    "one warp in step",
]
TRITON = ["add", "softmax", "matrix product, autotuned", "layer norm with libdevice", "counting with atomics"]


@pytest.mark.parametrize("kernel", CUDA)
def test_a_cuda_kernel_agrees_with_torch(errors, kernel):
    assert errors(OWN / "cuda.kernels.py")[kernel] <= 1e-5


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton isn't installed: pip install 'forebay[kernels]'")
@pytest.mark.parametrize("kernel", TRITON)
def test_a_triton_kernel_agrees_with_torch(errors, kernel):
    assert errors(OWN / "triton.kernels.py")[kernel] <= 1e-5
