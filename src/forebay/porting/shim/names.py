"""How faithful each public name of torch.cuda is on the simulated device.

Asked:  a script uses torch.cuda.x: is its answer a card's, an imitation, nothing, or a refusal?
Answer: `NAMES`, for every name in torch.cuda.__all__ and in the __all__ of its submodules (those with a dot). The tests call
        each of them and hold it to its class; docs/shim-names.md is written from it.
Limits: the classes are those of the simulated carrier. Names of a torch newer than 2.13 aren't listed.
"""

from __future__ import annotations

from typing import NamedTuple


class Name(NamedTuple):
    """The class of one public name, and why it isn't exact."""

    fidelity: str  # "exact", "emulated", "no-op" or "refused"
    why: str = ""


def _all(fidelity: str, why: str, names: str) -> dict[str, Name]:
    return {name: Name(fidelity, why) for name in names.split()}


NAMES: dict[str, Name] = {
    **_all(
        "exact",
        "",
        """
        CudaError DeferredCudaCallError Event Stream StreamContext amp can_device_access_peer check_error cudaStatus
        current_device current_stream default_generators default_stream device device_count device_of graphs has_half init
        initial_seed is_bf16_supported is_initialized is_tf32_supported is_available manual_seed manual_seed_all memory
        nccl random seed seed_all set_device set_stream sparse stream streams synchronize get_rng_state get_rng_state_all
        set_rng_state set_rng_state_all is_current_stream_capturing
        BFloat16Storage BoolStorage ByteStorage CharStorage ComplexDoubleStorage ComplexFloatStorage DoubleStorage FloatStorage
        HalfStorage IntStorage LongStorage ShortStorage
        nccl.all_reduce nccl.reduce nccl.broadcast nccl.all_gather nccl.reduce_scatter
        amp.GradScaler amp.autocast amp.custom_bwd amp.custom_fwd amp.amp_definitely_not_available
        comm.broadcast comm.broadcast_coalesced comm.reduce_add comm.reduce_add_coalesced comm.scatter comm.gather
        """,
    ),
    **_all(
        "emulated",
        "a class of ours; a default tensor type is kept as a default device and number format",
        """
        BFloat16Tensor BoolTensor ByteTensor CharTensor DoubleTensor FloatTensor HalfTensor IntTensor LongTensor ShortTensor
        """,
    ),
    **_all(
        "emulated",
        "the work is recorded while it runs once; what was there before is put back; a replay does it again",
        "CUDAGraph graph graph_pool_handle make_graphed_callables",
    ),
    **_all(
        "emulated", "a stream is a number: nothing is queued on one from elsewhere", "ExternalStream get_stream_from_external"
    ),
    **_all(
        "emulated",
        "bytes of tensors, rounded up to 512; not what a kernel needs while it runs",
        """
        max_memory_allocated max_memory_cached max_memory_reserved mem_get_info memory_allocated memory_cached memory_reserved
        memory_stats memory_stats_as_nested_dict memory_summary reset_accumulated_memory_stats reset_max_memory_allocated
        reset_max_memory_cached reset_peak_memory_stats device_memory_used list_gpu_processes
        """,
    ),
    **_all("emulated", "the address is that of a tensor's bytes", "caching_allocator_alloc caching_allocator_delete"),
    **_all(
        "emulated",
        "the name says that it is simulated; capability 8.0; memory and processors are the host's",
        "get_device_properties get_device_name get_device_capability get_arch_list get_gencode_flags",
    ),
    **_all("emulated", "it says native, the caching allocator, which most scripts expect", "get_allocator_backend"),
    **_all("emulated", "the few calls that scripts make by hand", "cudart"),
    **_all("no-op", "there is no cache", "empty_cache caching_allocator_enable caching_allocator_disabled"),
    **_all("no-op", "there is one allocator, and it keeps no segments", "MemPool use_mem_pool memory_snapshot"),
    **_all(
        "no-op",
        "kept, and not held to",
        "set_per_process_memory_fraction get_per_process_memory_fraction set_sync_debug_mode get_sync_debug_mode",
    ),
    **_all(
        "no-op",
        "pinned memory is ordinary memory, and isn't counted",
        "host_memory_stats host_memory_stats_as_nested_dict reset_accumulated_host_memory_stats reset_peak_host_memory_stats",
    ),
    **_all("no-op", "shared memory counts its own users", "ipc_collect"),
    **_all("no-op", "there is no such library; the handle is 0", "current_blas_handle current_solver_handle"),
    **_all("no-op", "false: MAGMA is a library for GPUs", "has_magma"),
    **_all(
        "no-op",
        "ranges for a profiler that can't be here",
        "nvtx nvtx.range_push nvtx.range_pop nvtx.range_start nvtx.range_end nvtx.mark nvtx.range",
    ),
    **_all("no-op", "NVIDIA's profiler can't be here", "profiler profiler.start profiler.stop profiler.profile"),
    **_all(
        "no-op",
        "settings are kept; there are no GEMM libraries to choose from",
        """
        tunable tunable.enable tunable.is_enabled tunable.tuning_enable tunable.tuning_is_enabled tunable.record_untuned_enable
        tunable.record_untuned_is_enabled tunable.set_max_tuning_duration tunable.get_max_tuning_duration
        tunable.set_max_tuning_iterations tunable.get_max_tuning_iterations tunable.set_filename tunable.get_filename
        tunable.get_results tunable.get_validators tunable.read_file tunable.tune_gemm_in_file tunable.mgpu_tune_gemm_in_file
        tunable.set_rotating_buffer_size tunable.get_rotating_buffer_size tunable.set_numerical_check_tolerances
        """,
    ),
    **_all("emulated", "the host's load, and the share of the memory in use", "memory_usage utilization"),
    **_all("refused", "there is no sensor to read", "temperature power_draw clock_rate"),
    **_all(
        "refused",
        "tensors lie in the host's memory, which no CUDA allocator hands out",
        "CUDAPluggableAllocator change_current_allocator",
    ),
    **_all("refused", "it compiles CUDA C for a GPU", "jiterator"),
    **_all("refused", "there are no multiprocessors to divide", "GreenContext"),
    **_all(
        "refused",
        "GPUDirect Storage moves bytes between a disk and a GPU",
        "gds.gds_register_buffer gds.gds_deregister_buffer gds.GdsFile",
    ),
}


TOP = """\
# torch.cuda's public names on the simulated device

What each public name of `torch.cuda` (torch 2.13) is without a GPU: exact, emulated, a no-op, or refused. A refusal raises
RuntimeError with its reason. The table is `forebay.porting.shim.names.NAMES`; the tests call every name and hold it to its
class. This page is written by `python -m forebay.porting.shim.names`.

| name | class | why |
|---|---|---|
"""


def page() -> str:
    """docs/shim-names.md."""
    names = sorted(NAMES, key=lambda one: ("." in one, one.lower()))
    return TOP + "".join(f"| `{name}` | {NAMES[name].fidelity} | {NAMES[name].why} |\n" for name in names)


if __name__ == "__main__":
    print(page(), end="")
