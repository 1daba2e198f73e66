"""Checks of torch.cuda's public names: each does what forebay.porting.shim.names says of it."""

import contextlib
import importlib
import io
import os
import tempfile
import warnings

import pytest
import torch

from forebay.porting.shim.names import NAMES

SUBMODULES = (
    *("amp", "comm", "gds", "graphs", "green_contexts", "jiterator", "memory", "nccl", "nvtx", "profiler", "random", "sparse"),
    *("streams", "tunable"),
)


def public_names(submodules=SUBMODULES):
    names = list(torch.cuda.__all__)
    for submodule in submodules:
        module = importlib.import_module(f"torch.cuda.{submodule}")
        names += [f"{submodule}.{name}" for name in getattr(module, "__all__", []) if name not in torch.cuda.__all__]
    return names


def two(size=2):
    return [torch.ones(size, device="cuda:0"), torch.ones(size, device="cuda:1")]


def in_context(context):
    with context:
        return torch.ones(2, device="cuda").sum().item()


def captured(size=2):
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        torch.ones(size, device="cuda")


def allocated(size=1024):
    address = torch.cuda.caching_allocator_alloc(size)
    torch.cuda.caching_allocator_delete(address)
    return address


def tune(name="untuned.csv"):
    path = os.path.join(tempfile.mkdtemp(), name)
    open(path, "w").close()
    torch.cuda.tunable.enable(True)
    torch.cuda.tunable.tune_gemm_in_file(path)
    torch.cuda.tunable.enable(False)


STORAGES = {name: lambda name=name: getattr(torch.cuda, name)(3) for name in NAMES if name.endswith("Storage")}
TENSORS = {
    name: lambda name=name: getattr(torch.cuda, name)(2, 3) for name in NAMES if name.endswith("Tensor") and "." not in name
}

# How each name is used; a name that isn't here is called without arguments, or, when it is a module or a value, looked at.
USES = {
    **STORAGES,
    **TENSORS,
    "CudaError": lambda: issubclass(torch.cuda.CudaError, RuntimeError),
    "DeferredCudaCallError": lambda: issubclass(torch.cuda.DeferredCudaCallError, Exception),
    "ExternalStream": lambda: torch.cuda.ExternalStream(1234).cuda_stream,
    "StreamContext": lambda: in_context(torch.cuda.StreamContext(torch.cuda.Stream())),
    "CUDAPluggableAllocator": lambda: torch._C._cuda_customAllocator(0, 0),
    "GreenContext": lambda: torch.cuda.GreenContext.create(num_sms=1),
    "can_device_access_peer": lambda: torch.cuda.can_device_access_peer(0, 1),
    "caching_allocator_alloc": allocated,
    "caching_allocator_delete": allocated,
    "caching_allocator_disabled": lambda: in_context(getattr(torch.cuda, "caching_allocator_disabled", contextlib.nullcontext)()),
    "change_current_allocator": lambda: torch._C._cuda_changeCurrentAllocator(None),
    "check_error": lambda: torch.cuda.check_error(0),
    "cudaStatus": lambda: torch.cuda.cudaStatus.SUCCESS,
    "cudart": lambda: torch.cuda.cudart().cudaMemGetInfo(0),
    "device": lambda: in_context(torch.cuda.device(1)),
    "device_of": lambda: in_context(torch.cuda.device_of(torch.ones(1, device="cuda:1"))),
    "get_stream_from_external": lambda: torch.cuda.get_stream_from_external(1234).cuda_stream,
    "graph": captured,
    "jiterator": lambda: torch.cuda.jiterator._create_jit_fn("template <typename T> T f(T x) { return x; }")(two()[0]),
    "make_graphed_callables": lambda: torch.cuda.make_graphed_callables(torch.nn.Linear(2, 2).cuda(), (torch.ones(2, 2).cuda(),)),
    "manual_seed": lambda: torch.cuda.manual_seed(1),
    "manual_seed_all": lambda: torch.cuda.manual_seed_all(1),
    "memory_summary": lambda: torch.cuda.memory_summary(abbreviated=True),
    "set_device": lambda: torch.cuda.set_device(0),
    "set_per_process_memory_fraction": lambda: torch.cuda.set_per_process_memory_fraction(0.5),
    "set_rng_state": lambda: torch.cuda.set_rng_state(torch.cuda.get_rng_state()),
    "set_rng_state_all": lambda: torch.cuda.set_rng_state_all(torch.cuda.get_rng_state_all()),
    "set_stream": lambda: torch.cuda.set_stream(torch.cuda.default_stream()),
    "set_sync_debug_mode": lambda: torch.cuda.set_sync_debug_mode("default"),
    "stream": lambda: in_context(torch.cuda.stream(torch.cuda.Stream())),
    "use_mem_pool": lambda: in_context(torch.cuda.use_mem_pool(torch.cuda.MemPool())),
    "amp.autocast": lambda: in_context(torch.cuda.amp.autocast()),
    "amp.custom_fwd": lambda: torch.cuda.amp.custom_fwd(lambda context, x: x),
    "amp.custom_bwd": lambda: torch.cuda.amp.custom_bwd(lambda context, x: x),
    "comm.broadcast": lambda: torch.cuda.comm.broadcast(two()[0], [0, 1]),
    "comm.broadcast_coalesced": lambda: torch.cuda.comm.broadcast_coalesced([two()[0]], [0, 1]),
    "comm.reduce_add": lambda: torch.cuda.comm.reduce_add(two()),
    "comm.reduce_add_coalesced": lambda: torch.cuda.comm.reduce_add_coalesced([[x] for x in two()]),
    "comm.scatter": lambda: torch.cuda.comm.scatter(two()[0], [0, 1]),
    "comm.gather": lambda: torch.cuda.comm.gather(two()),
    "gds.gds_register_buffer": lambda: torch.cuda.gds.gds_register_buffer(two()[0].untyped_storage()),
    "gds.gds_deregister_buffer": lambda: torch.cuda.gds.gds_deregister_buffer(two()[0].untyped_storage()),
    "gds.GdsFile": lambda: torch.cuda.gds.GdsFile(os.devnull, os.O_RDONLY),
    "nccl.all_reduce": lambda: torch.cuda.nccl.all_reduce(two()),
    "nccl.reduce": lambda: torch.cuda.nccl.reduce(two()),
    "nccl.broadcast": lambda: torch.cuda.nccl.broadcast(two()),
    "nccl.all_gather": lambda: torch.cuda.nccl.all_gather(two(), [torch.empty(4, device=f"cuda:{i}") for i in range(2)]),
    "nccl.reduce_scatter": lambda: torch.cuda.nccl.reduce_scatter(two(), [torch.empty(1, device=f"cuda:{i}") for i in range(2)]),
    "nvtx.range_push": lambda: torch.cuda.nvtx.range_push("x"),
    "nvtx.range_start": lambda: torch.cuda.nvtx.range_start("x"),
    "nvtx.range_end": lambda: torch.cuda.nvtx.range_end(0),
    "nvtx.mark": lambda: torch.cuda.nvtx.mark("x"),
    "nvtx.range": lambda: in_context(torch.cuda.nvtx.range("x")),
    "profiler.profile": lambda: in_context(torch.cuda.profiler.profile()),
    "tunable.enable": lambda: torch.cuda.tunable.enable(False),
    "tunable.tuning_enable": lambda: torch.cuda.tunable.tuning_enable(True),
    "tunable.record_untuned_enable": lambda: torch.cuda.tunable.record_untuned_enable(False),
    "tunable.set_max_tuning_duration": lambda: torch.cuda.tunable.set_max_tuning_duration(30),
    "tunable.set_max_tuning_iterations": lambda: torch.cuda.tunable.set_max_tuning_iterations(100),
    "tunable.set_filename": lambda: torch.cuda.tunable.set_filename("x.csv"),
    "tunable.tune_gemm_in_file": tune,
    "tunable.mgpu_tune_gemm_in_file": lambda: callable(torch.cuda.tunable.mgpu_tune_gemm_in_file),  # it starts processes
    "tunable.set_rotating_buffer_size": lambda: torch.cuda.tunable.set_rotating_buffer_size(0),
    "tunable.set_numerical_check_tolerances": lambda: torch.cuda.tunable.set_numerical_check_tolerances(True),
}


def use(name):
    if name in USES:
        return USES[name]()
    value = torch.cuda
    for part in name.split("."):
        value = getattr(value, part)
    return value() if callable(value) else value


def every_public_name_is_in_the_table_and_no_other():
    names = public_names()
    assert len(torch.cuda.__all__) == len(set(torch.cuda.__all__))
    if torch.__version__.startswith("2.13"):
        assert sorted(names) == sorted(NAMES)


def every_name_does_what_its_class_says():
    wrong = {}
    torch.cuda.init()
    for name in public_names():
        if name not in NAMES:
            continue
        fidelity = NAMES[name].fidelity
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                use(name)
            if fidelity == "refused":
                wrong[name] = "it is said to be refused"
        except Exception as error:
            if fidelity != "refused" or not str(error):
                wrong[name] = f"{fidelity}, but {type(error).__name__}: {error}"
    assert not wrong, wrong


def an_imitation_has_a_reason():
    assert [name for name, (fidelity, why) in NAMES.items() if (fidelity == "exact") == bool(why)] == []


def a_refusal_names_itself_and_its_reason():
    for name in ("temperature", "power_draw", "clock_rate"):
        with pytest.raises(RuntimeError, match=rf"torch.cuda.{name} is not carried without a GPU: there is no sensor"):
            getattr(torch.cuda, name)()


def the_old_types_make_tensors_and_know_them():
    T = torch.cuda.FloatTensor
    assert T(2, 3).shape == (2, 3)
    assert T([1.0, 2.0]).tolist() == [1, 2]
    assert T([1.0]).device == torch.device("cuda", 0)
    assert torch.zeros(2).type(T).is_cuda
    assert torch.zeros(2).type("torch.cuda.HalfTensor").dtype == torch.float16
    assert torch.zeros(2, device="cuda").type() == "torch.cuda.FloatTensor"
    assert isinstance(T(1), T)
    assert not isinstance(torch.zeros(1), T)
    assert not isinstance(torch.cuda.LongTensor([1]), T)
    assert (T.__name__, T.__module__, T.dtype, T.is_cuda) == ("FloatTensor", "torch.cuda", torch.float32, True)


def a_default_tensor_type_of_cuda_puts_tensors_on_the_card():
    torch.set_default_tensor_type("torch.cuda.HalfTensor")
    try:
        assert torch.zeros(2).type() == "torch.cuda.HalfTensor"
        assert torch.nn.Linear(2, 2).weight.is_cuda
    finally:
        torch.set_default_tensor_type(torch.FloatTensor)
    assert torch.zeros(2).type() == "torch.FloatTensor"


def scripts_see_a_version_of_cuda():
    assert float(torch.version.cuda) >= 11
    from torch.version import cuda

    assert cuda == torch.version.cuda


def the_collectives_of_one_process_add_up():
    x = [torch.full((4,), float(i + 1), device=f"cuda:{i}") for i in range(2)]
    torch.cuda.nccl.all_reduce(x)
    assert [t.tolist() for t in x] == [[3.0] * 4] * 2
    parts = [torch.empty(2, device=f"cuda:{i}") for i in range(2)]
    torch.cuda.nccl.reduce_scatter(x, parts)
    assert [t.tolist() for t in parts] == [[6.0] * 2] * 2


def torch_accelerator_tells_the_memory():
    if not hasattr(torch.accelerator, "memory_allocated"):
        return
    before = torch.accelerator.memory_allocated()
    x = torch.ones(1000, device="cuda")
    assert torch.accelerator.memory_allocated() - before == 4096
    assert torch.accelerator.max_memory_allocated() >= torch.accelerator.memory_allocated()
    del x
    assert torch.accelerator.memory_allocated() == before


def a_generator_is_a_seed_and_an_offset():
    torch.cuda.manual_seed(7)
    state = torch.cuda.get_rng_state()
    first, second = torch.rand(3, device="cuda"), torch.rand(3, device="cuda")
    assert state.view(torch.int64).tolist() == [7, 0]
    assert not torch.equal(first, second)
    torch.cuda.set_rng_state(state)
    assert torch.equal(torch.rand(3, device="cuda"), first)
    generator = torch.Generator("cuda").manual_seed(7)
    generator.set_offset(4)
    assert torch.equal(torch.rand(3, device="cuda", generator=generator), second)
    assert generator.get_offset() == 8
