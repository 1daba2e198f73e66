"""Inductor's C++ for graphs of cuda tensors.

Asked:  how does a graph that was captured on cuda become code for the host, without changing what it means?
Answer: AOTAutograd first takes it apart under the tensors that it was captured with, so that autocast has followed CUDA's list
        and views and mutations are in order. Then the devices in the graph are written over, its shapes are derived anew,
        and Inductor compiles that for the host. At each call inputs cross as aliases over the same bytes, and results back.
Limits: a graph that draws random numbers (they are the card's generator's), that uses more than one device, or that Inductor
        can't compile for the host, runs as it was captured, operator by operator.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from forebay.porting.shim.journal import note


def compile_for_host(graph: Any, inputs: Sequence[Any]) -> Any:
    """What Dynamo captured, as something that takes and gives cuda tensors."""
    from torch._dynamo.backends.common import aot_autograd
    from torch._functorch.partitioners import min_cut_rematerialization_partition
    from torch._inductor.decomposition import select_decomp_table

    return aot_autograd(
        fw_compiler=functools.partial(_compile, backward=False),
        bw_compiler=functools.partial(_compile, backward=True),
        decompositions=select_decomp_table(),
        partition_fn=min_cut_rematerialization_partition,
        keep_inference_input_mutations=True,
    )(graph, inputs)


def _compile(graph: Any, inputs: Sequence[Any], *, backward: bool) -> Callable[[list[Any]], Any]:
    from torch._functorch._aot_autograd.utils import make_boxed_func
    from torch._inductor.compile_fx import compile_fx_inner

    why = _reason_against(graph)
    if why is None:
        try:
            host, examples = _on_host(graph, inputs)
            code = compile_fx_inner(host, examples, is_backward=backward)
            return _crossing(code, graph)
        except Exception as error:  # whatever Inductor met, the graph itself is sound
            why = f"Inductor: {type(error).__name__}"
    note(f"torch.compile, a graph as captured ({why})", "emulated")
    return make_boxed_func(graph.forward)  # type: ignore[no-any-return]


def _reason_against(graph: Any) -> str | None:
    devices = {value.device for node in graph.graph.nodes for value in _tensors(node.meta.get("val"))}
    if len(devices) != 1 or next(iter(devices)).type != "cuda":
        return "several devices"
    return "random numbers" if any(map(_draws, graph.graph.nodes)) else None


def _draws(node: Any) -> bool:
    """Whether an operator draws random numbers. Attention may, by its tag; without dropout it doesn't."""
    import torch

    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    for place, argument in enumerate(node.target._schema.arguments):
        if argument.name == "dropout_p":
            given = node.args[place] if place < len(node.args) else node.kwargs.get("dropout_p", argument.default_value)
            return bool(given != 0)
    return True


def _tensors(value: Any) -> list[Any]:
    import torch

    if isinstance(value, (list, tuple)):
        return [tensor for one in value for tensor in _tensors(one)]
    return [value] if isinstance(value, torch.Tensor) else []


def _on_host(graph: Any, inputs: Sequence[Any]) -> tuple[Any, list[Any]]:
    """The same graph with the host's devices, and fake inputs of the host."""
    import torch
    from torch._guards import detect_fake_mode
    from torch.fx.passes.fake_tensor_prop import FakeTensorProp

    mode = detect_fake_mode(inputs)
    copied = torch.fx.Graph()
    copied.output(copied.graph_copy(graph.graph, {}))
    host = torch.fx.GraphModule(graph, copied)
    for node in host.graph.nodes:
        if "device" in node.kwargs:
            node.kwargs = {**node.kwargs, "device": torch.device("cpu")}
        node.args = torch.fx.node.map_aggregate(node.args, _host_device)
    assert mode is not None
    with mode:
        examples = [
            torch.empty_strided(x.size(), x.stride(), dtype=x.dtype, device="cpu") if isinstance(x, torch.Tensor) else x
            for x in inputs
        ]
    FakeTensorProp(host, mode=mode).propagate_dont_convert_inputs(*examples)
    host.recompile()
    return host, examples


def _host_device(value: Any) -> Any:
    import torch

    return torch.device("cpu") if isinstance(value, torch.device) else value


def _crossing(code: Callable[[list[Any]], Any], graph: Any) -> Callable[[list[Any]], Any]:
    import torch

    host_alias, card_alias = torch.ops.forebay_shim.host_alias, torch.ops.forebay_shim.card_alias
    card = next(t.device.index for node in graph.graph.nodes for t in _tensors(node.meta.get("val")))

    def run(on_card: list[Any]) -> list[Any]:
        mine = list(on_card)
        on_card.clear()  # as Inductor's callers expect: what isn't needed any more is freed
        with torch.no_grad():
            hosts = [host_alias(value) if isinstance(value, torch.Tensor) else value for value in mine]
            known = {id(host): value for host, value in zip(hosts, mine)}  # noqa: B905  # Python 3.9
            kept = list(hosts)  # the ids stay theirs until the results are back
            results = code(hosts)
            back = [
                known[id(value)] if id(value) in known else card_alias(value, card) if isinstance(value, torch.Tensor) else value
                for value in results
            ]
            del kept
            return back

    run._boxed_call = True  # type: ignore[attr-defined]
    return run
