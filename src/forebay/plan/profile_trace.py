"""One forward of a module on the meta device, and all that passes through it.

Asked:  which weights are used in which order, by how many heads of attention, and which experts are picked from how many?
Answer: `run(module, trace, …)` calls the module with its weights replaced by tensors that have shapes and no memory. `Trace` sees
        every operator (a TorchDispatchMode); `_Whole` sees attention while it is still one call, and answers a module that asks
        for "cuda" by name with the meta device (a TorchFunctionMode).
Limits: there are no values. One that a branch asks for is zero, and a mixture's routing is answered for; anything
        else ends the trace, with what was seen.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from forebay.plan.profile_facts import Attend

TOKENS = 8  # of the one sequence that is traced
VALUES: dict[str, Any] = {"item": int, "__bool__": bool, "__int__": int, "__float__": float, "__index__": int}
DEVICE = re.compile(r"(cuda|cpu|npu|xpu|musa|mlu|mps|hpu|gcu|sdaa)(:\d+)?")


class Trace(TorchDispatchMode):  # type: ignore[misc]
    """Writes down what passes: the weights in products, embeddings, attention, top-k."""

    def __init__(self, module: nn.Module, layers: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.layers = layers
        self.names = {id(one): key for key, one in module.named_modules()}
        self.inside: list[str] = []
        self.weights: dict[int, str] = {}  # by storage, so that views and transposes are known
        self.copies: list[torch.Tensor] = []
        self.used: dict[str, dict[str, int]] = {}
        self.attends: list[Attend] = []
        self.embeddings: list[str] = []
        self.picks: list[tuple[int, int]] = []
        self.skipped = False
        self.time = 0
        self.key_width, self.scores = 0, (0, 0)
        self.whole = 0  # depth of attention that is written down as one

    def layer_of(self, key: str) -> int | None:
        return next((i for i, layer in enumerate(self.layers) if key.startswith(layer + ".")), None)

    def attend(self, heads: int, key: int, value: int) -> None:
        at = self.inside[-1] if self.inside else ""
        layer = self.layer_of(at + ".")
        self.time += 1
        self.attends.append(Attend(layer=layer, heads=heads, key=key, value=value, time=self.time, at=at))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.time += 1
        op = func.overloadpacket.__name__
        if op in ("mm", "addmm", "bmm", "baddbmm", "_grouped_mm", "mv", "addmv"):
            self._product(args[1:] if op.startswith(("add", "badd")) else args)
        elif op == "embedding":
            name = self._weight(args[0])
            if name and name not in self.embeddings:
                self.embeddings.append(name)
        elif op in ("clone", "_to_copy") and (name := self._weight(args[0])) is not None:
            self.weights[out.untyped_storage()._cdata] = name  # laid out or rounded anew: the same weight
            self.copies.append(out)  # kept, so that no other tensor gets its place
        elif op == "topk":
            self.picks.append((int(args[0].shape[-1]), int(args[1])))
        elif op in ("_softmax", "_safe_softmax") and not self.whole and self.key_width and args[0].ndim > 2:
            scores = args[0]
            sinks = int(scores.shape[-1]) - self.scores[1]  # gpt-oss adds a column for what nobody attends to
            if int(scores.shape[-2]) != self.scores[0] or sinks not in (0, 1):
                return out
            self.attend(int(scores.shape[-3]) if scores.ndim > 3 else 1, self.key_width, 0)
            self.key_width = 0
        return out

    def _product(self, operands: Any) -> None:
        left, right = operands[0], operands[1]
        name = self._weight(right)
        into, out = (right.shape[-2], right.shape[-1]) if right.ndim > 1 else (right.shape[-1], 1)
        if name is None and (name := self._weight(left)) is not None:
            into, out = left.shape[-1], left.shape[-2]
            right = left
        if name is None:
            if right.ndim == 3 and left.ndim == 3:  # of two activations: perhaps queries by keys
                self.key_width, self.scores = int(left.shape[-1]), (int(left.shape[-2]), int(right.shape[-1]))
            return
        self.key_width = 0
        self.used.setdefault(
            name,
            {"time": self.time, "into": int(into), "out": int(out), "stacked": int(right.shape[0]) if right.ndim == 3 else 1},
        )

    def _weight(self, tensor: Any) -> str | None:
        return self.weights.get(tensor.untyped_storage()._cdata) if isinstance(tensor, torch.Tensor) else None


class _Whole(TorchFunctionMode):  # type: ignore[misc]
    """Sees attention while it is still one call, and brings stray tensors to the meta device."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = trace

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        whole = name in ("scaled_dot_product_attention", "multi_head_attention_forward", "flex_attention")
        if whole:
            if name == "multi_head_attention_forward":
                width, heads = int(args[3]), int(args[4])
                self.trace.attend(heads, width // heads, width // heads)
            else:
                said = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
                q, v = said["query"], said["value"]
                self.trace.attend(int(q.shape[-3]) if q.ndim > 3 else 1, int(q.shape[-1]), int(v.shape[-1]))
        if name in ("cuda", "cpu", "npu", "xpu", "musa", "mlu") and args and isinstance(args[0], torch.Tensor):
            return _meta(args[0])
        if name in VALUES and args and isinstance(args[0], torch.Tensor) and args[0].device.type == "meta":
            return VALUES[name](0)  # a branch of the forward needs a value: as if it were zero
        kwargs = dict(kwargs or {})
        if kwargs.get("device") is not None:
            kwargs["device"] = torch.device("meta")
        self.trace.whole += whole
        try:
            return func(*_meta(args), **_meta(kwargs))
        finally:
            self.trace.whole -= whole


def _meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter):
        return value if value.device.type == "meta" else value.to("meta")
    if isinstance(value, torch.device) or (isinstance(value, str) and DEVICE.fullmatch(value)):
        return torch.device("meta")  # a module that asks for "cuda" by name
    if type(value) in (tuple, list):
        return type(value)(_meta(item) for item in value)
    if type(value) is dict:
        return {key: _meta(item) for key, item in value.items()}
    return value


def run(module: nn.Module, trace: Trace, inputs: tuple[Any, ...] | None, doubtful: set[str]) -> Exception | None:
    """One forward on the meta device. The error that ended it, or None."""
    state = {
        key: torch.empty_like(one, device="meta", requires_grad=False)
        for key, one in (*module.named_parameters(), *module.named_buffers())
    }
    trace.weights = {state[key].untyped_storage()._cdata: key for key, one in module.named_parameters() if one.ndim > 1}
    tries = [_meta(inputs)] if inputs is not None else _tries(module)
    failed: Exception | None = None
    for given in tries:
        for seen in (trace.used, trace.attends, trace.embeddings, trace.picks):
            seen.clear()
        try:
            with ExitStack() as stack:
                stack.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")  # what a trial on strange tensors warns of is nobody's business
                stack.enter_context(_places(trace))
                stack.enter_context(_tolerant(module, doubtful, trace))
                stack.enter_context(_slow_path())
                stack.enter_context(torch.no_grad())
                stack.enter_context(torch.device("meta"))
                stack.enter_context(_Whole(trace))
                stack.enter_context(trace)
                torch.func.functional_call(module, state, tuple(given))
            return None
        except Exception as bad:
            if failed is None or trace.attends:
                failed = bad
            if trace.attends:
                return bad
    return failed


def _tries(module: nn.Module) -> list[tuple[Any, ...]]:
    """What a transformer may take: a row of token ids, or of vectors where nothing embeds them."""
    ids = torch.zeros((1, TOKENS), dtype=torch.long, device="meta")
    widths = [one.in_features for one in module.modules() if isinstance(one, nn.Linear)]
    widths += [one.embed_dim for one in module.modules() if isinstance(one, nn.MultiheadAttention)]
    vectors = [torch.zeros((1, TOKENS, width), device="meta") for width in dict.fromkeys(widths[:1] + widths[-1:])]
    embeds = any(isinstance(one, nn.Embedding) for one in module.modules())
    return [(ids,), *((row,) for row in vectors)] if embeds else [*((row,) for row in vectors), (ids,)]


@contextmanager
def _places(trace: Trace) -> Iterator[None]:
    """Knows at every moment in which module the forward is."""

    def enter(one: nn.Module, _: Any) -> None:
        trace.inside.append(trace.names.get(id(one), ""))

    def leave(_: nn.Module, __: Any, ___: Any) -> None:
        trace.inside.pop()

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _tolerant(module: nn.Module, doubtful: set[str], trace: Trace) -> Iterator[None]:
    """Lets a mixture of experts that needs values answer with what it was asked."""
    changed = [module.get_submodule(name) for name in doubtful if name]

    def patch(one: nn.Module) -> None:
        before = one.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            depth = len(trace.inside)
            try:
                return before(*args, **kwargs)
            except Exception:
                trace.skipped = True
                del trace.inside[depth:]
                return torch.empty_like(next(a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)))

        one.forward = forward  # type: ignore[method-assign]

    for one in changed:
        patch(one)
    try:
        yield
    finally:
        for one in changed:
            one.__dict__.pop("forward", None)


@contextmanager
def _slow_path() -> Iterator[None]:
    """Torch's fused encoder layer hides what is in it."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
