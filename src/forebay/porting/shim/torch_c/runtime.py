"""CUDA's own runtime, as far as scripts call it by hand: torch.cuda.cudart(), NVTX, versions, cuBLAS and cuDNN settings."""

from __future__ import annotations

import enum
from typing import Any

from forebay.porting.shim.cards import Cards
from forebay.porting.shim.journal import note
from forebay.porting.shim.torch_c.devices import CAPABILITY

CUDA_VERSION = 12080
NCCL_VERSION = (2, 21, 5)


def functions(cards: Cards) -> dict[str, Any]:
    return {
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
        "_cuda_resetCublasWorkspaceSize": lambda: None,
        "_cuda_resetCublasLtWorkspaceSize": lambda: None,
        "_cuda_getCurrentBlasHandle": lambda: 0,  # scripts ask for it to start cuBLAS early: there is nothing to start
        "_cuda_getCurrentSolverHandle": lambda: 0,
        "_cuda_get_conv_benchmark_empty_cache": lambda: True,
        "_cudnn_set_conv_benchmark_empty_cache": lambda enable: note("torch.backends.cudnn settings", "no-op"),
        **_tunable(),
    }


def _tunable() -> dict[str, Any]:
    """torch.cuda.tunable: its settings are kept; there are no GEMM libraries to choose from."""
    kept: dict[str, Any] = {
        "enable": False,
        "tuning_enable": True,
        "record_untuned": False,
        "max_tuning_duration": 30,
        "max_tuning_iterations": 100,
        "filename": "tunableop_results.csv",
        "rotating_buffer_size": 0,
    }

    def setter(name: str) -> Any:
        def keep(value: Any, *rest: Any) -> None:
            note("torch.cuda.tunable", "no-op")
            kept[name] = value

        return keep

    def getter(name: str) -> Any:
        return lambda: kept[name]

    settings = ("max_tuning_duration", "max_tuning_iterations", "filename", "rotating_buffer_size")
    return {
        "_cuda_tunableop_enable": setter("enable"),
        "_cuda_tunableop_is_enabled": getter("enable"),
        "_cuda_tunableop_tuning_enable": setter("tuning_enable"),
        "_cuda_tunableop_tuning_is_enabled": getter("tuning_enable"),
        "_cuda_record_untuned_enable": setter("record_untuned"),
        "_cuda_record_untuned_is_enabled": getter("record_untuned"),
        **{f"_cuda_tunableop_set_{name}": setter(name) for name in settings},
        **{f"_cuda_tunableop_get_{name}": getter(name) for name in settings},
        "_cuda_tunableop_set_numerical_check_tolerances": setter("tolerances"),
        "_cuda_tunableop_write_file_on_exit": setter("write_on_exit"),
        "_cuda_tunableop_write_file": lambda name=None: False,
        "_cuda_tunableop_read_file": lambda name=None: False,
        "_cuda_tunableop_get_results": lambda: (),
        "_cuda_tunableop_get_validators": lambda: (),
    }


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
