"""The names of torch._C that torch.cuda stands on.

Asked:  how does torch.cuda come alive without replacing it?
Answer: torch.cuda is Python over some fifty functions and classes of torch._C that only a CUDA build has. They are given
        here, between the import of torch._C and that of torch.cuda, so that torch's own text runs: its lazy start, its
        device and stream contexts, its memory summary, its random states. It stays right from one torch to the next. In a
        CUDA build they take the place of those that would look for a driver.
Limits: what would need a real CUDA runtime (graphs, IPC, the caching allocator's pools) is refused by name, with the reason.
"""

from __future__ import annotations

import enum
import itertools
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from forebay.porting.shim.cards import NAME, Cards, Simulated
from forebay.porting.shim.journal import note, noted

CAPABILITY = (8, 0)  # bf16 and every operator class that scripts ask for; what most CUDA-like chips answer
CUDA_VERSION = 12080
NCCL_VERSION = (2, 21, 5)
# How the names begin that torch._C has in a CUDA build only: what can be called there looks for a driver.
OF_A_CUDA_BUILD = (
    "_cuda",
    "_cudnn",
    "_CUDA",
    "_Cuda",
    "_nccl_",
    "_gds_",
    "_cusparselt",
    "_MemPool",
    "_broadcast",
    "_gather",
    "_scatter",
)
CUDA = 1  # c10::DeviceType::CUDA


def fill(torch_c: Any, cards: Cards) -> None:
    """Give torch._C our names. Before that a CUDA build loses its own, so that both builds go one way, the one that is tested."""
    for name in [name for name in vars(torch_c) if name.startswith(OF_A_CUDA_BUILD)]:
        delattr(torch_c, name)
        sys.modules.pop(f"torch._C.{name}", None)  # some are modules, which an import would find there
    for name, value in {**_functions(cards), **_classes(torch_c, cards), **_refusals()}.items():
        setattr(torch_c, name, value)
    torch_c._has_cuda = True  # torch.backends.cuda.is_built(), which torch.cuda.Stream asks for
    torch_c.has_cuda = True
    torch_c._has_cudnn = False  # or a CUDA build's LSTM would ask for its version


# ---------------------------------------------------------------- functions


def _functions(cards: Cards) -> dict[str, Any]:
    return {
        **_device_functions(cards),
        **_memory_functions(cards),
        **_stream_functions(cards),
        **_copies_between_cards(),
        "_cudart": _cudart(cards),
        "_nvtx": _Nvtx,
        "_nccl_version": lambda: NCCL_VERSION[0] << 32 | NCCL_VERSION[1] << 16 | NCCL_VERSION[2],
        "_nccl_version_suffix": lambda: b"",
        "_cuda_getArchFlags": lambda: f"sm_{CAPABILITY[0]}{CAPABILITY[1]}",
        "_cuda_getCompiledVersion": lambda: CUDA_VERSION,
        "_cuda_getDriverVersion": lambda: CUDA_VERSION,
        "_cuda_get_cudnn_benchmark_limit": lambda: 10,
        "_cuda_set_cudnn_benchmark_limit": lambda limit: note("torch.backends.cudnn.benchmark_limit", "no-op"),
        "_cuda_getCublasWorkspaceSize": lambda: 0,
        "_cuda_setCublasWorkspaceSize": lambda size: note("torch.backends.cuda workspace", "no-op"),
        "_cuda_getCublasLtWorkspaceSize": lambda: 0,
        "_cuda_setCublasLtWorkspaceSize": lambda size: note("torch.backends.cuda workspace", "no-op"),
        "_cuda_clearCublasWorkspaces": lambda: None,
        "_cuda_getCurrentBlasHandle": lambda: 0,
    }


def _device_functions(cards: Cards) -> dict[str, Any]:
    sync_debug = [0]

    @noted("torch.cuda initialisation", "emulated")
    def init() -> None:
        import torch

        if cards.count() == 0:
            raise RuntimeError("No CUDA GPUs are available")
        setattr(torch.cuda, "_get_device_properties", properties)  # noqa: B010  # as the CUDA build's own start does
        torch.cuda.default_generators = tuple(_default_generator(cards, card) for card in range(cards.count()))

    @noted("torch.cuda.set_device", "exact")
    def set_device(card: int) -> None:
        cards.exchange(int(card))

    @noted("torch.cuda.synchronize", "exact")
    def synchronize() -> None:
        """Everything is done when the call that asked for it returns."""

    def set_sync_debug_mode(mode: int) -> None:
        note("torch.cuda.set_sync_debug_mode", "no-op")
        sync_debug[0] = mode

    @noted("torch.cuda._sleep", "emulated")
    def sleep(cycles: int) -> None:
        time.sleep(cycles / 1.41e9)  # an A100's boost clock, by NVIDIA's data sheet of 2020

    @noted("torch.cuda.get_device_properties", "emulated")
    def properties(card: int | None = None) -> Any:
        return _CudaDeviceProperties(cards, cards.checked(cards.current() if card is None else int(card)))

    return {
        "_cuda_init": init,
        "_cuda_getDeviceCount": cards.count,
        "_cuda_getDevice": cards.current,
        "_cuda_setDevice": set_device,
        "_cuda_exchangeDevice": cards.exchange,
        "_cuda_maybeExchangeDevice": cards.exchange,
        "_cuda_isInBadFork": lambda: False,  # nothing in a card's state is lost by a fork
        "_cuda_synchronize": synchronize,
        "_cuda_canDeviceAccessPeer": lambda one, other: cards.checked(one) != cards.checked(other),
        "_cuda_set_sync_debug_mode": set_sync_debug_mode,
        "_cuda_get_sync_debug_mode": lambda: sync_debug[0],
        "_cuda_sleep": sleep,
    }


def _default_generator(cards: Cards, card: int) -> Any:
    import torch

    if isinstance(cards, Simulated):
        cards.next_generator_is_default()
        return torch.Generator(device=torch.device("cuda", card))
    return torch.default_generator  # mapped: one generator serves host and cards


def _memory_functions(cards: Cards) -> dict[str, Any]:
    fraction: dict[int, float] = {}

    @noted("torch.cuda memory figures", "emulated")
    def memory_stats(card: int) -> dict[str, Any]:
        return _memory_stats(cards, card)

    @noted("torch.cuda.reset_peak_memory_stats", "emulated")
    def reset_peak(card: int) -> None:
        cards.reset_peak(card)

    @noted("torch.cuda.empty_cache", "no-op")
    def empty_cache() -> None:
        cards.empty_cache()

    def set_fraction(value: float, card: int) -> None:
        note("torch.cuda.set_per_process_memory_fraction", "no-op")
        fraction[card] = value

    return {
        "_cuda_memoryStats": memory_stats,
        "_cuda_resetPeakMemoryStats": reset_peak,
        "_cuda_resetAccumulatedMemoryStats": cards.reset_totals,
        "_cuda_emptyCache": empty_cache,
        "_cuda_setMemoryFraction": set_fraction,
        "_cuda_getMemoryFraction": lambda card: fraction.get(card, 1.0),
        "_cuda_getAllocatorBackend": lambda: "native",
        "_cuda_memorySnapshot": lambda *args: {"segments": [], "device_traces": []},
        "_cuda_record_memory_history": lambda *args, **kwargs: note("torch.cuda.memory._record_memory_history", "no-op"),
        "_cuda_ipc_collect": lambda: note("torch.cuda.ipc_collect", "no-op"),
        "_host_emptyCache": lambda: note("torch.cuda.empty_cache", "no-op"),
        "_cuda_cudaCachingAllocator_enable": lambda on: note("torch.cuda.caching_allocator_enable", "no-op"),
        "_cuda_cudaCachingAllocator_is_enabled": lambda: True,
    }


def _memory_stats(cards: Cards, card: int) -> dict[str, Any]:
    """In the form of CUDA's caching allocator, as if every block came from its large pool."""
    m = cards.memory(card)

    def pools(current: int, peak: int, ever: int, freed: int) -> dict[str, dict[str, int]]:
        full = {"current": current, "peak": peak, "allocated": ever, "freed": freed}
        return {"all": full, "large_pool": dict(full), "small_pool": dict.fromkeys(full, 0)}

    blocks = pools(m.blocks, m.blocks_peak, m.blocks_ever, m.blocks_ever - m.blocks)
    held = pools(m.held, m.peak, m.bytes_ever, m.bytes_ever - m.held)
    reserved = pools(m.reserved, m.reserved_peak, m.reserved_peak, m.reserved_peak - m.reserved)
    nothing = pools(0, 0, 0, 0)
    return {
        "allocation": blocks,
        "segment": blocks,
        "active": blocks,
        "inactive_split": nothing,
        "allocated_bytes": held,
        "requested_bytes": held,
        "active_bytes": held,
        "reserved_bytes": reserved,
        "inactive_split_bytes": nothing,
        "num_alloc_retries": m.refused,
        "num_ooms": m.refused,
        "num_sync_all_streams": 0,
        "num_device_alloc": m.blocks_ever,
        "num_device_free": m.blocks_ever - m.blocks,
        "max_split_size": -1,
        "oversize_allocations": nothing["all"],
        "oversize_segments": nothing["all"],
    }


def _stream_functions(cards: Cards) -> dict[str, Any]:
    def current_stream(card: int) -> tuple[int, int, int]:
        card = cards.current() if card < 0 else card
        return cards.stream(card), card, CUDA

    def default_stream(card: int) -> tuple[int, int, int]:
        return 0, cards.checked(cards.current() if card < 0 else card), CUDA

    @noted("torch.cuda.set_stream", "exact")
    def set_stream(stream_id: int, device_index: int, device_type: int = CUDA) -> None:
        cards.exchange(device_index)
        cards.set_stream(device_index, stream_id)

    return {
        "_cuda_getCurrentStream": current_stream,
        "_cuda_getDefaultStream": default_stream,
        "_cuda_setStream": set_stream,
        "_cuda_getCurrentRawStream": cards.stream,
        "_cuda_isCurrentStreamCapturing": lambda: False,
    }


def _copies_between_cards() -> dict[str, Any]:
    """What torch.nn.DataParallel calls: plain copies."""

    @noted("torch.nn.parallel.comm", "exact")
    def scatter(tensor: Any, devices: Any, chunk_sizes: Any = None, dim: int = 0, streams: Any = None) -> Any:
        chunks = tensor.split(chunk_sizes, dim) if chunk_sizes else tensor.chunk(len(devices), dim)
        return [chunk.to(f"cuda:{devices[i]}", copy=True) for i, chunk in enumerate(chunks)]

    @noted("torch.nn.parallel.comm", "exact")
    def gather(tensors: Any, dim: int, destination: int | None = None) -> Any:
        import torch

        place = "cpu" if destination == -1 else "cuda" if destination is None else f"cuda:{destination}"
        return torch.cat([tensor.to(place) for tensor in tensors], dim)

    @noted("torch.nn.parallel.comm", "exact")
    def broadcast(tensor: Any, devices: Any) -> Any:
        return [tensor.to(f"cuda:{card}") for card in devices]

    def broadcast_coalesced(tensors: Any, devices: Any, buffer_size: int) -> Any:
        return [[tensor.to(f"cuda:{card}") for tensor in tensors] for card in devices]

    return {
        "_scatter": scatter,
        "_gather": gather,
        "_broadcast": broadcast,
        "_broadcast_coalesced": broadcast_coalesced,
    }


# ---------------------------------------------------------------- classes


class _CudaDeviceProperties:
    """What torch.cuda.get_device_properties answers. The name says what it is; memory and processors are the host's."""

    def __init__(self, cards: Cards, card: int) -> None:
        self.name = NAME[cards.kind]
        self.major, self.minor = CAPABILITY
        self.total_memory = cards.total_memory()
        self.multi_processor_count = os.cpu_count() or 1
        self.warp_size = 32
        self.max_threads_per_multi_processor = 2048
        self.max_threads_per_block = 1024
        self.regs_per_multiprocessor = 65536
        self.shared_memory_per_block = 49152
        self.shared_memory_per_block_optin = 166912
        self.shared_memory_per_multiprocessor = 167936
        self.L2_cache_size = 0
        self.clock_rate = 0
        self.memory_clock_rate = 0
        self.memory_bus_width = 0
        self.is_integrated = 1
        self.is_multi_gpu_board = 0
        self.pci_bus_id, self.pci_device_id, self.pci_domain_id = card, 0, 0
        self.gcnArchName = self.name
        self.uuid = f"forebay-{cards.kind}-{card}"

    def __repr__(self) -> str:
        return (
            f"_CudaDeviceProperties(name='{self.name}', major={self.major}, minor={self.minor}, "
            f"total_memory={self.total_memory // 2**20}MB, multi_processor_count={self.multi_processor_count})"
        )


class _Nvtx:
    """Ranges for a profiler that can't be here."""

    depth = 0

    @classmethod
    def rangePushA(cls, message: str) -> int:
        note("torch.cuda.nvtx", "no-op")
        cls.depth += 1
        return cls.depth - 1

    @classmethod
    def rangePop(cls) -> int:
        cls.depth -= 1
        return cls.depth

    rangeStartA = staticmethod(lambda message: 0)
    rangeEnd = staticmethod(lambda handle: None)
    markA = staticmethod(lambda message: None)
    deviceRangeStart = staticmethod(lambda message, stream: 0)
    deviceRangeEnd = staticmethod(lambda handle, stream: None)


def _cudart(cards: Cards) -> Any:
    class cudaError(int):
        success = 0

    class cudaOutputMode(enum.Enum):
        KeyValuePair = 0
        CSV = 1

    class CudaRuntime:
        """torch.cuda.cudart(): the calls that scripts make by hand."""

        @staticmethod
        def cudaGetErrorString(code: int) -> str:
            return "no error" if code == 0 else f"error {int(code)}"

        @staticmethod
        def cudaMemGetInfo(card: int) -> tuple[int, int]:
            note("torch.cuda.mem_get_info", "emulated")
            total = cards.total_memory()
            return max(0, total - cards.memory(card).held), total

        @staticmethod
        def cudaProfilerStart() -> int:
            note("torch.cuda.profiler", "no-op")
            return 0

        cudaProfilerStop = staticmethod(lambda: 0)
        cudaHostRegister = staticmethod(lambda address, size, flags: 0)
        cudaHostUnregister = staticmethod(lambda address: 0)

    CudaRuntime.cudaError = cudaError  # type: ignore[attr-defined]
    CudaRuntime.cudaOutputMode = cudaOutputMode  # type: ignore[attr-defined]
    return CudaRuntime


def _classes(torch_c: Any, cards: Cards) -> dict[str, Any]:
    streams = _torch_streams(torch_c, cards) if isinstance(cards, Simulated) else _plain_streams(cards)
    return {"_CudaDeviceProperties": _CudaDeviceProperties, **streams}


class _HostClock:
    """Timing by the host's clock: work is done when its call returns, so the moment of the record is its end."""

    enable_timing: bool
    moment: int | None

    def record(self, stream: Any = None) -> None:
        self.moment = time.perf_counter_ns()

    def elapsed_time(self, end: Any) -> float:
        if not (self.enable_timing and end.enable_timing):
            raise RuntimeError("Both events must be created with argument 'enable_timing=True'.")
        if self.moment is None or end.moment is None:
            raise RuntimeError("Both events must be recorded before calculating elapsed time.")
        return float(end.moment - self.moment) / 1e6


def _torch_streams(torch_c: Any, cards: Cards) -> dict[str, Any]:
    """Streams and events over torch's own, which ask our guard: they pass wherever a torch.Stream is asked for."""

    class _CudaStreamBase(torch_c.Stream):  # type: ignore[name-defined,misc]
        def __new__(
            cls, priority: int = 0, stream_id: int = 0, device_index: int = 0, device_type: int = 0, stream_ptr: int = 0
        ) -> Any:
            if stream_id or device_type or stream_ptr:
                known = {"stream_id": stream_id or stream_ptr, "device_index": device_index, "device_type": CUDA}
                return super().__new__(cls, **known)
            note("torch.cuda.Stream", "exact")
            return super().__new__(cls, f"cuda:{cards.current()}", priority=priority)

        @property
        def cuda_stream(self) -> int:
            return int(self.stream_id)

        @property
        def priority(self) -> int:
            return 0

        @staticmethod
        def priority_range() -> tuple[int, int]:
            return 0, -5

    class _CudaEventBase(_HostClock, torch_c.Event):  # type: ignore[name-defined,misc]
        def __new__(
            cls, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False, external: bool = False
        ) -> Any:
            note("torch.cuda.Event", "emulated" if enable_timing else "exact")
            made = super().__new__(cls, f"cuda:{cards.current()}", enable_timing=enable_timing, blocking=blocking)
            made.enable_timing = enable_timing
            made.moment = None
            return made

        def record(self, stream: Any = None) -> None:
            super().record(stream)
            torch_c.Event.record(self, stream)

        @property
        def cuda_event(self) -> int:
            return int(self.event_id)

    return {"_CudaStreamBase": _CudaStreamBase, "_CudaEventBase": _CudaEventBase}


def _plain_streams(cards: Cards) -> dict[str, Any]:
    """For the mapped carrier, where torch knows no such device: a stream is a number, an event the host's clock."""
    numbers = itertools.count(1)

    class _CudaStreamBase:
        stream_id: int
        device_index: int

        def __new__(
            cls, priority: int = 0, stream_id: int = 0, device_index: int = 0, device_type: int = 0, stream_ptr: int = 0
        ) -> Any:
            made = super().__new__(cls)
            fresh = not (stream_id or device_type or stream_ptr)
            made.stream_id = next(numbers) if fresh else stream_id or stream_ptr
            made.device_index = cards.current() if fresh else device_index
            if fresh:
                note("torch.cuda.Stream", "emulated")
            return made

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            pass

        device_type = CUDA
        priority = 0

        @property
        def device(self) -> Any:
            import torch

            return torch.device("cuda", self.device_index)

        @property
        def cuda_stream(self) -> int:
            return self.stream_id

        def query(self) -> bool:
            return True

        def synchronize(self) -> None:
            pass

        def __eq__(self, other: object) -> bool:
            return isinstance(other, _CudaStreamBase) and (self.stream_id, self.device_index) == (
                other.stream_id,
                other.device_index,
            )

        def __hash__(self) -> int:
            return hash((self.stream_id, self.device_index))

    class _CudaEventBase(_HostClock):
        cuda_event = 0

        def __new__(cls, enable_timing: bool = False, **kwargs: Any) -> Any:
            note("torch.cuda.Event", "emulated")
            made = super().__new__(cls)
            made.enable_timing = enable_timing
            made.moment = None
            return made

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            pass

        def wait(self, stream: Any = None) -> None:
            pass

        def query(self) -> bool:
            return True

        def synchronize(self) -> None:
            pass

    return {"_CudaStreamBase": _CudaStreamBase, "_CudaEventBase": _CudaEventBase}


# ---------------------------------------------------------------- refusals


def refusal(name: str, why: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        note(name, "refused")
        raise RuntimeError(f"{name} is not carried without a GPU: {why}")

    return refuse


def _refusals() -> dict[str, Any]:
    graphs = "nothing is queued here that could be captured and played again; run the captured part as it is"

    class _CUDAGraph:
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return refusal("torch.cuda.CUDAGraph", graphs)()

    ipc = "a card's memory is this process's own; send the tensor's cpu() copy"
    return {
        "_CUDAGraph": _CUDAGraph,
        "_graph_pool_handle": refusal("torch.cuda.graph_pool_handle", graphs),
        "_cuda_cudaHostAllocator": refusal("torch.cuda.memory._host_allocator", ipc),
        "_cuda_cudaCachingAllocator_raw_alloc": refusal("torch.cuda.caching_allocator_alloc", ipc),
        "_cuda_getStreamFromExternal": refusal("torch.cuda.get_stream_from_external", ipc),
        "_nccl_unique_id": refusal("torch.cuda.nccl.unique_id", "use torch.distributed"),
    }
