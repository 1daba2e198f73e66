"""torch.compile where there is no GPU to compile for.

Asked:  what does torch.compile do with a graph of cuda tensors on the host?
Answer: Dynamo works as on a card: it traces, guards, breaks graphs, compiles again, and refuses what it refuses there. Only the
        last step differs: where Inductor would write Triton, the graph is run as it was captured, operator by operator (aot and
        eager backends need no help). FOREBAY_SHIM_COMPILE=inductor sends it to Inductor's C++ instead, over the same bytes:
        the graph's devices are rewritten to the host, its inputs and results cross as an operator's do. off leaves the
        model as it is.
Limits: what Inductor can't compile for the host runs as captured, and the report says so. Graphs that draw random numbers always
        run as captured: their numbers are the card's generator's.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

from forebay.porting.shim.journal import note

CHOICE = "FOREBAY_SHIM_COMPILE"
CHOICES = ("graph", "inductor", "off")


def choice() -> str:
    asked = os.environ.get(CHOICE, "graph")
    if asked not in CHOICES:
        from forebay.errors import BadInput

        raise BadInput(f"{CHOICE} says how compiled models run.", asked=asked, hint=" or ".join(CHOICES))
    return asked


def carry(torch: Any) -> None:
    """Change torch after its import. Dynamo and Inductor aren't imported before they are used."""
    if choice() == "off":
        torch.compile = _as_it_is(torch.compile)
        return
    wrapper = torch._TorchCompileInductorWrapper
    wrapper.__call__ = _lowered(wrapper.__call__)


def carry_cudagraphs(backends: Any) -> None:
    """Change torch._dynamo.backends.cudagraphs after its import: its trees of graphs live in CUDA's allocator."""
    from torch._dynamo.backends import registry

    def cudagraphs(graph: Any, inputs: Any) -> Any:
        note("torch.compile(backend='cudagraphs')", "emulated")
        return graph.forward

    registry._COMPILER_FNS["cudagraphs"] = cudagraphs


def _lowered(real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def lower(self: Any, graph: Any, inputs: Any, **options: Any) -> Any:
        if not _of_cuda(graph, inputs):
            return real(self, graph, inputs, **options)
        note("torch.compile", "emulated")
        return graph.forward

    return lower


def _of_cuda(graph: Any, inputs: Any) -> bool:
    import torch

    tensors = [*inputs, *graph.parameters(), *graph.buffers()]
    if any(isinstance(value, torch.Tensor) and value.is_cuda for value in tensors):
        return True
    made = [node.meta.get("example_value") for node in graph.graph.nodes]
    return any(isinstance(value, torch.Tensor) and value.is_cuda for value in made)
