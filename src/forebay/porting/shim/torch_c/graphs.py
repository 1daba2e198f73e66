"""CUDA graphs: the class under torch.cuda.CUDAGraph, over the recording in graphs.cpp.

A capture runs the work once, to know its shapes, and then puts back what was there before, as a card doesn't run what it
captures. The mapped carrier has no operators of its own to record: there graphs are refused.
"""

from __future__ import annotations

from typing import Any

from forebay.porting.shim.cards import Cards, Simulated
from forebay.porting.shim.journal import note
from forebay.porting.shim.torch_c.refusals import refusal


def functions(cards: Cards) -> dict[str, Any]:
    if not isinstance(cards, Simulated):
        why = "nothing is recorded when cuda means cpu; run the captured part as it is, or install a C++ compiler"

        class _CUDAGraph:
            def __new__(cls, *args: Any, **kwargs: Any) -> Any:
                return refusal("torch.cuda.CUDAGraph", why)()

        return {
            "_CUDAGraph": _CUDAGraph,
            "_graph_pool_handle": refusal("torch.cuda.graph_pool_handle", why),
            "_cuda_isCurrentStreamCapturing": lambda: False,
        }
    return {
        "_CUDAGraph": _graph_class(cards),
        "_graph_pool_handle": cards.new_pool,
        "_cuda_isCurrentStreamCapturing": cards.capturing,
    }


def _graph_class(cards: Simulated) -> type:
    class _CUDAGraph:
        """One captured graph. Its work is held by the compiled part, and goes with this object."""

        _address: int

        def __new__(cls, keep_graph: bool = False) -> Any:
            note("torch.cuda.CUDAGraph", "emulated")
            made = super().__new__(cls)
            made._address = cards.new_graph()
            return made

        def __init__(self, keep_graph: bool = False) -> None:
            pass

        def __del__(self) -> None:
            address, self._address = getattr(self, "_address", 0), 0
            if address:
                cards.delete_graph(address)

        def capture_begin(self, pool: tuple[int, int] | None = None, capture_error_mode: str = "global") -> None:
            if capture_error_mode not in ("global", "thread_local", "relaxed"):
                raise RuntimeError(
                    f'Unknown capture error mode. Expected "global", "thread_local", or "relaxed", got {capture_error_mode}'
                )
            cards.begin_capture(self._address, pool or (0, 0))

        def capture_end(self) -> None:
            cards.end_capture(self._address)

        def instantiate(self) -> None:
            """A recording is ready as it is."""

        def replay(self) -> None:
            note("torch.cuda.CUDAGraph.replay", "emulated")
            cards.replay(self._address)

        def reset(self) -> None:
            cards.reset_graph(self._address)

        def pool(self) -> tuple[int, int]:
            return cards.pool_of(self._address)

        def enable_debug_mode(self) -> None:
            note("torch.cuda.CUDAGraph.enable_debug_mode", "no-op")

        def debug_dump(self, path: str) -> None:
            with open(path, "w") as file:
                file.write(f"// {cards.graph_size(self._address)} pieces of work, recorded on the simulated CUDA device\n")

        def register_generator_state(self, generator: Any) -> None:
            """Each replay draws from the generators as they are: there is nothing to register."""

        def begin_capture_to_if_node(self, *args: Any) -> None:
            refusal("torch.cuda.CUDAGraph's conditional nodes", "a recording has no branches")()

        raw_cuda_graph = refusal("torch.cuda.CUDAGraph.raw_cuda_graph", "there is no cudaGraph_t behind a recording")
        raw_cuda_graph_exec = refusal(
            "torch.cuda.CUDAGraph.raw_cuda_graph_exec", "there is no cudaGraphExec_t behind a recording"
        )

    return _CUDAGraph
