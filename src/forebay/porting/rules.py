"""What the scan looks for, what each thing means, and what becomes of it on four kinds of chips.

Asked:  a script has `torch.cuda.Event` on line 12: what does that ask of a chip?
Answer: the table below, a line a rule. The last three columns say what becomes of it on
          kin   a chip whose torch keeps the name "cuda" but which isn't NVIDIA's (AMD, Hygon, MetaX, Iluvatar, ...),
          cpu   processor cores, under the simulated cuda device of porting/shim,
          own   a chip whose torch has a device name of its own (npu, mlu, musa, ...).
        On NVIDIA's own chips all of it runs as it is.
Limits: the column `own` says what is left to do under the shim's identity layer; where it has no adapter, every device name is
        to be rewritten, which `porting.report` adds. Where a package or a kernel exists for one vendor's chip in another
        build, this table doesn't know it. What a kernel does inside isn't read: one with PTX is refused when it is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping

from forebay.porting.findings import Word
from forebay.porting.rule import Rule
from forebay.porting.shim.standins.finder import STANDINS
from forebay.porting.source_rules import SOURCE_TABLE

RUNS, EMULATED, REWRITE, BLOCKED = Word.RUNS, Word.EMULATED, Word.REWRITE, Word.BLOCKED


_TABLE = (
    # devices
    Rule("device-string", "names the device on which tensors live", RUNS, RUNS, RUNS),
    Rule("device-comparison", "asks whether the device is called cuda", RUNS, RUNS, RUNS),
    Rule("device-index", "names a card by its bare number", RUNS, RUNS, RUNS),
    Rule("cuda-move", "moves a tensor or module to the current card", RUNS, RUNS, RUNS),
    Rule("is-cuda", "asks whether a tensor lives on a card", RUNS, RUNS, RUNS),
    Rule("cuda-tensor-type", "a tensor type with cuda in its name", RUNS, RUNS, RUNS),
    Rule("map-location", "says where a checkpoint's tensors go when they are read", RUNS, RUNS, RUNS),
    Rule("pinned-memory", "host memory that a card reads without a copy", RUNS, RUNS, RUNS, names_device=False),
    Rule("non-blocking", "lets a copy overlap with the work after it", RUNS, RUNS, RUNS, names_device=False),
    # torch.cuda, by group
    Rule("choice", "asks for or chooses a card", RUNS, RUNS, RUNS),
    Rule("sync", "waits for the card", RUNS, RUNS, RUNS),
    Rule("memory", "reads or manages the card's memory; the figures are those of the chip that runs it", RUNS, RUNS, RUNS),
    Rule("rng", "seeds or stores a card's random numbers; another chip draws other numbers", RUNS, RUNS, RUNS),
    Rule("streams", "streams and events: order and timing on the card", RUNS, EMULATED, RUNS),
    Rule("amp", "mixed precision by CUDA's rules", RUNS, RUNS, RUNS),
    Rule("graphs", "records kernels once and replays them", RUNS, EMULATED, REWRITE),
    Rule("nvtx", "marks for NVIDIA's profiler", RUNS, EMULATED, EMULATED),
    Rule("telemetry", "reads NVIDIA's own counters, or calls its runtime", REWRITE, EMULATED, REWRITE),
    Rule("card-only", "a sensor, compiler or allocator that is only on NVIDIA's cards", REWRITE, REWRITE, REWRITE),
    Rule("cuda-comm", "torch.cuda's old collectives, or NCCL called directly", RUNS, EMULATED, REWRITE),
    Rule("cuda-other", "a part of torch.cuda that the table doesn't sort", RUNS, EMULATED, REWRITE),
    Rule("backends", "switches of CUDA's libraries; without effect elsewhere", RUNS, RUNS, RUNS),
    # several cards
    Rule("nccl", "collectives by NCCL", RUNS, RUNS, RUNS),
    Rule("distributed", "several cards work together", RUNS, RUNS, RUNS, names_device=False),
    Rule("device-ids", "ties a rank's copy of the model to its card", RUNS, RUNS, RUNS),
    # number formats
    Rule("tf32", "allows TF32, NVIDIA's shortened fp32; elsewhere full fp32 is used", RUNS, RUNS, RUNS, names_device=False),
    Rule("bf16", "computes in bf16", RUNS, RUNS, RUNS, names_device=False),
    Rule("fp8", "computes in fp8", RUNS, EMULATED, RUNS, names_device=False),
    Rule("fp64", "computes in fp64", RUNS, RUNS, RUNS, names_device=False),
    # what is beyond torch
    Rule("cuda-extension", "compiles CUDA kernels of its own; on cores they are compiled as C++", REWRITE, EMULATED, BLOCKED),
    Rule("cpp-extension", "compiles C++ of its own, which isn't read", RUNS, EMULATED, REWRITE, names_device=False),
    Rule("cuda-library", "loads a CUDA library by its file name", REWRITE, BLOCKED, BLOCKED),
    Rule("triton", "kernels in Triton; they need a Triton for the chip, and cores interpret them", REWRITE, EMULATED, REWRITE),
    Rule("cuda-package", "a package with CUDA binaries", REWRITE, BLOCKED, BLOCKED),
    Rule("cuda-package-stood-in", "a CUDA package whose common parts the shim stands in for", REWRITE, EMULATED, EMULATED),
    Rule("cuda-package-optional", "a package with CUDA binaries that it can do without", RUNS, RUNS, RUNS, names_device=False),
    Rule("nvidia-smi", "asks NVIDIA's monitor, which other vendors' hosts haven't", REWRITE, EMULATED, EMULATED),
    Rule("visible-devices", "chooses cards by CUDA's variable; other chips have their own", RUNS, RUNS, RUNS),
    Rule("cuda-environment", "tunes CUDA or NCCL by the environment; no effect elsewhere", RUNS, RUNS, RUNS, names_device=False),
    # not a device at all
    Rule("word", "only a word: a label or a file name, no device", RUNS, RUNS, RUNS, names_device=False),
)  # fmt: skip

RULES: Mapping[str, Rule] = {rule.key: rule for rule in (*_TABLE, *SOURCE_TABLE)}

KERNELS = frozenset({"cuda-extension", "cu-file"})  # sources in CUDA's language, which porting.kernels translates for some chips

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
    "ByteTensor BoolTensor",
}
CUDA_NAMES: Mapping[str, str] = {name: rule for rule, names in _GROUPS.items() for name in names.split()}

# Packages whose wheels hold CUDA code, by the name that is imported; bitsandbytes brings kernels for the host too.
STOOD_IN = frozenset({"bitsandbytes", *(module for standin in STANDINS for module in standin.modules)})
CUDA_PACKAGES = frozenset(
    {
        "flash_attn",
        "flash_attn_interface",
        "apex",
        "bitsandbytes",
        "xformers",
        "cupy",
        "cupyx",
        "pycuda",
        "numba.cuda",
        "pynvml",
        "nvidia_smi",
        "py3nvml",
        "transformer_engine",
        "deep_gemm",
        "deep_ep",
        "flashinfer",
        "causal_conv1d",
        "mamba_ssm",
        "tensorrt",
        "torch_tensorrt",
        "cudf",
        "cuml",
        "rmm",
        "nvidia.dali",
        "minkowskiengine",
        "MinkowskiEngine",
        "spconv",
        "tinycudann",
        "torchsparse",
        "pytorch3d._C",
        "exllamav2",
        "awq_ext",
    }
)

CUDA_VARIABLES = ("CUDA_", "NCCL_", "PYTORCH_CUDA_", "TORCH_CUDA_", "TORCH_NCCL_", "NVIDIA_")

# Full names of functions that matter by themselves -> rule.
CALLS: Mapping[str, str] = {
    "torch.autocast": "amp",
    "torch.amp.autocast": "amp",
    "torch.amp.autocast_mode.autocast": "amp",
    "torch.amp.GradScaler": "amp",
    "torch.amp.grad_scaler.GradScaler": "amp",
    "torch.amp.custom_fwd": "amp",
    "torch.amp.custom_bwd": "amp",
    "torch.distributed.init_process_group": "distributed",
    "torch.distributed.new_group": "distributed",
    "torch.distributed.device_mesh.init_device_mesh": "distributed",
    "torch.distributed.init_device_mesh": "distributed",
    "torch.nn.parallel.DistributedDataParallel": "distributed",
    "torch.nn.parallel.distributed.DistributedDataParallel": "distributed",
    "torch.nn.DataParallel": "distributed",
    "torch.nn.parallel.DataParallel": "distributed",
    "torch.distributed.fsdp.FullyShardedDataParallel": "distributed",
    "torch.distributed.fsdp.fully_shard": "distributed",
    "torch.utils.cpp_extension.CUDAExtension": "cuda-extension",
    "torch.utils.cpp_extension.CppExtension": "cpp-extension",
    "torch.utils.cpp_extension.load": "cpp-extension",
    "torch.utils.cpp_extension.load_inline": "cpp-extension",
    "torch.set_float32_matmul_precision": "tf32",
}

# Full names that matter wherever they stand -> rule.
NAMES: Mapping[str, str] = {
    "torch.bfloat16": "bf16",
    "torch.float64": "fp64",
    "torch.double": "fp64",
    "torch.DoubleTensor": "fp64",
    **{f"torch.float8_{kind}": "fp8" for kind in ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz", "e8m0fnu")},
    "torch._scaled_mm": "fp8",
}

# Positional arguments that are devices: full name -> which.
DEVICE_ARGUMENTS: Mapping[str, frozenset[int]] = {
    "torch.device": frozenset({0}),
    "torch.set_default_device": frozenset({0}),
    "torch.autocast": frozenset({0}),
    "torch.amp.autocast": frozenset({0}),
    "torch.amp.GradScaler": frozenset({0}),
    "torch.Generator": frozenset({0}),
    "torch.get_device_module": frozenset({0}),
    "torch.load": frozenset({1}),
    "torch.distributed.init_device_mesh": frozenset({0}),
    "torch.distributed.device_mesh.init_device_mesh": frozenset({0}),
    "torch.cuda.set_device": frozenset({0}),
    "torch.cuda.device": frozenset({0}),
}
DEVICE_KEYWORDS = frozenset(
    {"device", "device_type", "map_location", "pin_memory_device", "device_id", "output_device", "devices"}
)
