"""torch.cuda's functions and classes, for the device that is there.

Asked:  what does `torch.cuda.max_memory_allocated()` become?
Answer: the same function of `torch.get_device_module(DEVICE)`, which on CUDA is torch.cuda itself, so nothing changes there.
        What torch.cpu hasn't is asked for only where there is an accelerator; elsewhere it gives what torch.cuda gives without
        a card, or the plain answer of a host: no bytes, no states, the device's name.
Limits: what only NVIDIA's chips have (compute capability, graphs, NVTX, profiler) is left unless the code around it already
        asks for a card first; so are parts of torch.cuda that aren't called.
"""

from __future__ import annotations

from collections.abc import Mapping

import libcst as cst

from forebay.porting.rewrite.change import DEVICE, EVENT, HERE, MODULE, TORCH, Change, Splice
from forebay.porting.rewrite.guards import Guards
from forebay.porting.rewrite.page import Page

_EVERYWHERE = frozenset({"synchronize", "set_device", "current_stream", "stream", "StreamContext"})  # torch.cpu has them too
_NO_ANSWER = frozenset(  # nothing is done with what they give
    {"empty_cache", "ipc_collect", "init", "set_per_process_memory_fraction", "set_stream"}
    | {"reset_peak_memory_stats", "reset_max_memory_allocated", "reset_max_memory_cached", "reset_accumulated_memory_stats"}
    | {"manual_seed", "manual_seed_all", "seed", "seed_all", "set_rng_state", "set_rng_state_all"}
)
_ANSWERS: Mapping[str, str] = {  # what they give where there is no accelerator
    **dict.fromkeys(("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved"), "0"),
    **dict.fromkeys(("memory_cached", "max_memory_cached", "utilization"), "0"),
    **dict.fromkeys(("memory_stats", "memory_stats_as_nested_dict"), "{}"),
    "memory_snapshot": "[]",
    "get_rng_state_all": "[]",
    "get_rng_state": "None",
    "is_bf16_supported": "False",
    "is_initialized": "False",
    "get_device_name": f"{DEVICE}.type",
}
_OF_A_CARD = frozenset({"get_device_properties", "get_device_capability", "mem_get_info", "memory_summary", "default_stream"})
_DTYPES: Mapping[str, str] = {
    "FloatTensor": "float32",
    "HalfTensor": "float16",
    "DoubleTensor": "float64",
    "BFloat16Tensor": "bfloat16",
    "LongTensor": "int64",
    "IntTensor": "int32",
    "ShortTensor": "int16",
    "CharTensor": "int8",
    "ByteTensor": "uint8",
    "BoolTensor": "bool",
}


def runtime(node: cst.CSTNode, page: Page, guards: Guards) -> Change | None:
    """The change for an expression that leads to torch.cuda.SOMETHING."""
    if not isinstance(node, (cst.Name, cst.Attribute)) or _is_bound(node, page):
        return None
    full = page.name(node)
    if not full.startswith("torch.cuda."):
        return None
    name = full.removeprefix("torch.cuda.")
    call = page.parent(node)
    if isinstance(call, cst.Arg) and tensor_type(page.parent(call), page) is not None:
        return None  # settled with the call
    if not isinstance(call, cst.Call) or call.func is not node:
        return _uncalled(node, page, name)
    if name == "is_available":
        return _instead(node, page, f"{TORCH}.accelerator.is_available")
    if name == "device_count":
        return _instead(node, page, f"{TORCH}.accelerator.device_count" if _is_tested(call, page) else f"{MODULE}.device_count")
    if name == "current_device":
        return _current_device(call, page, guards)
    if name in ("device", "device_of"):
        return _selected(call, page, name)
    if name in _DTYPES:
        return _made(call, page, name)
    if name == "Event":
        return _instead(node, page, EVENT if call.args else f"{MODULE}.Event")
    if name == "Stream":
        plain = all(arg.keyword is not None and arg.keyword.value == "priority" for arg in call.args)
        return _instead(node, page, f"{MODULE}.Stream") if plain or guards.guarded(call) else None
    if _is_waited_for(call, page):
        return _asked_first(call, page, guards, name, "None")
    if name in _EVERYWHERE:
        return _instead(node, page, f"{MODULE}.{name}")
    if name in _NO_ANSWER:
        return _asked_first(call, page, guards, name, "None")
    if name in _ANSWERS:
        return _asked_first(call, page, guards, name, _ANSWERS[name])
    if name in _OF_A_CARD and guards.guarded(call):
        return _instead(node, page, f"{MODULE}.{name}")
    return None


def tensor_type(node: cst.CSTNode, page: Page) -> Change | None:
    """`x.type("torch.cuda.HalfTensor")` and `x.type(torch.cuda.HalfTensor)`."""
    if not isinstance(node, cst.Call) or not isinstance(node.func, cst.Attribute) or len(node.args) != 1:
        return None
    word = page.string(node.args[0].value) or page.name(node.args[0].value)
    kind = word.removeprefix("torch.cuda.")
    if node.func.attr.value != "type" or kind == word or kind not in _DTYPES:
        return None
    method, argument = page.span(node.func.attr), page.span(node.args[0].value)
    to = f"{DEVICE}, {TORCH}.{_DTYPES[kind]}"
    return Change(span=page.span(node), splices=(Splice(*method, "to"), Splice(*argument, to)), covers=(argument,))


def default_type(node: cst.CSTNode, page: Page) -> Change | None:
    """`torch.set_default_tensor_type("torch.cuda.FloatTensor")`; the class itself is rewritten where it stands."""
    if not isinstance(node, cst.Call) or page.name(node.func) != "torch.set_default_tensor_type" or len(node.args) != 1:
        return None
    word = page.string(node.args[0].value) or ""
    kind = word.removeprefix("torch.cuda.")
    if kind == word or kind not in _DTYPES:
        return None
    span = page.span(node.args[0].value)
    return Change(span=span, splices=(Splice(*span, f"({MODULE} if {HERE} else {TORCH}).{kind}"),), covers=(span,))


def _instead(node: cst.CSTNode, page: Page, text: str, torch: str = "2.6") -> Change:
    span = page.span(node)
    return Change(span=span, splices=(Splice(*span, text),), covers=(span,), torch=torch)


def _uncalled(node: cst.Name | cst.Attribute, page: Page, name: str) -> Change | None:
    """A class that is caught, compared with, or kept under another name."""
    if name == "OutOfMemoryError":
        return _instead(node, page, f"{TORCH}.OutOfMemoryError")
    if name in _DTYPES:
        return _instead(node, page, f"({MODULE} if {HERE} else {TORCH}).{name}")
    if name in ("is_available", "device_count"):
        return _instead(node, page, f"{TORCH}.accelerator.{name}")
    if name == "Event":
        return _instead(node, page, EVENT)
    return _instead(node, page, f"{MODULE}.{name}") if name in _EVERYWHERE | {"Stream"} else None


def _made(call: cst.Call, page: Page, name: str) -> Change:
    """A tensor of a legacy type: made on the host, then moved."""
    func, (start, end) = page.span(call.func), page.span(call)
    splices = (Splice(*func, f"{TORCH}.{name}"), Splice(end, end, f".to({DEVICE})"))
    return Change(span=(start, end), splices=splices, covers=(func,))


def _is_tested(call: cst.Call, page: Page) -> bool:
    """Whether a number of cards is asked for to learn whether there is one: elsewhere the host counts as one device."""
    for outer, inner in page.above(call):
        if isinstance(outer, (cst.If, cst.IfExp, cst.Assert, cst.While)):
            return inner is outer.test
        if isinstance(outer, cst.Comparison):
            return True
        if not isinstance(outer, (cst.BooleanOperation, cst.UnaryOperation)):
            return False
    return False


def _current_device(call: cst.Call, page: Page, guards: Guards) -> Change:
    """A number where one counts with it or writes it down; elsewhere what stands for a device, as torch.cpu has it."""
    counted = (cst.FormattedStringExpression, cst.BinaryOperation, cst.ComparisonTarget, cst.Comparison, cst.Index, cst.Element)
    outer = page.parent(call)
    named = isinstance(outer, cst.Arg) and page.source(page.parent(outer)).startswith(("print(", "int(", "str("))
    if (isinstance(outer, counted) or named) and not guards.guarded(call):
        text = page.closed(call, f"{MODULE}.current_device() if {HERE} else 0")
        span = page.span(call)
        return Change(span=span, splices=(Splice(*span, text),), covers=(span,), whole=True)
    return _instead(call.func, page, f"{MODULE}.current_device")


def _selected(call: cst.Call, page: Page, name: str) -> Change | None:
    """`with torch.cuda.device(i)`: a card by its number, or that of a tensor; without cards None, which selects nothing."""
    if len(call.args) != 1 or not isinstance(page.parent(call), cst.WithItem):
        return None
    argument = call.args[0].value
    text = page.source(argument)
    if name == "device_of":
        text = f"{text}.device.index"
    elif isinstance(argument, cst.Attribute) and argument.attr.value == "device":
        text = f"{text}.index"
    elif page.is_number(argument):
        text = f"{text} if {HERE} else None"
    else:
        return None
    span = page.span(call)
    text = f"{TORCH}.accelerator.device_index({text})"
    return Change(span=span, splices=(Splice(*span, text),), covers=(page.span(call.func),), whole=True, torch="2.8")


def _is_waited_for(call: cst.Call, page: Page) -> bool:
    """`torch.cuda.current_stream().synchronize()`: the host's streams can't be waited for, they have nothing to wait for."""
    method = page.parent(call)
    return isinstance(method, cst.Attribute) and method.attr.value in ("synchronize", "query")


def _asked_first(call: cst.Call, page: Page, guards: Guards, name: str, otherwise: str) -> Change | None:
    """The call, where there is an accelerator: a statement gets an `if`, an expression the answer of a host beside it."""
    func = page.span(call.func)
    name_only = Splice(*func, f"{MODULE}.{name}")
    outer: cst.BaseExpression = call
    while isinstance(page.parent(outer), (cst.Attribute, cst.Call)):  # x.synchronize()
        parent = page.parent(outer)
        if isinstance(parent, cst.Call) and parent.func is not outer:
            break
        assert isinstance(parent, cst.BaseExpression)
        outer = parent
    span = page.span(outer)
    if guards.guarded(call):
        return Change(span=span, splices=(name_only,), covers=(func,))
    if page.statement(outer) is not None:
        indent = page.indent(outer)
        step = page.module.default_indent
        first = Splice(span[0], span[0], f"if {HERE}:{page.newline}{indent}{step}")
        return Change(span=span, splices=(first, name_only), covers=(func,))
    if outer is not call and otherwise != "None":
        return None  # a part of the answer is taken: states()[0]
    text = f" if {HERE} else {otherwise}"
    opened, closed = ("", text) if page.closed(outer, "") == "" else ("(", f"{text})")
    splices = (Splice(func[0], func[1], f"{opened}{MODULE}.{name}"), Splice(span[1], span[1], closed))
    return Change(span=span, splices=splices, covers=(func,))


def _is_bound(node: cst.Name | cst.Attribute, page: Page) -> bool:
    """Whether a name is only a piece of a longer one, is imported here, or gets a value."""
    outer = page.parent(node)
    if isinstance(outer, cst.Attribute):
        return outer.attr is node or page.name(outer) != ""
    return isinstance(outer, (cst.ImportAlias, cst.ImportFrom, cst.AssignTarget, cst.AsName, cst.Param))
