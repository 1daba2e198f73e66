"""Which rule a full name falls under.

Asked:  a script uses `torch.backends.cudnn.benchmark`, under whatever alias: which rule of `porting.rules` is that?
Answer: `rule_of_name` for anything that is named, `CALLS` for functions that matter when they are called, and the lists of
        packages, variables and arguments beside them.
Limits: a name of torch that isn't listed is known by CUDA, cuDNN, NCCL or NVTX in one of its parts. Packages are a list, as of
        November 2026; one that nobody has told us of is found only when "cuda" is in its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from forebay.porting.shim.standins.finder import STANDINS

# torch.cuda.<name> -> rule, by the first name after torch.cuda.
_GROUPS = {
    "choice": "is_available device_count set_device current_device get_device_name get_device_properties get_device_capability "
    "device device_of is_initialized init can_device_access_peer get_arch_list is_bf16_supported is_current_stream_capturing",
    "sync": "synchronize",
    "memory": "memory_allocated max_memory_allocated memory_reserved max_memory_reserved empty_cache reset_peak_memory_stats "
    "memory_summary memory_stats memory_stats_as_nested_dict memory_snapshot mem_get_info reset_max_memory_allocated "
    "reset_max_memory_cached reset_accumulated_memory_stats set_per_process_memory_fraction memory_cached max_memory_cached "
    "caching_allocator_alloc caching_allocator_delete memory ipc_collect OutOfMemoryError host_memory_stats "
    "device_memory_used get_per_process_memory_fraction MemPool use_mem_pool",
    "streams": "Stream Event stream current_stream default_stream set_stream ExternalStream StreamContext streams",
    "rng": "manual_seed manual_seed_all seed seed_all initial_seed get_rng_state get_rng_state_all set_rng_state "
    "set_rng_state_all random default_generators",
    "amp": "amp",
    "graphs": "CUDAGraph graph graphs make_graphed_callables graph_pool_handle",
    "nvtx": "nvtx",
    "telemetry": "cudart utilization memory_usage list_gpu_processes profiler nvml check_error",
    "card-only": "temperature power_draw clock_rate jiterator gds GreenContext CUDAPluggableAllocator change_current_allocator",
    "cuda-comm": "comm nccl",
    "cuda-tensor-type": "FloatTensor HalfTensor DoubleTensor BFloat16Tensor LongTensor IntTensor ShortTensor CharTensor "
    "ByteTensor BoolTensor sparse",
}
CUDA_NAMES: Mapping[str, str] = {name: rule for rule, names in _GROUPS.items() for name in names.split()}

# Packages whose wheels hold CUDA code, by the name that is imported; bitsandbytes brings kernels for the host too.
STOOD_IN = frozenset({"bitsandbytes", *(module for standin in STANDINS for module in standin.modules)})
_PACKAGES = """
    apex awq_ext causal_conv1d cuda cudf cugraph cucim cuml cupy cupyx cuspatial cutlass cv2.cuda deep_ep deep_gemm exllamav2
    fast_hadamard_transform flash_attn flash_attn_interface flashinfer GPUtil grouped_gemm mamba_ssm minkowskiengine
    MinkowskiEngine numba.cuda nvidia nvidia_smi nvitop nvtx py3nvml pycuda pynvml pytorch3d._C pytorch_memlab rmm sageattention
    skcuda spconv tensorrt tensorrt_llm tinycudann torch_tensorrt torchsparse transformer_engine vllm_flash_attn xformers
"""
CUDA_PACKAGES = STOOD_IN | frozenset(_PACKAGES.split())
# Libraries whose names we read as we do torch's: what has CUDA in it is meant for CUDA.
_LIBRARY_NAMES = """
    accelerate cv2 deepspeed detectron2 diffusers fairscale fairseq ignite lightning mmcv mmengine pytorch_lightning timm
    sglang torchaudio torchvision transformers vllm
"""
_LIBRARIES = frozenset(_LIBRARY_NAMES.split())
_BY_PART = {"nccl": "nccl", "nvtx": "nvtx", "cudnn": "backends", "nvfuser": "backends"}
_CUDA_PART = re.compile(r"cuda|cudnn|cublas|cufft|cusparse|nccl|nvtx|nvml|nvrtc|nvfuser", re.IGNORECASE)

# Variables of the environment: by their whole name, since "CUDA_ERROR" is most likely a constant.
VARIABLE = re.compile(
    r"CUDA_(VISIBLE_DEVICES|LAUNCH_BLOCKING|HOME|PATH|ROOT\w*|DEVICE\w*|CACHE\w*|MODULE\w*|MPS\w*|BIN\w*|ARCH\w*|INC\w*|LIB\w*"
    r"|TOOLKIT\w*|VERSION|COREDUMP\w*|INJECTION\w*|FORCE\w*|DISABLE\w*|ENABLE\w*|AUTO_BOOST|SCALE\w*|GRAPHS?\w*)"
    r"|(TORCH_|PYTORCH_)(CUDA|NCCL|NVTX)\w*|TORCH_ALLOW_TF32\w*|NCCL_[A-Z]\w*|NVIDIA_[A-Z]\w*|CUBLAS_\w+|CUDNN_\w+|CUPY_\w+"
    r"|FORCE_CUDA|USE_CUDA|USE_CUDNN|USE_NCCL|NVCC\w*|NVTE_\w+"
)

# Full names of functions that matter when they are called -> rule.
CALLS: Mapping[str, str] = {
    "torch.autocast": "autocast",
    "torch.amp.autocast": "autocast",
    "torch.amp.autocast_mode.autocast": "autocast",
    "torch.amp.GradScaler": "autocast",
    "torch.GradScaler": "autocast",
    "torch.amp.grad_scaler.GradScaler": "autocast",
    "torch.distributed.init_process_group": "distributed",
    "torch.distributed.new_group": "distributed",
    "torch.distributed.device_mesh.init_device_mesh": "distributed",
    "torch.distributed.init_device_mesh": "distributed",
    "torch.nn.parallel.DistributedDataParallel": "distributed",
    "torch.nn.parallel.distributed.DistributedDataParallel": "distributed",
    "torch.nn.DataParallel": "distributed",
    "torch.nn.parallel.DataParallel": "distributed",
    **{
        f"torch.nn.parallel.{name}": "device-ids"
        for name in (
            "data_parallel",
            "replicate",
            "scatter",
            "gather",
            "parallel_apply",
            "replicate.replicate",
            "scatter_gather.scatter",
            "scatter_gather.gather",
            "scatter_gather.scatter_kwargs",
            "parallel_apply.parallel_apply",
            "data_parallel.data_parallel",
        )
    },
    "torch.distributed.fsdp.FullyShardedDataParallel": "distributed",
    "torch.distributed.fsdp.fully_shard": "distributed",
    "torch.utils.cpp_extension.CppExtension": "cpp-extension",
    "torch.utils.cpp_extension.load": "cpp-extension",
    "torch.utils.cpp_extension.load_inline": "cpp-extension",
    "torch.set_float32_matmul_precision": "matmul-precision",
}
SCALERS = frozenset({"torch.amp.GradScaler", "torch.GradScaler", "torch.amp.grad_scaler.GradScaler"})

# Full names that matter wherever they stand -> rule.
_NAMES: Mapping[str, str] = {
    "torch.bfloat16": "bf16",
    "torch.float64": "fp64",
    "torch.double": "fp64",
    "torch.DoubleTensor": "fp64",
    **{f"torch.float8_{kind}": "fp8" for kind in ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz", "e8m0fnu")},
    "torch._scaled_mm": "fp8",
    "torch.version.cuda": "cuda-version",
    "torch.Tensor.cuda": "cuda-move",
    "torch.nn.Module.cuda": "cuda-move",
    "torch.Tensor.is_cuda": "is-cuda",
    "torch.utils.cpp_extension.CUDAExtension": "cuda-extension",
    "torch.utils.cpp_extension.CUDA_HOME": "cuda-extension",
    "torch.utils.cpp_extension.CUDNN_HOME": "cuda-extension",
    "torch.profiler.ProfilerActivity.CUDA": "profiler",
    "torch.autograd.ProfilerActivity.CUDA": "profiler",
    "torch.autograd.profiler.ProfilerActivity.CUDA": "profiler",
    "torch.autograd.DeviceType.CUDA": "profiler",
    "torch.autograd.profiler.emit_nvtx": "nvtx",
    "triton.jit": "triton",
    "triton.runtime.jit": "triton",
    "triton.experimental.gluon.jit": "triton",
}

# Positional arguments that are devices: full name -> which.
DEVICE_ARGUMENTS: Mapping[str, frozenset[int]] = {
    "torch.device": frozenset({0}),
    "torch.set_default_device": frozenset({0}),
    "torch.autocast": frozenset({0}),
    "torch.amp.autocast": frozenset({0}),
    "torch.amp.autocast_mode.autocast": frozenset({0}),
    "torch.amp.GradScaler": frozenset({0}),
    "torch.GradScaler": frozenset({0}),
    "torch.Generator": frozenset({0}),
    "torch.get_device_module": frozenset({0}),
    "torch.load": frozenset({1}),
    "torch.distributed.init_device_mesh": frozenset({0}),
    "torch.distributed.device_mesh.init_device_mesh": frozenset({0}),
    "torch.distributed.DeviceMesh": frozenset({0}),
    "torch.distributed.device_mesh.DeviceMesh": frozenset({0}),
}
DEVICE_KEYWORDS = frozenset(
    {"device", "device_type", "map_location", "pin_memory_device", "device_id", "devices", "device_types"}
)
# Names under which a rank or a card's number goes: `.to(local_rank)` names a card.
NUMBER = re.compile(
    r"(\w*_)?(local_?rank|rank|gpu_?(id|ids|index|idx|num|rank)?|cuda_?(id|index|idx)|device_?(ids|index|idx))|gpus"
)


@cache
def rule_of_name(name: str) -> str | None:
    """The rule that a full name falls under wherever it stands: "torch.cuda.Event" -> "streams"; None for the rest."""
    first, *more = name.split(".")
    if first == "torch":
        return _rule_of_torch(name, more)
    if first == "cutlass" and not name.endswith((".kernel", ".jit")):
        return None  # a language for kernels, as Triton is: the kernel is the use, not each word in it
    if package_of(name):
        return "cuda-package-stood-in" if first in STOOD_IN else "cuda-package"
    if first == "faiss" and "gpu" in name.lower():
        return "cuda-package"
    if first in _LIBRARIES and (found := _CUDA_PART.search(name)):
        return _BY_PART.get(found.group().lower(), "cuda-other")
    return _NAMES.get(name)


def package_of(name: str) -> str | None:
    """The CUDA-only package that a full name belongs to."""
    parts = name.split(".")
    return next((head for i in range(1, min(len(parts), 2) + 1) if (head := ".".join(parts[:i])) in CUDA_PACKAGES), None)


def _rule_of_torch(name: str, more: list[str]) -> str | None:
    if more[:1] == ["cuda"]:
        return CUDA_NAMES.get(more[1], "cuda-other") if more[1:] else "cuda-module"
    if more[:2] in (["backends", "cuda"], ["backends", "cudnn"]):
        return "tf32" if "tf32" in name or "fp32_precision" in name else "backends"
    for length in range(len(more), 0, -1):
        if known := _NAMES.get(".".join(["torch", *more[:length]])):
            return known
    found = _CUDA_PART.search(name)
    if found is None:
        return None
    return _BY_PART.get(found.group().lower(), "cuda-other")
