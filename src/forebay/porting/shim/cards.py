"""The cards behind torch.cuda, as Python sees them.

Asked:  how many cards are there, which is current, what do they hold?
Answer: `Simulated` asks our compiled library; `Mapped` keeps the little that there is to know when cuda means cpu.
Limits: no torch at import. Both are made before torch is imported and survive a fork: they hold no thread and no handle.
"""

from __future__ import annotations

import ctypes
import os
import resource
import threading
from pathlib import Path
from typing import Any, NamedTuple

from forebay.errors import RunFailed
from forebay.porting.shim.build import Torch

MOST = 64
NAME = {"simulated": "Forebay simulated CUDA device (CPU)", "mapped": "Forebay mapped CUDA device (CPU)"}


class Memory(NamedTuple):
    """Bytes and blocks of one card."""

    held: int
    peak: int
    reserved: int
    reserved_peak: int
    blocks: int
    blocks_peak: int
    blocks_ever: int
    bytes_ever: int
    refused: int


class Cards:
    """What torch.cuda needs of the cards. The launcher sets how many there are and how much each holds."""

    kind = "mapped"
    of_torch = False  # whether torch itself knows a device behind the name cuda: its own streams and generators serve then

    def __init__(self, cards: int) -> None:
        self._cards = cards
        self._limit = 0

    def count(self) -> int:
        """The cards that CUDA_VISIBLE_DEVICES leaves, as on a real machine: the list ends at the first that isn't there."""
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is None:
            return self._cards
        seen = 0
        for word in visible.split(","):
            if not word.strip().isdigit() or int(word) >= self._cards:
                break
            seen += 1
        return seen

    def set_cards(self, cards: int) -> None:
        self._cards = cards

    def set_memory_limit(self, limit: int) -> None:
        self._limit = limit

    def total_memory(self) -> int:
        return self._limit or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def current(self) -> int:
        raise NotImplementedError

    def exchange(self, card: int) -> int:
        """Make this card current and return the one before. A negative one changes nothing."""
        raise NotImplementedError

    def memory(self, card: int) -> Memory:
        raise NotImplementedError

    def reset_peak(self, card: int) -> None:
        raise NotImplementedError

    def reset_totals(self, card: int) -> None:
        raise NotImplementedError

    def empty_cache(self) -> None:
        raise NotImplementedError

    def stream(self, card: int) -> int:
        raise NotImplementedError

    def set_stream(self, card: int, stream: int) -> None:
        raise NotImplementedError

    def operators(self) -> dict[str, int]:
        """How often each operator was carried."""
        return {}

    def resize_storage(self, storage: int, size: int) -> bool:
        """Whether the card had room. `storage` is the address of a StorageImpl."""
        raise NotImplementedError

    def default_generator(self, card: int) -> Any:
        """The torch.Generator that a card's numbers come from when none is named. Torch is imported by now."""
        raise NotImplementedError

    def capturing(self) -> bool:
        """Whether this thread's current stream captures a graph."""
        return False

    def checked(self, card: int) -> int:
        if not 0 <= card < self.count():
            raise RuntimeError(
                f"CUDA error: invalid device ordinal (asked for cuda:{card}; there are {self.count()} {self.kind} cards)"
            )
        return card


class Simulated(Cards):
    kind = "simulated"
    of_torch = True

    def __init__(self, cards: int, library: Path, torch: Torch) -> None:
        super().__init__(cards)
        for name in ("libc10.so", "libtorch_cpu.so"):  # first, and for all to see: ours is linked against them
            ctypes.CDLL(str(torch.folder / "lib" / name), mode=ctypes.RTLD_GLOBAL)
        if torch.gpu == "cuda":  # its kernels are registered before ours: the newest is the one that is called
            ctypes.CDLL(str(torch.folder / "lib" / "libtorch_cuda.so"))
        # PyDLL keeps the interpreter's lock: each of these calls is shorter than letting go of it.
        self._library = ctypes.PyDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        self._torch = torch
        self._library.forebay_generator.restype = ctypes.c_void_p
        self._library.forebay_generator.argtypes = [ctypes.c_int, ctypes.c_bool]
        self._library.forebay_free_generator.argtypes = [ctypes.c_void_p]
        for name in ("forebay_stream", "forebay_operators", "forebay_graph_size"):
            getattr(self._library, name).restype = ctypes.c_int64
        self._library.forebay_graph_new.restype = ctypes.c_void_p
        for name in ("forebay_graph_begin", "forebay_graph_end"):
            getattr(self._library, name).restype = ctypes.c_char_p
        # A replay is long: other threads of Python go on meanwhile.
        self._long = ctypes.CDLL(str(library))
        self._long.forebay_graph_replay.restype = ctypes.c_char_p
        self.set_cards(cards)

    def set_cards(self, cards: int) -> None:
        super().set_cards(cards)
        self._library.forebay_set_cards(self.count())

    def set_memory_limit(self, limit: int) -> None:
        super().set_memory_limit(limit)
        self._library.forebay_set_memory_limit(ctypes.c_int64(limit))

    def current(self) -> int:
        return int(self._library.forebay_current_card())

    def exchange(self, card: int) -> int:
        return int(self._library.forebay_exchange_card(self.checked(card))) if card >= 0 else self.current()

    def memory(self, card: int) -> Memory:
        values = (ctypes.c_int64 * len(Memory._fields))()
        self._library.forebay_memory(self.checked(card), values)
        return Memory(*values)

    def reset_peak(self, card: int) -> None:
        self._library.forebay_reset_peak(self.checked(card))

    def reset_totals(self, card: int) -> None:
        self._library.forebay_reset_totals(self.checked(card))

    def empty_cache(self) -> None:
        self._library.forebay_empty_cache()

    def stream(self, card: int) -> int:
        return int(self._library.forebay_stream(self.checked(card)))

    def set_stream(self, card: int, stream: int) -> None:
        self._library.forebay_set_stream(self.checked(card), ctypes.c_int64(stream))

    def operators(self) -> dict[str, int]:
        size = 1 << 16
        while True:
            text = ctypes.create_string_buffer(size)
            needed = int(self._library.forebay_operators(text, ctypes.c_int64(size)))
            if needed <= size:
                lines = text.raw[:needed].decode().splitlines()
                return {name: int(calls) for name, calls in (line.rsplit(" ", 1) for line in lines)}
            size = needed + 4096

    def resize_storage(self, storage: int, size: int) -> bool:
        return int(self._library.forebay_resize_storage(ctypes.c_void_p(storage), ctypes.c_int64(size))) == 0

    def default_generator(self, card: int) -> Any:
        return self.generator(card, default=True)

    def generator(self, card: int, *, default: bool) -> Any:
        """A torch.Generator of this card: its default one, or a new one with a state of its own."""
        wrap = self._wrapper()
        held = self._library.forebay_generator(card, default)
        try:
            return wrap(held)
        finally:
            self._library.forebay_free_generator(held)

    def _wrapper(self) -> Any:
        """torch's own way from an at::Generator to its Python object. It takes it by reference, and until torch 2.6 by value,
        which is handed over in the same way."""
        python = ctypes.PyDLL(str(self._torch.folder / "lib" / "libtorch_python.so"))
        for name in ("_Z17THPGenerator_WrapRKN2at9GeneratorE", "_Z17THPGenerator_WrapN2at9GeneratorE"):
            if hasattr(python, name):
                wrap = python[name]
                wrap.restype, wrap.argtypes = ctypes.py_object, [ctypes.c_void_p]
                return wrap
        raise RunFailed("This torch's generators can't be wrapped.", found=f"torch {self._torch.version}")

    def rest_on(self, storage: int, host: int, *, copy: bool) -> bool:
        """Whether the card had room. Both are addresses of a StorageImpl, on the card and on the host."""
        return int(self._library.forebay_rest_on(ctypes.c_void_p(storage), ctypes.c_void_p(host), int(copy))) == 0

    # A graph is known by its address in the compiled part.

    def capturing(self) -> bool:
        return bool(self._library.forebay_capturing())

    def new_graph(self) -> int:
        return int(self._library.forebay_graph_new())

    def delete_graph(self, graph: int) -> None:
        self._library.forebay_graph_delete(ctypes.c_void_p(graph))

    def begin_capture(self, graph: int, pool: tuple[int, int]) -> None:
        first, second = (ctypes.c_int64(number) for number in pool)
        _raise(self._library.forebay_graph_begin(ctypes.c_void_p(graph), first, second))

    def end_capture(self, graph: int) -> None:
        _raise(self._library.forebay_graph_end(ctypes.c_void_p(graph)))

    def replay(self, graph: int) -> None:
        _raise(self._long.forebay_graph_replay(ctypes.c_void_p(graph)))

    def reset_graph(self, graph: int) -> None:
        self._library.forebay_graph_reset(ctypes.c_void_p(graph))

    def graph_size(self, graph: int) -> int:
        return int(self._library.forebay_graph_size(ctypes.c_void_p(graph)))

    def pool_of(self, graph: int) -> tuple[int, int]:
        two = (ctypes.c_int64 * 2)()
        self._library.forebay_graph_pool(ctypes.c_void_p(graph), two)
        return two[0], two[1]

    def new_pool(self) -> tuple[int, int]:
        two = (ctypes.c_int64 * 2)()
        self._library.forebay_new_pool(two)
        return two[0], two[1]


def _raise(said: bytes | None) -> None:
    if said is not None:
        raise RuntimeError(said.decode())


class Mapped(Cards):
    """Memory is the process's own: there is no allocator to ask."""

    kind = "mapped"

    def __init__(self, cards: int) -> None:
        super().__init__(cards)
        self._here = threading.local()
        self._streams: list[int] = [0] * MOST

    def current(self) -> int:
        return int(getattr(self._here, "card", 0))

    def exchange(self, card: int) -> int:
        before = self.current()
        if card >= 0:
            self._here.card = self.checked(card)
        return before

    def memory(self, card: int) -> Memory:
        self.checked(card)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        try:
            held = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:  # not Linux: the peak is all that is known
            held = peak
        return Memory(held, peak, held, peak, 0, 0, 0, 0, 0)

    def reset_peak(self, card: int) -> None:
        self.checked(card)  # the system keeps the peak; it can't be set back

    def reset_totals(self, card: int) -> None:
        self.checked(card)

    def empty_cache(self) -> None:
        pass

    def default_generator(self, card: int) -> Any:
        import torch

        return torch.default_generator  # one serves host and cards

    def stream(self, card: int) -> int:
        return self._streams[self.checked(card)]

    def set_stream(self, card: int, stream: int) -> None:
        self._streams[self.checked(card)] = stream
