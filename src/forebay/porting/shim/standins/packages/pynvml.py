"""Forebay's stand-in for pynvml (nvidia-ml-py), over the cards of this run. Not the library itself.

Asked:  what a script's monitor asks of NVML
Answer: board.py's figures, in NVML's structures. What nobody measures here raises NVMLError_NotSupported, as a card without
        the sensor does. Names of NVML that aren't here raise AttributeError.
Limits: handles are card numbers. Events, MIG, topology, and everything that would set something are not here.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple, NoReturn

from forebay.porting.shim import load
from forebay.porting.shim.journal import noted
from forebay.porting.shim.standins.board import DRIVER, VARIABLE, Board, boards_of

NVML_SUCCESS = 0
NVML_ERROR_UNINITIALIZED = 1
NVML_ERROR_INVALID_ARGUMENT = 2
NVML_ERROR_NOT_SUPPORTED = 3
NVML_ERROR_NO_PERMISSION = 4
NVML_ERROR_NOT_FOUND = 6
NVML_ERROR_DRIVER_NOT_LOADED = 9
NVML_ERROR_LIBRARY_NOT_FOUND = 12
NVML_ERROR_UNKNOWN = 999
NVML_TEMPERATURE_GPU = 0
NVML_CLOCK_GRAPHICS, NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_CLOCK_VIDEO = range(4)
NVML_PCIE_UTIL_TX_BYTES, NVML_PCIE_UTIL_RX_BYTES = range(2)
NVML_VALUE_NOT_AVAILABLE = -1


class NVMLError(Exception):
    value = NVML_ERROR_UNKNOWN
    text = "Unknown Error"

    def __init__(self, value: int | None = None) -> None:
        super().__init__(self.value if value is None else value)

    def __str__(self) -> str:
        return self.text


class NVMLError_Uninitialized(NVMLError):
    value, text = NVML_ERROR_UNINITIALIZED, "Uninitialized"


class NVMLError_InvalidArgument(NVMLError):
    value, text = NVML_ERROR_INVALID_ARGUMENT, "Invalid Argument"


class NVMLError_NotSupported(NVMLError):
    value, text = NVML_ERROR_NOT_SUPPORTED, "Not Supported (Forebay's cards have no such sensor)"


class NVMLError_NoPermission(NVMLError):
    value, text = NVML_ERROR_NO_PERMISSION, "Insufficient Permissions"


class NVMLError_NotFound(NVMLError):
    value, text = NVML_ERROR_NOT_FOUND, "Not Found"


class NVMLError_DriverNotLoaded(NVMLError):
    value, text = NVML_ERROR_DRIVER_NOT_LOADED, "Driver Not Loaded"


class NVMLError_LibraryNotFound(NVMLError):
    value, text = NVML_ERROR_LIBRARY_NOT_FOUND, "NVML Shared Library Not Found"


class c_nvmlMemory_t(NamedTuple):
    total: int
    free: int
    used: int


class c_nvmlUtilization_t(NamedTuple):
    gpu: int
    memory: int


class c_nvmlProcessInfo_t(NamedTuple):
    pid: int
    usedGpuMemory: int


class c_nvmlPciInfo_t(NamedTuple):
    busId: str
    bus: int
    device: int
    domain: int


class _Handle(int):
    """A card's number, of a type of its own."""


_running = [0]


@noted("pynvml", "emulated")
def nvmlInit() -> None:
    if not _seen():
        raise NVMLError_DriverNotLoaded()
    _running[0] += 1


nvmlInit_v2 = nvmlInit
nvmlInitWithFlags = lambda flags: nvmlInit()  # noqa: E731


def nvmlShutdown() -> None:
    _running[0] = max(0, _running[0] - 1)


def _board(handle: int) -> Board:
    boards = _boards()
    if not 0 <= handle < len(boards):
        raise NVMLError_InvalidArgument()
    return boards[handle]


def _boards() -> list[Board]:
    if not _running[0]:
        raise NVMLError_Uninitialized()
    return _seen()


def _seen() -> list[Board]:
    return boards_of({**os.environ, VARIABLE: load.described()})


def nvmlDeviceGetCount() -> int:
    return len(_boards())


def nvmlDeviceGetHandleByIndex(index: int) -> _Handle:
    return _Handle(_board(index).index)


def nvmlDeviceGetHandleByUUID(uuid: str | bytes) -> _Handle:
    asked = uuid.decode() if isinstance(uuid, bytes) else uuid
    found = [board.index for board in _boards() if board.uuid == asked]
    if not found:
        raise NVMLError_NotFound()
    return _Handle(found[0])


def nvmlDeviceGetHandleByPciBusId(bus: str | bytes) -> _Handle:
    asked = bus.decode() if isinstance(bus, bytes) else bus
    found = [board.index for board in _boards() if board.bus.endswith(asked.upper())]
    if not found:
        raise NVMLError_NotFound()
    return _Handle(found[0])


def nvmlDeviceGetIndex(handle: _Handle) -> int:
    return _board(handle).index


def nvmlDeviceGetName(handle: _Handle) -> str:
    return _board(handle).name


def nvmlDeviceGetUUID(handle: _Handle) -> str:
    return _board(handle).uuid


def nvmlDeviceGetMemoryInfo(handle: _Handle, version: Any = None) -> c_nvmlMemory_t:
    board = _board(handle)
    return c_nvmlMemory_t(board.total, max(0, board.total - board.used), board.used)


def nvmlDeviceGetUtilizationRates(handle: _Handle) -> c_nvmlUtilization_t:
    board = _board(handle)
    return c_nvmlUtilization_t(board.busy, round(100 * board.used / board.total))


def nvmlDeviceGetComputeRunningProcesses(handle: _Handle) -> list[c_nvmlProcessInfo_t]:
    board = _board(handle)
    return [c_nvmlProcessInfo_t(os.getpid(), board.used)] if board.used else []


nvmlDeviceGetComputeRunningProcesses_v2 = nvmlDeviceGetComputeRunningProcesses
nvmlDeviceGetComputeRunningProcesses_v3 = nvmlDeviceGetComputeRunningProcesses


def nvmlDeviceGetGraphicsRunningProcesses(handle: _Handle) -> list[c_nvmlProcessInfo_t]:
    _board(handle)
    return []


def nvmlDeviceGetPciInfo(handle: _Handle) -> c_nvmlPciInfo_t:
    board = _board(handle)
    return c_nvmlPciInfo_t(board.bus, board.index + 1, 0, 0)


def nvmlDeviceGetCudaComputeCapability(handle: _Handle) -> tuple[int, int]:
    import torch

    return torch.cuda.get_device_capability(_board(handle).index)


def nvmlDeviceGetMinorNumber(handle: _Handle) -> int:
    return _board(handle).index


def nvmlSystemGetDriverVersion() -> str:
    _boards()
    return DRIVER


def nvmlSystemGetCudaDriverVersion() -> int:
    import torch

    _boards()
    return int(getattr(torch._C, "_cuda_getDriverVersion")())  # noqa: B009  # only a live torch.cuda has it


nvmlSystemGetCudaDriverVersion_v2 = nvmlSystemGetCudaDriverVersion


def nvmlSystemGetNVMLVersion() -> str:
    return f"12.{DRIVER}"


def nvmlErrorString(result: int) -> str:
    return next((one.text for one in NVMLError.__subclasses__() if one.value == result), NVMLError.text)


def _unsupported(name: str) -> Any:
    def ask(handle: _Handle, *rest: Any) -> NoReturn:
        _board(handle)
        raise NVMLError_NotSupported()

    ask.__name__ = ask.__qualname__ = name
    return ask


nvmlDeviceGetTemperature = _unsupported("nvmlDeviceGetTemperature")
nvmlDeviceGetPowerUsage = _unsupported("nvmlDeviceGetPowerUsage")
nvmlDeviceGetPowerManagementLimit = _unsupported("nvmlDeviceGetPowerManagementLimit")
nvmlDeviceGetEnforcedPowerLimit = _unsupported("nvmlDeviceGetEnforcedPowerLimit")
nvmlDeviceGetTotalEnergyConsumption = _unsupported("nvmlDeviceGetTotalEnergyConsumption")
nvmlDeviceGetClockInfo = _unsupported("nvmlDeviceGetClockInfo")
nvmlDeviceGetMaxClockInfo = _unsupported("nvmlDeviceGetMaxClockInfo")
nvmlDeviceGetFanSpeed = _unsupported("nvmlDeviceGetFanSpeed")
nvmlDeviceGetPcieThroughput = _unsupported("nvmlDeviceGetPcieThroughput")
nvmlDeviceGetCpuAffinity = _unsupported("nvmlDeviceGetCpuAffinity")
nvmlDeviceSetCpuAffinity = _unsupported("nvmlDeviceSetCpuAffinity")
nvmlDeviceGetNvLinkState = _unsupported("nvmlDeviceGetNvLinkState")
nvmlDeviceGetTopologyCommonAncestor = _unsupported("nvmlDeviceGetTopologyCommonAncestor")
