"""What the scan looks for beside Python, what each thing means, and what is to be done about it.

Asked:  a kernel shuffles between lanes, a Makefile calls nvcc, a requirement is cupy: what does that ask of a chip?
Answer: the table below, with the columns of `porting.rules`. What it says of cores is what porting/kernels carries
        (docs/kernels.md): kernels, shared memory, barriers, shuffles and tiles are emulated; CUB, Thrust, cuRAND's device side,
        FP8, PTX and CUDA's libraries aren't there. Of chips whose torch keeps the name "cuda": their compilers take CUDA's
        text, or torch's build renames it for them, so plain kernels need a build and no pen; what counts on 32 lanes
        needs one where a warp has another width (LANES, by the catalogue's warp_size).
Limits: `minutes` are estimates of ours for somebody who knows the project, not measured on people. Among NVIDIA's own chips no
        difference is made, though a T4 has no TMA.
"""

from __future__ import annotations

from forebay.porting.findings import Word
from forebay.porting.rule import Rule

RUNS, EMULATED, REWRITE, BLOCKED = Word.RUNS, Word.EMULATED, Word.REWRITE, Word.BLOCKED


def _kernel(key: str, meaning: str, kin: Word, cpu: Word, todo: str, minutes: float, own: Word = BLOCKED) -> Rule:
    """A thing in a CUDA source. On chips with a language of their own there is nothing for it, unless it is translated."""
    return Rule(key, meaning, kin, cpu, own, todo=todo, minutes=minutes)


_BUILD = "let the vendor's compiler build it; where there is none, write it with torch's operators or in Triton"

_KERNEL_TABLE = (
    _kernel("cu-file", "CUDA kernels in a file of their own; on cores they are compiled as C++", REWRITE, EMULATED,
            "build it with the vendor's compiler and compare its results with those on cores", 20),
    _kernel("ptx-file", "compiled for NVIDIA's cards only", BLOCKED, BLOCKED, "build it again from its source", 60),
    _kernel("cu-kernel", "a kernel: a function that a card runs", RUNS, EMULATED, _BUILD, 30),
    _kernel("cu-device", "a function, or a constant, for the card's side", RUNS, EMULATED, _BUILD, 5),
    _kernel("cu-launch", "starts a kernel", RUNS, EMULATED, "call what took the kernel's place", 3),
    _kernel("cu-shared", "memory that the threads of a block share", RUNS, EMULATED, "see that it fits the chip's own size", 10),
    _kernel("cu-barrier", "threads of a block wait for each other", RUNS, EMULATED, "keep it with the kernel", 2),
    _kernel("cu-atomic", "adds or swaps atomically; sums come in another order each time", RUNS, EMULATED,
            "allow for another order in what compares results", 3),
    _kernel("cu-warp", "threads of a warp exchange values", RUNS, EMULATED,
            "take the width from warpSize, and masks as wide as it", 10),
    _kernel("cu-lanes", "counts on 32 lanes in a warp", RUNS, EMULATED,
            "take 32, 31, 5 and the mask from the chip's width: 64 lanes give wrong sums without a word", 15),
    _kernel("cu-in-step", "counts on a warp's lanes going in step, without a barrier", REWRITE, REWRITE,
            "put __syncwarp() between the steps, or shuffle", 15),
    _kernel("cu-fp16", "half or bfloat16 by CUDA's own types", RUNS, EMULATED, "keep at::Half outside kernels", 3),
    _kernel("cu-fp8", "fp8 by CUDA's own types", REWRITE, REWRITE, "see which fp8 the chip has; compute in bf16 elsewhere", 30),
    _kernel("cu-cub", "CUB's sums and sorts over blocks", REWRITE, REWRITE,
            "include hipcub, or the vendor's CUB; on cores write the sum with shuffles", 20),
    _kernel("cu-thrust", "Thrust, or CUDA's standard library for the card's side", REWRITE, REWRITE,
            "use torch's operators (sort, cumsum, unique), or the vendor's Thrust", 20),
    _kernel("cu-curand", "random numbers drawn inside a kernel", REWRITE, REWRITE,
            "draw them with torch and hand them over, or use the vendor's cuRAND", 30),
    _kernel("cu-library", "a CUDA library: cuBLAS, cuDNN, cuSPARSE, cuFFT, cuRAND, cuSOLVER, NCCL", REWRITE, REWRITE,
            "call torch's operator that does the same (at::mm, at::convolution, at::fft_fft)", 15),
    _kernel("cu-tensor-core", "tensor cores by NVIDIA's own intrinsics", REWRITE, REWRITE,
            "write the product with the vendor's intrinsics, or call at::mm", 120),
    _kernel("cu-asm", "inline PTX, which only NVIDIA's compiler takes", REWRITE, REWRITE,
            "use the intrinsic, or the plain C++, that does the same", 60),
    _kernel("cu-hopper", "what only Hopper and later cards have: TMA, clusters, wgmma", BLOCKED, REWRITE,
            "write another kernel: no other chip has these parts", 240),
    _kernel("cu-cutlass", "CUTLASS or CuTe, which are made of PTX", REWRITE, BLOCKED,
            "use the vendor's own such library, or at::mm and scaled_dot_product_attention", 60),
    _kernel("cu-async", "copies in the background of a kernel", REWRITE, REWRITE, "copy with plain loads and a barrier", 30),
    _kernel("cu-grid", "a barrier over the whole grid", REWRITE, REWRITE, "split the kernel where it waits", 60),
    _kernel("cu-dynamic", "a kernel starts a kernel", REWRITE, REWRITE, "start it from the host", 60),
    _kernel("cu-texture", "textures and surfaces", REWRITE, REWRITE, "read the array itself", 30),
    _kernel("cu-graph", "CUDA graphs in C++", REWRITE, REWRITE, "start the kernels directly where there are no graphs", 30),
    _kernel("cu-driver", "CUDA's driver, or its run-time compiler", REWRITE, REWRITE, "use the runtime's interface", 60),
    _kernel("cu-runtime", "CUDA's runtime: memory, streams, events, errors, headers", RUNS, EMULATED,
            "let torch own memory and streams; elsewhere the vendor's runtime has a call of like name", 3, own=REWRITE),
    _kernel("cu-switch", "text that is there, or built, only with CUDA, or with one version of it", RUNS, EMULATED,
            "look at which branch the vendor's compiler takes", 3, own=REWRITE),
)  # fmt: skip

_HOST_TABLE = (
    Rule("cu-torch", "torch's own C++ for CUDA: streams, guards, checks", RUNS, EMULATED, REWRITE,
         todo="use c10::DeviceGuard and c10::impl::VirtualGuardImpl, or the plug-in's header", minutes=5),
    Rule("cpp-device", "C++ that asks for a tensor on the device cuda", RUNS, RUNS, REWRITE,
         todo="compare with another tensor's device(), not with kCUDA", minutes=3),
    Rule("cpp-dispatch", "registers an operator for the dispatch key CUDA", RUNS, RUNS, REWRITE,
         todo="register it for the plug-in's key too (PrivateUse1, XPU, ...)", minutes=5),
)  # fmt: skip

_BUILD_TABLE = (
    Rule("build-cuda", "the build looks for CUDA's toolkit, or calls nvcc", REWRITE, REWRITE, BLOCKED,
         todo="let the build choose its compiler: hipcc, mcc, nvcc, or none", minutes=15),
    Rule("build-arch", "the build names NVIDIA's architectures", REWRITE, EMULATED, BLOCKED,
         todo="take the architecture from the compiler or the environment", minutes=5),
    Rule("build-library", "the build links a CUDA library", REWRITE, REWRITE, BLOCKED,
         todo="link the vendor's library, or call torch's operator", minutes=10),
    Rule("build-source", "the build names a CUDA source", REWRITE, EMULATED, BLOCKED,
         todo="build it only where a compiler for it is there", minutes=3),
    Rule("build-image", "a container image with CUDA in it", REWRITE, RUNS, REWRITE,
         todo="start from the vendor's image with its torch", minutes=20, names_device=False, decides=False),
    Rule("container-gpu", "asks a container or a queue for NVIDIA's cards", REWRITE, REWRITE, REWRITE,
         todo="ask for the vendor's resource (amd.com/gpu, huawei.com/Ascend910, ...), or leave it to the queue", minutes=5,
         names_device=False, decides=False),
    Rule("nvidia-tool", "calls a tool of NVIDIA's: a profiler, a checker, a module of the cluster", REWRITE, REWRITE, REWRITE,
         todo="call the vendor's tool, or make the step optional", minutes=10, names_device=False, decides=False),
)  # fmt: skip

_PACKAGE_TABLE = (
    Rule("req-cuda-only", "a required package that there is for CUDA only", REWRITE, BLOCKED, BLOCKED,
         todo="find what torch or another package has in its stead, or make it optional", minutes=240),
    Rule("req-kin-build", "a required package with CUDA wheels, which is built for AMD's cards too", REWRITE, BLOCKED, BLOCKED,
         todo="install the build for the chip, or make it optional", minutes=60),
    Rule("req-vendor-build", "a required package with CUDA wheels, which vendors build for their chips too", REWRITE, REWRITE,
         REWRITE, todo="install the vendor's build of it", minutes=20),
    Rule("req-from-source", "a required package with CUDA wheels, which also works without", RUNS, RUNS, REWRITE,
         todo="install its build for processor cores, or build it from source for the chip", minutes=20),
    Rule("req-triton", "requires Triton, whose wheels are for NVIDIA and AMD", REWRITE, EMULATED, REWRITE,
         todo="install the vendor's Triton", minutes=10),
    Rule("req-stood-in", "a required CUDA package whose common parts the shim stands in for", REWRITE, EMULATED, EMULATED,
         todo="make it optional: torch's scaled_dot_product_attention and optimizers do most of it", minutes=30),
    Rule("req-monitor", "a required tool that reads NVIDIA's counters", REWRITE, EMULATED, EMULATED,
         todo="make it optional", minutes=5, names_device=False),
    Rule("req-needless", "a required part of CUDA itself; it can be left out elsewhere", RUNS, RUNS, RUNS,
         todo="require it on NVIDIA's hosts only (an extra)", minutes=3, names_device=False),
    Rule("req-cuda-torch", "pins a build of torch, or an index of packages, to one CUDA", REWRITE, RUNS, REWRITE,
         todo="require plain torch, and leave the build to the place where it is installed", minutes=5, names_device=False),
)  # fmt: skip

_SETTING_TABLE = (
    Rule("accelerator", "a setting that chooses NVIDIA's cards by another word: gpu, MULTI_GPU", RUNS, RUNS, RUNS,
         todo="say auto, or take it from the command line", minutes=2),
    Rule("cuda-switch", "a setting or a flag that switches CUDA on or off", RUNS, RUNS, RUNS,
         todo="let it name a device, not a vendor", minutes=3),
)  # fmt: skip

SOURCE_TABLE = (*_KERNEL_TABLE, *_HOST_TABLE, *_BUILD_TABLE, *_PACKAGE_TABLE, *_SETTING_TABLE)

LANES = frozenset({"cu-warp", "cu-lanes"})  # right as they are where a warp has 32 lanes, and only there
# What porting.kernels.translate leaves for a person: no renaming makes it right.
UNTRANSLATED = frozenset({"ptx-file", "cu-asm", "cu-tensor-core", "cu-hopper", "cu-cutlass", "cu-fp8"})
TRANSLATED = frozenset(rule.key for rule in (*_KERNEL_TABLE, *_BUILD_TABLE[:4])) - UNTRANSLATED

# How hard a CUDA source is to carry elsewhere, easiest first, by what is in it.
DIFFICULTY = {
    "plain kernels": frozenset({"cu-kernel", "cu-device", "cu-launch", "cu-runtime", "cu-fp16", "cu-switch", "cu-torch"}),
    "shared memory": frozenset({"cu-shared", "cu-barrier", "cu-atomic"}),
    "warps": frozenset({"cu-warp", "cu-lanes", "cu-in-step"}),
    "libraries": frozenset(
        {"cu-cub", "cu-thrust", "cu-curand", "cu-library", "cu-graph", "cu-texture", "cu-driver", "cu-dynamic"}
    ),
    "NVIDIA's own": frozenset(
        {"cu-asm", "cu-tensor-core", "cu-hopper", "cu-cutlass", "cu-async", "cu-grid", "cu-fp8", "ptx-file"}
    ),
}  # fmt: skip
