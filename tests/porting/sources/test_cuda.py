"""What is found in C++ and CUDA sources: a line, and the rule that it touches."""

from __future__ import annotations

import time

import pytest

from forebay.porting.sources import find, reads

DEVICE = "__device__ void f(float* p) {\n"


def rules(text: str, path: str = "k.cu") -> list[tuple[int, str]]:
    return [(found.line, found.rule) for found in find(path, text) if found.rule != "cu-file"]


def in_kernel(line: str) -> list[str]:
    """The rules of one line in a function of the card's side."""
    return [rule for at, rule in rules(DEVICE + line + "\n}\n") if at == 2]


@pytest.mark.parametrize(
    "line, rule",
    [
        # one kernel, easiest first
        ("__global__ void k(float* x) {", "cu-kernel"),
        ("__host__ __device__ inline int f(int x) { return x; }", "cu-device"),
        ("__constant__ float table[16];", "cu-device"),
        ("k<<<blocks, threads, 0, stream>>>(x);", "cu-launch"),
        ("extern __shared__ float buffer[];", "cu-shared"),
        ("__syncthreads();", "cu-barrier"),
        ("__threadfence_block();", "cu-barrier"),
        ("atomicAdd(&sum[0], value);", "cu-atomic"),
        ("gpuAtomicAdd(p, v);", "cu-atomic"),
        ("old = atomicCAS(address, assumed, next);", "cu-atomic"),
        ("v += __shfl_down_sync(mask, v, offset);", "cu-warp"),
        ("unsigned live = __activemask();", "cu-warp"),
        ("auto tile = cg::tiled_partition<16>(block);", "cu-warp"),
        ("int lane = threadIdx.x % warpSize;", "cu-warp"),
        # 32 lanes
        ("#define WARP_SIZE 32", "cu-lanes"),
        ("constexpr int kWarpSize = 32;", "cu-lanes"),
        ("#define FULL_MASK 0xffffffff", "cu-lanes"),
        ("v += __shfl_down_sync(0xffffffff, v, offset);", "cu-lanes"),
        ("v += __shfl_xor_sync(0xFFFFFFFFu, v, 1);", "cu-lanes"),
        ("int lane = threadIdx.x & 31;", "cu-lanes"),
        ("int warp = threadIdx.x >> 5;", "cu-lanes"),
        ("int lane = tid % 32;", "cu-lanes"),
        ("if (tid < 32) v = s[tid];", "cu-lanes"),
        ("const int warps = blockDim.x / 32;", "cu-lanes"),
        ("int grid_size = ceil_div(N * 32, block_size);", "cu-lanes"),
        ("#define WARP_SIZE 32U", "cu-lanes"),
        ("for (int offset = 16; offset > 0; offset /= 2)", "cu-lanes"),
        ("for (int o = 16; o; o >>= 1)", "cu-lanes"),
        ("auto warp = cg::tiled_partition<32>(block);", "cu-lanes"),
        ("volatile __shared__ float s[64];", "cu-shared"),
        # what isn't carried
        ("typedef cub::BlockReduce<float, 256> Reduce;", "cu-cub"),
        ("thrust::sort(begin, end);", "cu-thrust"),
        ("curand_init(seed, i, 0, &state);", "cu-curand"),
        ("cublasSgemm(handle, a, b, m, n, k);", "cu-library"),
        ("cudnnHandle_t handle;", "cu-library"),
        ("ncclAllReduce(x, y, n, ncclFloat, ncclSum, comm, stream);", "cu-library"),
        ("wmma::mma_sync(d, a, b, c);", "cu-tensor-core"),
        ('asm volatile("cp.async.ca.shared.global [%0], [%1], 16;");', "cu-asm"),
        ("warpgroup_wait<0>();", "cu-hopper"),
        ("cudaLaunchKernelEx(&config, kernel, x);", "cu-grid"),
        ("using Op = cute::SM80_16x8x16_F32F16F16F32_TN;", "cu-cutlass"),
        ("__nv_fp8_e4m3 y = __nv_fp8_e4m3(x);", "cu-fp8"),
        ("__pipeline_memcpy_async(to, from, 16);", "cu-async"),
        ("cg::grid_group g = cg::this_grid();", "cu-grid"),
        ("float v = tex2D(image, x, y);", "cu-texture"),
        ("cudaGraphLaunch(graph, stream);", "cu-graph"),
        ("cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, 0, args, 0);", "cu-driver"),
        # types, runtime, torch
        ("__half h = __float2half(x);", "cu-fp16"),
        ("__nv_bfloat162 pair;", "cu-fp16"),
        ("cudaMemcpyAsync(a, b, n, cudaMemcpyDeviceToHost, s);", "cu-runtime"),
        ("const int4 four = make_int4(1, 2, 3, 4);", "cu-runtime"),
        ("auto s = at::cuda::getCurrentCUDAStream();", "cu-torch"),
        ("C10_CUDA_KERNEL_LAUNCH_CHECK();", "cu-torch"),
        ("TORCH_CHECK(x.is_cuda(), \"x\");", "cpp-device"),
        ("auto o = x.options().device(torch::kCUDA);", "cpp-device"),
        ("TORCH_LIBRARY_IMPL(mine, CUDA, m) {", "cpp-dispatch"),
        ('m.impl("f", c10::DispatchKey::CUDA, f);', "cpp-dispatch"),
        ("REGISTER_DEVICE_IMPL(roi_align, CUDA, roi_align_cuda);", "cpp-dispatch"),
        ("#if __CUDA_ARCH__ >= 700", "cu-switch"),
        ("#ifdef WITH_CUDA", "cu-switch"),
        ("#include <cub/cub.cuh>", "cu-cub"),
        ("#include <thrust/device_vector.h>", "cu-thrust"),
        ("#include <cublas_v2.h>", "cu-library"),
        ("#include <curand_kernel.h>", "cu-curand"),
        ("#include <cuda_fp16.h>", "cu-fp16"),
        ("#include <cuda_fp8.h>", "cu-fp8"),
        ("#include <mma.h>", "cu-tensor-core"),
        ("#include <cooperative_groups.h>", "cu-warp"),
        ('#include "cutlass/cutlass.h"', "cu-cutlass"),
        ("#include <ATen/cuda/CUDAContext.h>", "cu-torch"),
        ("#include <cuda_runtime.h>", "cu-runtime"),
        ("#include <nvrtc.h>", "cu-driver"),
        ("#include <cuda/pipeline>", "cu-async"),
    ],
)  # fmt: skip
def test_a_line_is_told_by_the_hardest_thing_in_it(line, rule):
    assert in_kernel(line) == [rule]


@pytest.mark.parametrize(
    "line",
    [
        "// __shared__ and __syncthreads() in a comment",
        '/* k<<<1, 1>>>() */ printf("cudaMalloc failed");',
        'const char* text = R"(atomicAdd(x, 1))";',
        "int half = n / 2;",
        "int blocks = (n + 31) / 32;",
        "uint32_t hash = seed ^ 0xffffffff;",
        "float x = a << b;",
        "int cudaness = my_cuda_helper(n);",
        "dim3 block(32, 8);",
        "AtomicAddIntegerImpl<int, 4>()(address, val);",
        "for (int i = 0; i < 32; ++i) sum += s[i];",
        '#include "my_cuda_helpers.h"',
    ],
)
def test_words_that_only_look_so_are_no_uses(line):
    assert in_kernel(line) == []


def test_the_guard_of_a_header_is_no_switch():
    text = "#ifndef MY_CUDA_HELPERS_H\n#define MY_CUDA_HELPERS_H\n#ifdef USE_CUDA\n#endif\n#endif\n"
    assert rules(text, "helpers.h") == [(3, "cu-switch")]


def test_a_reduction_whose_lanes_go_in_step_is_told():
    steps = "".join(f"  s[tid] += s[tid + {width}];\n" for width in (32, 16, 8))
    text = "__device__ void reduce(volatile float* s, int tid) {\n" + steps + "}\n"
    assert rules(text) == [(1, "cu-device"), (2, "cu-in-step"), (3, "cu-in-step")]
    careful = text.replace(";\n", "; __syncwarp();\n")
    assert [rule for _, rule in rules(careful) if rule == "cu-in-step"] == []


def test_a_flag_that_is_volatile_is_no_reduction():
    text = "__device__ void apply(volatile int* noop, float* x) {\n  if (*noop) return;\n  x[0] = 1;\n}\n"
    assert rules(text) == [(1, "cu-device")]


def test_the_last_warp_of_a_reduction_counts_on_lanes_only_without_a_barrier():
    step = "__device__ void f(float* s, int tid) {{\n  if (tid < 32) {{\n    s[tid] = s[tid] + s[tid + 32];\n  }}\n{}}}\n"
    assert rules(step.format("")) == [(1, "cu-device"), (2, "cu-lanes"), (3, "cu-lanes")]
    assert rules(step.format("  __syncthreads();\n")) == [(1, "cu-device"), (5, "cu-barrier")]


def test_names_that_the_file_gives_itself_are_not_cudas():
    text = "#define cudaFreeAll(p) (free_all(p))\nint cudaMallocOrDie(void** p, size_t n) {\n  return cudaMalloc(p, n);\n}\n"
    assert rules(text + "void g() { cudaMallocOrDie(p, 1); cudaCheck(x); }\n") == [(3, "cu-runtime")]


def test_a_kernel_that_starts_a_kernel_is_told_from_a_start_on_the_host():
    text = "__global__ void a() { }\n__global__ void b() {\n  a<<<1, 1>>>();\n}\nvoid c() {\n  b<<<1, 1>>>();\n}\n"
    assert rules(text) == [(1, "cu-kernel"), (2, "cu-kernel"), (3, "cu-dynamic"), (6, "cu-launch")]


def test_a_file_of_kernels_says_how_hard_it_is():
    kinds = {
        "__global__ void k() {}": "k.cu: 1 kernel; hardest: plain kernels",
        "__global__ void k() { __shared__ int s[2]; }\n__global__ void l();": "k.cu: 2 kernels; hardest: shared memory",
        "__global__ void k() { __shfl_sync(m, v, 0); }": "k.cu: 1 kernel; hardest: warps",
        "#include <cub/cub.cuh>\n__global__ void k() {}": "k.cu: 1 kernel; hardest: libraries",
        '__global__ void k() { asm("bar.sync 0;"); }': "k.cu: 1 kernel; hardest: NVIDIA's own",
    }
    assert {text: find("k.cu", text)[0].what for text in kinds} == kinds


def test_what_a_macro_spreads_over_lines_is_found_on_its_lines():
    text = "#define BODY(x) \\\n  atomicAdd(x, 1); \\\n  __syncthreads();\n__device__ int y;\n"
    assert rules(text) == [(2, "cu-atomic"), (3, "cu-barrier"), (4, "cu-device")]


def test_a_finding_has_its_line_column_and_text():
    (_, found) = find("csrc/k.cu", "int x;\n  auto y = x; k<<<1, 1>>>(y);\n")
    assert (found.file, found.line, found.column) == ("csrc/k.cu", 2, 16)
    assert (found.what, found.excerpt) == ("<<<", "auto y = x; k<<<1, 1>>>(y);")
    assert found.meaning == "starts a kernel"


def test_plain_cpp_has_nothing_of_a_cards_side():
    text = 'void atomicAdd(int* p, int v);\nint lane = tid & 31;\nasm("nop");\n// cuda\n'
    assert find("host.cpp", text) == ()
    assert rules("#include <torch/extension.h>\nPYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {}\n// CUDA\n", "bind.cpp") == []


def test_a_header_of_the_host_beside_kernels_is_no_file_of_kernels():
    assert find("k.cuh", "#pragma once\nvoid forward(at::Tensor x);\n") == ()


def test_compiled_code_is_one_finding():
    assert [(f.line, f.rule) for f in find("k.ptx", ".version 7.0\n.target sm_80\n")] == [(1, "ptx-file")]


def test_lines_of_windows_and_odd_letters_keep_their_places():
    text = "// été \u4e2d\r\n__global__ void k() {}\r\n"
    assert [(f.line, f.column, f.rule) for f in find("k.cu", text)][1:] == [(2, 1, "cu-kernel")]


@pytest.mark.parametrize("text", ["", "\0\0\0", "/* open", '"open', "#define", "__global__ {{{", 'R"x(', "'", "#", "\\"])
def test_no_text_is_too_broken_to_read(text):
    find("k.cu", text)


@pytest.mark.parametrize(
    "path", ["a.cu", "a.cuh", "b/c.cpp", "x.ptx", "x.hpp", "CMakeLists.txt", "requirements.txt", "conf/a.yaml", "run.sh"]
)
def test_what_is_read(path):
    assert reads(path)


@pytest.mark.parametrize("path", ["a.py", "a.ipynb", "README.md", "a.png", "a.pt", "package-lock.json", "notes.txt"])
def test_what_is_not_read_here(path):
    assert not reads(path)


@pytest.mark.parametrize("path", ["k.cu", "Makefile", "run.sh", "requirements.txt", "conf.yaml", "conf.json", "a.ini"])
@pytest.mark.parametrize(
    "piece", ["cuda ", "s[tid]=s[tid]+", "grid = grid = N * 32 ", '\\"cuda', "__shfl_sync( ", "nvidia/", "(cuda"]
)
def test_lines_without_end_are_read_in_bounded_time(path, piece):
    began = time.process_time()
    find(path, piece * 20_000)
    assert time.process_time() - began < 5
