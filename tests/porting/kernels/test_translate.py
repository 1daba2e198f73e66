"""Sources for chips with other names: what is renamed, what is left, and what is told."""

import importlib.util

import pytest

from forebay.errors import Unavailable
from forebay.porting.kernels.translate import FAMILIES, compiler_of, main, to_hip, to_musa, traps


@pytest.mark.parametrize(
    "before, after",
    [
        ("#include <cuda_runtime.h>", "#include <musa_runtime.h>"),
        ("#include <cublas_v2.h>", "#include <mublas.h>"),
        ('#include "kernel.cuh"', '#include "kernel.muh"'),
        ("cudaMalloc(&p, n); cudaStream_t s;", "musaMalloc(&p, n); musaStream_t s;"),
        ("cublasSgemm(h); ncclAllReduce(a);", "mublasSgemm(h); mcclAllReduce(a);"),
        ("#if __CUDA_ARCH__ >= 800", "#if __MUSA_ARCH__ >= 800"),
        ("__nv_bfloat16 x;", "__mt_bfloat16 x;"),
        ("at::cuda::getCurrentCUDAStream()", "at::musa::getCurrentMUSAStream()"),
        ("k<<<1, 2>>>(x); // cuda stays in a comment", "k<<<1, 2>>>(x); // cuda stays in a comment"),
        ('puts("runs/cuda/x");', 'puts("runs/cuda/x");'),
        ("int cucumber, barracuda;", "int cucumber, barracuda;"),
    ],
)
def test_musa_names(before, after):
    assert to_musa(before) == after
    assert to_musa(after) == after  # doing it twice changes nothing


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="hipify is torch's, which isn't installed")
def test_hip_names_are_those_of_torchs_hipify():
    assert to_hip("#include <cuda_runtime.h>\ncudaMalloc(&p, n);") == "#include <hip/hip_runtime.h>\nhipMalloc(&p, n);"


@pytest.mark.parametrize(
    "line, why",
    [
        ("v += __shfl_down_sync(0xffffffff, v, 16);", "a mask for 32 lanes"),
        ("#define WARP_SIZE 32", "a warp of 32 lanes"),
        ("int lane = threadIdx.x % 32;", "counts on 32 lanes"),
        ("__syncwarp();", "a warp operation"),
        ('asm volatile("nop;");', "inline PTX"),
    ],
)
def test_what_counts_on_32_lanes_is_told(line, why):
    (trap,) = traps("int a;\n" + line, "k.cu")
    assert (trap.line, trap.why.startswith(why)) == (2, True)


def test_a_build_without_the_vendors_compiler_is_refused_by_its_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("MUSA_HOME", raising=False)
    with pytest.raises(Unavailable, match="mcc"):
        compiler_of(FAMILIES["musa"])
    source = tmp_path / "k.cu"
    source.write_text("#include <cuda.h>\n")
    assert main(["--to", "musa", "--out", str(tmp_path / "out"), "--build", str(source)]) == Unavailable.exit_code
    assert (tmp_path / "out" / "k.mu").read_text() == "#include <musa.h>\n"
    assert source.read_text() == "#include <cuda.h>\n"


def test_the_vendors_compiler_gets_the_translated_source(tmp_path, monkeypatch, capsys):
    compiler = tmp_path / "bin" / "mcc"
    compiler.parent.mkdir()
    compiler.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do last="$1"; shift; done\ncp "$last" "$2"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("MUSA_HOME", str(tmp_path))
    (tmp_path / "k.cu").write_text("cudaFree(p);\n")
    assert main(["--to", "musa", "--out", str(tmp_path / "out"), "--build", str(tmp_path / "k.cu")]) == 0
    assert (tmp_path / "out" / "k.o").read_text() == "musaFree(p);\n"
