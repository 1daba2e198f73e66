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
from collections.abc import Callable
from typing import Any

from forebay.errors import BadInput
from forebay.porting.shim.journal import note

CHOICE = "FOREBAY_SHIM_COMPILE"
CHOICES = ("graph", "inductor", "off")


def choice() -> str:
    asked = os.environ.get(CHOICE, "graph")
    if asked not in CHOICES:
        raise BadInput(f"{CHOICE} says how compiled models run.", asked=asked, hint=" or ".join(CHOICES))
    return asked


def carry(torch: Any, *, mapped: bool) -> None:
    """Change torch after its import. Dynamo and Inductor aren't imported before they are used.

    The mapped carrier is there for machines without a compiler, and its mode would be in Dynamo's way: models run as they are.
    """
    if mapped or choice() == "off":
        torch.compile = _as_it_is(torch.compile)
        return
    # torch._inductor.cudagraph_trees imports them; Dynamo asks it about an optimizer's state
    torch._C._cuda_CUDAAllocator_AllocatorState = type("_cuda_CUDAAllocator_AllocatorState", (), {})
    torch._C._set_cached_tensors_enabled = lambda enabled: None
    wrapper = torch._TorchCompileInductorWrapper
    wrapper.__call__ = _lowered(wrapper.__call__)


def carry_cudagraphs(backends: Any) -> None:
    """Change torch._dynamo.backends.cudagraphs after its import: its trees of graphs live in CUDA's allocator."""
    from torch._dynamo.backends import registry

    def cudagraphs(graph: Any, inputs: Any) -> Any:
        note("torch.compile(backend='cudagraphs')", "emulated")
        return graph.forward

    cudagraphs._tags = ("cudagraphs",)  # type: ignore[attr-defined]  # as the registry keeps them
    registry._COMPILER_FNS["cudagraphs"] = cudagraphs


def carry_conversion(convert_frame: Any) -> None:
    """Change torch._dynamo.convert_frame after its import: where Dynamo stumbles over itself, the frame runs as it is.

    Over the simulated device that may be our doing. What Dynamo refuses on purpose (fullgraph=True) it still refuses.
    """
    real = convert_frame.ConvertFrame.__call__
    stumbled = convert_frame.InternalTorchDynamoError

    @functools.wraps(real)
    def __call__(self: Any, frame: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return real(self, frame, *args, **kwargs)
        except stumbled as error:
            code = frame.f_code
            note(
                f"torch.compile, left as it is: {code.co_name} at {code.co_filename}:{code.co_firstlineno} ({error})"[:300],
                "emulated",
            )
            return convert_frame.ConvertFrameReturn() if hasattr(convert_frame, "ConvertFrameReturn") else None

    convert_frame.ConvertFrame.__call__ = __call__


def _lowered(real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def lower(self: Any, graph: Any, inputs: Any, **options: Any) -> Any:
        if not _of_cuda(graph, inputs):
            return real(self, graph, inputs, **options)
        note("torch.compile", "emulated")
        if choice() == "inductor":
            from forebay.porting.shim.inductor import compile_for_host

            return compile_for_host(graph, inputs)
        return graph.forward

    return lower


def _of_cuda(graph: Any, inputs: Any) -> bool:
    import torch

    tensors = [*inputs, *graph.parameters(), *graph.buffers()]
    if any(isinstance(value, torch.Tensor) and value.is_cuda for value in tensors):
        return True
    made = [node.meta.get("example_value") for node in graph.graph.nodes]
    return any(isinstance(value, torch.Tensor) and value.is_cuda for value in made)


def _as_it_is(real: Callable[..., Any]) -> Callable[..., Any]:
    """torch.compile that returns what it got, in the wrapper that scripts expect of a module."""

    @functools.wraps(real)
    def compile(model: Any = None, **options: Any) -> Any:
        import torch

        if model is None:
            return lambda function: compile(function, **options)
        note("torch.compile", "emulated")
        if not isinstance(model, torch.nn.Module):
            return model
        from torch._dynamo.eval_frame import OptimizedModule, _NullDecorator

        return OptimizedModule(model, _NullDecorator())  # type: ignore[arg-type]

    return compile
