"""The command nvcc: what it understands, what it refuses and in which words."""

import subprocess
import sys
from pathlib import Path

import pytest

from forebay.errors import Refused
from forebay.porting.kernels import nvcc
from forebay.porting.kernels.rules import explain
from forebay.porting.kernels.toolkit import toolkit

TORCHS = [
    "-DNAME=x", "-isystem", "/a/include", "-D__CUDA_NO_HALF_OPERATORS__", "--expt-relaxed-constexpr",
    "-gencode=arch=compute_80,code=sm_80", "--ptxas-options=-v", "--compiler-options", "-fPIC", "-std=c++20",
    "-lineinfo", "-c", "a.cu", "-o", "a.o",
]  # fmt: skip


def test_words_for_the_card_are_dropped_and_those_for_the_host_kept():
    order = nvcc.read(TORCHS)
    assert order.sources == ("a.cu",) and order.output == "a.o" and order.only_compile
    assert order.flags == ("-DNAME=x", "-isystem", "/a/include", "-D__CUDA_NO_HALF_OPERATORS__", "-fPIC", "-std=c++20")


def test_a_program_is_linked_from_sources_and_objects():
    order = nvcc.read(["-O3", "--use_fast_math", "a.cu", "b.o", "-lcublas", "-L/lib", "-Xcompiler", "-Wall,-fopenmp", "-o", "a"])
    assert (order.sources, order.objects, order.linking) == (("a.cu",), ("b.o",), ("-lcublas", "-L/lib"))
    assert order.flags == ("-O3", "-Wall", "-fopenmp") and not order.only_compile


def refused(text):
    with pytest.raises(Refused) as error:
        nvcc.carry('# 1 "user.cu"\n' + text, {})
    return error.value.found


@pytest.mark.parametrize(
    "line, rule",
    [
        ('asm volatile("mov.u32 %0, 1;" : "=r"(x));', "ptx"),
        ("cublasSgemm(handle, a, b);", "library"),
        ("auto h = at::cuda::getCurrentCUDABlasHandle();", "library"),
        ("wmma::mma_sync(c, a, b, c);", "wmma"),
        ("cutlass::gemm::device::Gemm<float> gemm;", "cutlass"),
        ("float v = tex2D<float>(image, x, y);", "texture"),
        ("cudaLaunchCooperativeKernel(f, grid, block, arguments);", "cooperative grid"),
    ],
)
def test_what_cannot_be_carried_is_refused_with_its_line(line, rule):
    assert refused(f"int before;\nvoid f() {{\n  {line}\n}}").startswith(f"user.cu:3: {rule}: ")


def test_a_kernel_that_launches_a_kernel_is_refused():
    assert refused("__global__ void f() {\n  g<<<1, 1>>>();\n}").startswith("user.cu:2: dynamic parallelism: ")


def test_a_kernel_that_is_empty_without_a_card_is_refused():
    assert refused("__global__ void f(int* a) {\n}").startswith("user.cu:1: empty kernel: ")


@pytest.mark.parametrize(
    "text",
    [
        "void cublasCheck(int a) { } void g() { cublasCheck(1); }",
        "cublasHandle_t handle;",
        "int texture = 3;",
        'f("asm");',
        "cublasCreate(&handle);",
    ],
)
def test_a_name_alone_is_not_refused(text):
    assert nvcc.carry('# 1 "user.cu"\n' + text, {})


def test_the_text_of_headers_is_not_looked_at():
    text = '# 1 "/usr/include/x.h" 1 3\nvoid f() { asm("nop"); }\n# 2 "user.cu"\nint a;\n'
    assert nvcc.carry(text, {}) == text


@pytest.mark.parametrize(
    "words, rule",
    [
        ("a.cu:3:10: fatal error: cub/cub.cuh: No such file or directory", "rule header: CUB"),
        ("a.cu:9:3: error: '__ldmatrix' was not declared in this scope", "rule intrinsic: "),
        ("a.cu:9:3: error: \u2018cudaFoo\u2019 was not declared in this scope", "rule intrinsic: "),
        ("a.cu:9:3: error: expected ';'", ""),
    ],
)
def test_the_compilers_words_lead_to_a_rule(words, rule):
    assert explain(words).startswith(rule)


def test_a_file_that_does_not_compile_gives_the_compilers_words_and_the_users_line(tmp_path):
    source = tmp_path / "wrong.cu"
    source.write_text("__global__ void f(int* a) {\n  a[0] = __not_there(1);\n}\n")
    home = toolkit(tmp_path / "cache", "12.6")
    ended = subprocess.run(
        [home / "bin" / "nvcc", "-c", source, "-o", tmp_path / "a.o"], capture_output=True, text=True, timeout=100
    )
    assert ended.returncode != 0
    assert f"{source}:2:10: error: " in ended.stderr and "rule intrinsic" in ended.stderr


def test_the_toolkit_says_its_release_and_is_made_once(tmp_path):
    home = toolkit(tmp_path, "12.8")
    said = subprocess.run([home / "bin" / "nvcc", "--version"], capture_output=True, text=True, timeout=60)
    assert "release 12.8" in said.stdout
    assert toolkit(tmp_path, "12.8") == home != toolkit(tmp_path, "12.6")
    assert sys.executable in (home / "bin" / "nvcc").read_text() and (home / "include" / "cuda_runtime.h").exists()


def test_every_header_of_the_stand_in_is_packaged():
    text = (Path(nvcc.__file__).parents[4] / "pyproject.toml").read_text()
    assert "porting/kernels/include/**/*" in text
