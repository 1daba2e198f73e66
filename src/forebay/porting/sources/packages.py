"""Packages whose wheels hold CUDA code, by the name that pip or conda knows, and what there is of each for other chips.

Asked:  a project requires `cupy-cuda12x`, `triton` or `torch==2.1.0+cu118`: what does that ask of a chip?
Answer: `judge(name, rest)`: a rule of porting.source_rules, or None for a package without CUDA in it.
Limits: what vendors publish changes by the month; the table is of 2026-11-22 and by family, not by version. That a package
        is required says nothing about whether it is used.
"""

from __future__ import annotations

import re

from forebay.porting.shim.standins.finder import STANDINS


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


# There are no builds but CUDA's, and nothing of the same name does its work elsewhere.
CUDA_ONLY = _names(
    "pycuda scikit-cuda tensorrt tensorrt-llm torch-tensorrt tensorrt-lean tensorrt-dispatch polygraphy nvidia-dali "
    "nvidia-modelopt "
    "cudf cuml cugraph cuspatial cuxfilter rmm raft-dask pylibraft pylibcudf cucim cuvs cuopt dask-cuda dask-cudf kvikio "
    "numba-cuda cuda-python cuda-core cuda-bindings nvidia-cutlass nvidia-cutlass-dsl cuquantum cuquantum-python "
    "cutensor nvmath-python "
    "nvidia-cudnn-frontend tinycudann deep-ep deep-gemm flashinfer flashinfer-python flashinfer-jit-cache "
    "flashinfer-cubin flash-mla vllm-flash-attn flash-attn-3 "
    "sageattention sgl-kernel gsplat diff-gaussian-rasterization nvdiffrast kaolin faiss-gpu pytorch-quantization "
    "quack-kernels pynvvideocodec "
    "grouped-gemm autoawq-kernels"
)
# Built for AMD's cards too, by their authors or by AMD, and for no processor cores.
KIN_BUILD = _names(
    "cupy mamba-ssm causal-conv1d transformer-engine transformer-engine-torch exllamav2 exllama "
    "fast-hadamard-transform megablocks"
)
# Vendors build these for their chips (AMD, Huawei, Intel, ..., differing by package), and there is a build for cores.
VENDOR_BUILD = _names(
    "vllm sglang lmdeploy onnxruntime-gpu tensorflow-gpu tf-nightly-gpu paddlepaddle-gpu jax-cuda12-plugin jax-cuda12-pjrt "
    "jax-cuda11-plugin auto-gptq gptqmodel autoawq horovod mmcv-full pytorch-gpu mxnet"
)
# Work without a card too: wheels for processor cores, or a build from source.
FROM_SOURCE = _names(
    "torch-scatter torch-sparse torch-cluster torch-spline-conv pyg-lib pytorch3d mmcv dgl k2 spconv torchsparse "
    "minkowskiengine warp-lang "
    "torch-points-kernels"
)
TRITON = _names("triton triton-nightly pytorch-triton triton-kernels")
MONITOR = _names("nvidia-ml-py nvidia-ml-py3 pynvml py3nvml gpustat nvitop gputil nvsmi")
# Parts of CUDA: conda's names, then those that pip installs beside torch.
NEEDLESS = _names(
    "cudatoolkit cudatoolkit-dev cuda cuda-toolkit cuda-version cuda-nvcc cuda-runtime cuda-libraries "
    "cuda-libraries-dev cuda-cudart cuda-cudart-dev "
    "cuda-nvrtc cuda-cupti cuda-compiler cuda-nvtx cuda-command-line-tools cuda-cccl cuda-profiler-api "
    "cuda-driver-dev cuda-tools cudnn nccl libcublas "
    "libcublas-dev libcusparse libcusparse-dev libcusolver libcusolver-dev libcufft libcufft-dev libcurand "
    "libcurand-dev libnpp libnvjpeg nvidia-pyindex nvtx"
)
_STOOD_IN = frozenset({"bitsandbytes", *(standin.distribution.replace("_", "-") for standin in STANDINS)}) - MONITOR
_TORCH = _names(
    "torch torchvision torchaudio torchtext pytorch jaxlib dgl torch-scatter torch-sparse torch-cluster "
    "torch-spline-conv pyg-lib mmcv"
)

_NVIDIA_PART = re.compile(
    r"nvidia-[a-z0-9-]+-cu\d\d|nvidia-(?:cublas|cudnn|cuda|cufft|curand|cusolver|cusparse\w*|nccl|nvtx|nvjitlink"
    r"|cufile|nvshmem)\b.*|libcu\w+-cu\d+"
)
_CUDA_NAMED = re.compile(r"(.+?)[-_]?(?:cuda|cu)-?(\d{2,3})x?")  # cupy-cuda12x, spconv-cu118, dgl-cu102
_CUDA_TAG = re.compile(r"(?:\+|%2B)(?:pt\w*?)?cu\d{2,3}\b|=\s*\*?=?\s*[\w.*]*cuda[\w.*]*|\bpt\d+cu\d+")
INDEX = re.compile(
    r"https?://\S*?(?:/whl/(?:nightly/|test/)?cu\d+|/cu\d{2,3}(?:/|\b)|pypi\.nvidia\.com|pypi\.ngc\.nvidia\.com"
    r"|data\.pyg\.org/whl/\S*cu\d+)\S*"
)


def canonical(name: str) -> str:
    """The name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def judge(name: str, rest: str = "") -> str | None:
    """The rule for a required package; `rest` is what follows its name: extras, version, source."""
    name = canonical(name)
    if re.search(r"rocm|\+xpu|\+cpu", rest):
        return None  # another vendor's build, asked for by its address or its tag
    if name not in CUDA_ONLY and (re.sub(r"-(?:dev|static)$", "", name) in NEEDLESS or _NVIDIA_PART.fullmatch(name)):
        return "req-needless"
    if name == "pytorch-cuda" or (name == "pytorch-mutex" and "cuda" in rest) or (name in _TORCH and _CUDA_TAG.search(rest)):
        return "req-cuda-torch"
    if name in ("jax", "jaxlib", "tensorflow", "tf-nightly") and re.search(r"\[[^\]]*cuda", rest):
        return "req-vendor-build"
    if name == "numba" and re.search(r"\[[^\]]*cuda", rest):
        return "req-cuda-only"
    found = _by_name(name)
    if found is None and (named := _CUDA_NAMED.fullmatch(name)):
        found = _by_name(named.group(1)) or "req-cuda-only"
    return found


def _by_name(name: str) -> str | None:
    tables = (
        ("req-stood-in", _STOOD_IN),
        ("req-monitor", MONITOR),
        ("req-triton", TRITON),
        ("req-cuda-only", CUDA_ONLY),
        ("req-kin-build", KIN_BUILD),
        ("req-vendor-build", VENDOR_BUILD),
        ("req-from-source", FROM_SOURCE),
    )
    return next((rule for rule, names in tables if name in names), None)
