"""Extensions of torch, built as their projects build them. Each compiles torch's own headers, some 40 CPU seconds a file."""

import importlib.util
import json
import shutil

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch isn't installed"),
]

SOURCE = r"""
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/extension.h>

template <typename scalar_t>
__global__ void scale(torch::PackedTensorAccessor32<scalar_t, 2, torch::RestrictPtrTraits> x, scalar_t by) {
  const int i = blockIdx.x, j = threadIdx.x;
  if (j < x.size(1)) x[i][j] = x[i][j] * by;
}

torch::Tensor scaled(const torch::Tensor& x, double by) {
  TORCH_CHECK(x.is_cuda(), "x must be on cuda");
  const at::cuda::OptionalCUDAGuard guard(device_of(x));
  auto out = x.clone();
  AT_DISPATCH_FLOATING_TYPES_AND_HALF(x.scalar_type(), "scale", ([&] {
    scale<scalar_t><<<x.size(0), x.size(1), 0, at::cuda::getCurrentCUDAStream()>>>(
        out.packed_accessor32<scalar_t, 2, torch::RestrictPtrTraits>(), static_cast<scalar_t>(by));
  }));
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return out;
}

TORCH_LIBRARY(forebay_test, m) { m.def("scaled(Tensor x, float by) -> Tensor"); }
TORCH_LIBRARY_IMPL(forebay_test, CUDA, m) { m.impl("scaled", &scaled); }
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("scaled", &scaled); }
"""

USE = """
import json, torch
import scaled_extension as extension
from forebay.porting.kernels.extensions import launched
x = torch.randn(4, 7, device="cuda")
said = {
    "pybind": bool(torch.equal(extension.scaled(x, 3.0), x * 3)),
    "dispatcher": bool(torch.equal(torch.ops.forebay_test.scaled(x, 2.0), x * 2)),
    "half": bool(torch.equal(extension.scaled(x.half(), 2.0), x.half() * 2)),
    "device": str(extension.scaled(x, 1.0).device),
    "launches": sum(count for name, _, _, count in launched() if name.startswith("scale<")),
}
try:
    extension.scaled(x.cpu(), 1.0)
except RuntimeError as error:
    said["refused"] = "x must be on cuda" in str(error)
print("SAID " + json.dumps(said))
"""

SETUP = """
from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CUDAExtension
flags = {"cxx": ["-std=c++14"], "nvcc": ["-O2", "-gencode", "arch=compute_80,code=sm_80"]}
setup(name="scaled_extension", ext_modules=[CUDAExtension("scaled_extension", ["scale.cu"], extra_compile_args=flags)],
      cmdclass={"build_ext": BuildExtension})
"""

LOADED = """
import sys
from torch.utils.cpp_extension import load
sys.modules["scaled_extension"] = load("scaled_extension", ["scale.cu"], build_directory="build_jit", extra_cuda_cflags=["-O2"])
"""

WANTED = {"pybind": True, "dispatcher": True, "half": True, "device": "cuda:0", "launches": 4, "refused": True}


@pytest.fixture
def project(tmp_path):
    (tmp_path / "scale.cu").write_text(SOURCE)
    (tmp_path / "setup.py").write_text(SETUP)
    (tmp_path / "build_jit").mkdir()
    (tmp_path / "use.py").write_text(USE)
    (tmp_path / "load.py").write_text(LOADED + USE)
    return tmp_path


def said(ended):
    lines = [line[5:] for line in ended.stdout.splitlines() if line.startswith("SAID ")]
    assert lines, ended.stdout[-4000:] + ended.stderr[-4000:]
    return json.loads(lines[0])


def test_setup_py_builds_for_the_host(run, project):
    built = run("setup.py", "build_ext", "--inplace", folder=project, timeout=1200, MAX_JOBS="1")
    assert built.returncode == 0, built.stdout[-4000:] + built.stderr[-4000:]
    assert said(run("use.py", folder=project)) == WANTED


@pytest.mark.skipif(not shutil.which("ninja"), reason="torch's load needs ninja: pip install 'forebay[kernels]'")
def test_load_builds_for_the_host(run, project):
    assert said(run("load.py", folder=project, timeout=1200, MAX_JOBS="1")) == WANTED
