"""Streams and events: work is done when its call returns, so a stream is a number and an event the host's clock."""

from __future__ import annotations

import itertools
import time
from typing import Any

from forebay.porting.shim.cards import Cards
from forebay.porting.shim.journal import note, noted

CUDA = 1  # c10::DeviceType::CUDA


def functions(cards: Cards) -> dict[str, Any]:
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
        "_cuda_getStreamFromExternal": lambda pointer, card: (pointer, cards.checked(card), CUDA),
    }


def classes(torch_c: Any, cards: Cards) -> dict[str, Any]:
    return _torch_streams(torch_c, cards) if cards.of_torch else _plain_streams(cards)


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
            made = super().__new__(cls, f"cuda:{cards.current()}", priority=priority)
            made.wanted = min(0, max(-5, priority))  # kept to be read: there is nothing that could go first
            return made

        @property
        def cuda_stream(self) -> int:
            return int(self.stream_id)

        @property
        def priority(self) -> int:
            return int(getattr(self, "wanted", 0))

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
