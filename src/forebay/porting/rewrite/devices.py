"""Strings that name a device, comparisons with them, and the usual lines that find one.

Asked:  what does "cuda" become?
Answer: where torch itself takes it, DEVICE; elsewhere DEVICE.type, for a string that the text hands around stays a string:
        on CUDA it is "cuda" as before. A numbered card keeps its number. A question ("is this on a card?") becomes
        its answer's other side: not on the host (decision 0042).
Limits: a text that tells several accelerators apart ("cuda", then "mps") has made its own choice there, and is left alone.
"""

from __future__ import annotations

import libcst as cst

from forebay.porting.rewrite.change import DEVICE, HERE, TORCH, Change, Splice
from forebay.porting.rewrite.guards import ASKS
from forebay.porting.rewrite.page import Page, Span

_OTHERS = frozenset({"mps", "xpu", "npu", "hpu", "mlu", "musa", "xla", "tpu"})
_AUTOCAST = frozenset({"torch.autocast", "torch.amp.autocast", "torch.amp.autocast_mode.autocast"})
_TAKE_NAMES = (
    *_AUTOCAST,
    "torch.amp.GradScaler",
    "torch.distributed.init_device_mesh",
    "torch.distributed.device_mesh.init_device_mesh",
)
_WITH_PERCENT = ("cuda:", "cuda:%d", "cuda:%s", "cuda:%i")
_WITH_FIELD = ("cuda:{}", "cuda:{:d}")
_MADE = frozenset({"device-string", "map-location"})


def found_device(node: cst.CSTNode, page: Page) -> Change | None:
    """`torch.device("cuda" if torch.cuda.is_available() else "cpu")` and its kin: what DEVICE itself is."""
    if isinstance(node, cst.Call) and page.name(node.func) == "torch.device" and len(node.args) == 1:
        inner = node.args[0].value
        if isinstance(inner, cst.IfExp) and _chooses(inner, page, "name"):
            return _whole(node, page, DEVICE, "device")
    if isinstance(node, cst.IfExp):
        if _chooses(node, page, "name"):
            return _whole(node, page, f"{DEVICE}.type", "name")
        if _chooses(node, page, "device"):
            return _whole(node, page, DEVICE, "device")
        if (asked := _type_of(node, page)) is not None:
            return _whole(node, page, f"{TORCH}.device({page.source(asked)}).type")
    return None


def made_device(node: cst.CSTNode, page: Page) -> Change | None:
    """`torch.device("cuda")`, `torch.device("cuda:1")`."""
    if not isinstance(node, cst.Call) or page.name(node.func) != "torch.device" or len(node.args) != 1:
        return None
    text = page.string(node.args[0].value) or ""
    if text == "cuda":
        return _whole(node, page, DEVICE)
    if text.startswith("cuda:") and text[5:].isdigit():
        made = f"{TORCH}.device({DEVICE}.type, {text[5:]})"
        if _goes_to_load(node, page):
            made = page.closed(node, f"{made} if {HERE} else {DEVICE}")
        return _whole(node, page, made)
    return None


def named_device(node: cst.CSTNode, page: Page) -> Change | None:
    """The string "cuda", "cuda:1" or f"cuda:{i}", where the scan has found that it is a device."""
    if not isinstance(node, (cst.SimpleString, cst.FormattedString)):
        return None
    filled = page.string(node) in (*_WITH_PERCENT, *_WITH_FIELD)  # the scan may take these for words
    if not filled and not page.rule(node) & _MADE and not _is_in_map_location(node, page):
        return None
    if isinstance(node, cst.FormattedString):
        return _formatted(node, page)
    text = page.string(node) or ""
    outer = page.parent(node)
    if text == "cuda":
        return _plain(node, page, outer)
    if text.startswith("cuda:") and text[5:].isdigit():
        mark = page.quote(node)
        return _numbered(node, page, f"f{mark}{{{DEVICE}.type}}:{text[5:]}{mark}")
    if text in _WITH_PERCENT and isinstance(outer, cst.BinaryOperation):
        mark = page.quote(node)
        return _whole(node, page, f"f{mark}{{{DEVICE}.type}}{text[4:]}{mark}", whole=False)
    if text in _WITH_FIELD and isinstance(outer, cst.Attribute) and outer.attr.value == "format":
        call = page.parent(outer)
        if isinstance(call, cst.Call) and len(call.args) == 1 and call.args[0].keyword is None and not call.args[0].star:
            return _filled(node, call, page)
    return None


def asked_device(node: cst.CSTNode, page: Page) -> Change | None:
    """`x.device.type == "cuda"`, `"cuda" in name`, `name.startswith("cuda")`, `x.is_cuda`."""
    if isinstance(node, cst.Comparison) and len(node.comparisons) == 1:
        return _compared(node, node.comparisons[0], page)
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and node.func.attr.value == "startswith":
        return _started(node, page)
    if isinstance(node, cst.Attribute) and _asks_tensor(node, page):
        return _is_cuda(node, page)
    if isinstance(node, cst.UnaryOperation) and isinstance(node.operator, cst.Not):
        inner = node.expression
        if isinstance(inner, cst.Attribute) and _asks_tensor(inner, page):
            span, mark = page.span(node), page.quote(node)
            text = f"{page.source(inner.value)}.device.type == {mark}cpu{mark}"
            return Change(span=span, splices=(Splice(*span, text),), covers=(page.span(inner.attr),), whole=True)
    return None


# ---------------------------------------------------------------- the device that is there


def _chooses(node: cst.IfExp, page: Page, kind: str) -> bool:
    """Whether this is "cuda" where there is CUDA, else "cpu", in either order and no more."""
    test, yes, no = node.test, node.body, node.orelse
    if isinstance(test, cst.UnaryOperation) and isinstance(test.operator, cst.Not):
        test, yes, no = test.expression, no, yes
    if not isinstance(test, cst.Call) or page.name(test.func) not in ASKS:
        return False
    if kind == "name":
        return (page.string(yes), page.string(no)) == ("cuda", "cpu")
    return (_device_of(yes, page), _device_of(no, page)) == ("cuda", "cpu")


def _type_of(node: cst.IfExp, page: Page) -> cst.BaseExpression | None:
    """`"cuda" if "cuda" in device else "cpu"`: the type of the device that a string names."""
    test = node.test
    if (page.string(node.body), page.string(node.orelse)) != ("cuda", "cpu") or not isinstance(test, cst.Comparison):
        return None
    contains = len(test.comparisons) == 1 and isinstance(test.comparisons[0].operator, cst.In)
    if not contains or page.string(test.left) != "cuda":
        return None
    asked = test.comparisons[0].comparator
    return asked if isinstance(asked, (cst.Name, cst.Attribute)) else None


def _device_of(node: cst.BaseExpression, page: Page) -> str | None:
    if isinstance(node, cst.Call) and page.name(node.func) == "torch.device" and len(node.args) == 1:
        return page.string(node.args[0].value)
    return None


def _whole(node: cst.CSTNode, page: Page, text: str, is_device: str = "", whole: bool = True) -> Change:
    span = page.span(node)
    covers = _covered(node, page, span)
    return Change(span=span, splices=(Splice(*span, text),), covers=covers, whole=whole, is_device=is_device)


# ---------------------------------------------------------------- names of devices


def _plain(node: cst.SimpleString, page: Page, outer: cst.CSTNode) -> Change | None:
    called = page.parent(outer) if isinstance(outer, cst.Arg) else None
    if isinstance(outer, cst.Arg) and isinstance(called, cst.Call):
        name = page.name(called.func)
        if name in _AUTOCAST and not any(_gives_dtype(i, arg) for i, arg in enumerate(called.args)):
            return _whole(node, page, f"{DEVICE}.type, dtype={TORCH}.float16")  # CUDA's default; the host's is another
        if _torch_takes(outer, called, name, page):
            return _whole(node, page, DEVICE)
    if isinstance(outer, cst.FormattedStringExpression):
        return None
    return _whole(node, page, f"{DEVICE}.type")


def _gives_dtype(place: int, arg: cst.Arg) -> bool:
    return arg.keyword.value == "dtype" if arg.keyword is not None else place == 1


def _torch_takes(arg: cst.Arg, call: cst.Call, name: str, page: Page) -> bool:
    """Whether a device goes straight into torch, which takes a torch.device as well."""
    word = arg.keyword.value if arg.keyword is not None else ""
    if name in _TAKE_NAMES or word == "device_type" or (name == "torch.device" and len(call.args) > 1):
        return False
    if isinstance(call.func, cst.Attribute) and call.func.attr.value == "to":
        return word in ("", "device")
    return name.startswith("torch.") or word == "map_location"


def _numbered(node: cst.BaseExpression, page: Page, text: str) -> Change:
    """A numbered card. The host has no numbers for a checkpoint's place, so there it is called by its name."""
    if _goes_to_load(node, page):
        mark = page.quote(node)
        text = page.closed(node, f"{text} if {HERE} else {mark}cpu{mark}")
    return _whole(node, page, text)


def _goes_to_load(node: cst.BaseExpression, page: Page) -> bool:
    """Whether a name for a card may become where a checkpoint goes: `torch.load` refuses "cpu:0"."""
    if _is_in_map_location(node, page):
        return True
    kept = isinstance(page.parent(node), (cst.Assign, cst.AnnAssign, cst.Return, cst.Param, cst.DictElement))
    kept = kept or (isinstance(arg := page.parent(node), cst.Arg) and arg.keyword is not None and arg.keyword.value == "default")
    return kept and "map_location" in page.words


def _is_in_map_location(node: cst.CSTNode, page: Page) -> bool:
    return _map_location(node, page) is not None


def _map_location(node: cst.CSTNode, page: Page) -> cst.Arg | None:
    """The map_location=... that an expression stands in; the scan finds it by its keyword."""
    for outer, _ in page.above(node):
        if isinstance(outer, cst.Arg) and outer.keyword is not None and outer.keyword.value == "map_location":
            return outer
        if isinstance(outer, (cst.BaseSmallStatement, cst.BaseCompoundStatement)):
            return None
    return None


def _covered(node: cst.CSTNode, page: Page, first: Span) -> tuple[Span, ...]:
    """Where the findings begin that a change of this expression settles."""
    above = _map_location(node, page)
    return (first,) if above is None else (first, (page.span(above)[0], page.span(above)[0] + 1))


def _formatted(node: cst.FormattedString, page: Page) -> Change | None:
    """f"cuda:{i}": only the word changes."""
    first = node.parts[0] if node.parts else None
    if not isinstance(first, cst.FormattedStringText) or not first.value.startswith("cuda:"):
        return None
    start, _ = page.span(first)
    word = Splice(start, start + 4, f"{{{DEVICE}.type}}")
    span = page.span(node)
    splices: tuple[Splice, ...] = (word,)
    if _goes_to_load(node, page):
        mark = page.quote(node)
        told = page.closed(node, f" if {HERE} else {mark}cpu{mark}")
        splices = (
            (word, Splice(span[1], span[1], told))
            if told[0] == " "
            else (Splice(span[0], span[0], "("), word, Splice(span[1], span[1], told[1:]))
        )
    return Change(span=span, splices=splices, covers=_covered(node, page, (span[0], span[0] + 1)))


def _filled(node: cst.SimpleString, call: cst.Call, page: Page) -> Change:
    """ "cuda:{}".format(i): the word becomes a field of its own."""
    start, end = page.span(node)
    at = page.span(call.args[0])[0]
    word = page.source(node).replace("cuda:", "{}:", 1)
    splices: tuple[Splice, ...] = (Splice(start, end, word), Splice(at, at, f"{DEVICE}.type, "))
    span = page.span(call)
    if _goes_to_load(call, page):
        mark = page.quote(node)
        told = page.closed(call, f" if {HERE} else {mark}cpu{mark}")
        if told[0] == " ":
            splices = (*splices, Splice(span[1], span[1], told))
        else:
            splices = (Splice(span[0], span[0], "("), *splices, Splice(span[1], span[1], told[1:]))
    return Change(span=span, splices=splices, covers=_covered(node, page, (start, end)))


# ---------------------------------------------------------------- questions


def _compared(node: cst.Comparison, right: cst.ComparisonTarget, page: Page) -> Change | None:
    left, operator, other = node.left, right.operator, right.comparator
    word = next((one for one in (left, other) if page.string(one) == "cuda" and _is_asked(one, page)), None)
    if word is None:
        return _among(other, page) if isinstance(operator, (cst.In, cst.NotIn)) else None
    if _tells_others_apart(node, page):
        return None
    asked = other if word is left else left
    mark, span = page.quote(word), page.span(node)
    covers = (page.span(word),)
    if isinstance(operator, (cst.In, cst.NotIn)):
        if word is not left:
            return None
        text = f"{mark}cpu{mark} {'not in' if isinstance(operator, cst.In) else 'in'} {page.source(asked)}"
    elif isinstance(operator, (cst.Equal, cst.NotEqual)):
        is_type = page.source(asked).split(".")[-1].endswith("type")
        text = _equality(page.source(asked), isinstance(operator, cst.Equal), is_type, mark)
        text = text if " or " not in text else page.closed(node, text)
    else:
        return None
    if _holds_finding(asked, page):
        return None
    return Change(span=span, splices=(Splice(*span, text),), covers=covers, whole=True)


def _equality(asked: str, equal: bool, is_type: bool, mark: str) -> str:
    """A type is "cuda" or another; a whole device may also be "cuda:1", and only what equalled "cuda" may do so now."""
    if is_type:
        return f"{asked} {'!=' if equal else '=='} {mark}cpu{mark}"
    if equal:
        return f"{asked} == {DEVICE}.type != {mark}cpu{mark}"
    return f"{asked} != {DEVICE}.type or {asked} == {mark}cpu{mark}"


def _among(other: cst.BaseExpression, page: Page) -> Change | None:
    """`device in ("cuda", "cpu")`: the device that is here is meant."""
    if not isinstance(other, (cst.Tuple, cst.List, cst.Set)):
        return None
    words = [(element.value, page.string(element.value)) for element in other.elements]
    if any(word in _OTHERS for _, word in words):
        return None
    found = [one for one, word in words if word == "cuda" and _is_asked(one, page)]
    if not found:
        return None
    spans = tuple(page.span(one) for one in found)
    return Change(span=page.span(other), splices=tuple(Splice(*span, f"{DEVICE}.type") for span in spans), covers=spans)


def _started(node: cst.Call, page: Page) -> Change | None:
    if len(node.args) != 1 or page.string(node.args[0].value) not in ("cuda", "cuda:") or not _is_asked(node.args[0].value, page):
        return None
    if page.string(node.args[0].value) == "cuda:":
        return None
    assert isinstance(node.func, cst.Attribute)
    word, span = page.span(node.args[0].value), page.span(node)
    mark = page.quote(node.args[0].value)
    outer = page.parent(node)
    if isinstance(outer, cst.UnaryOperation) and isinstance(outer.operator, cst.Not):
        start = page.span(outer)[0]
        return Change(
            span=page.span(outer), splices=(Splice(start, span[0], ""), Splice(*word, f"{mark}cpu{mark}")), covers=(word,)
        )
    negated = Splice(span[0], span[0], "not ")
    return Change(span=span, splices=(negated, Splice(*word, f"{mark}cpu{mark}")), covers=(word,))


def _is_cuda(node: cst.Attribute, page: Page) -> Change:
    span, mark = page.span(node.attr), page.quote(node)
    text = f"device.type != {mark}cpu{mark}"
    outer = page.parent(node)
    if isinstance(outer, (cst.Comparison, cst.ComparisonTarget, cst.BinaryOperation, cst.Attribute)):
        start = page.span(node)[0]
        return Change(span=page.span(node), splices=(Splice(start, start, "("), Splice(*span, f"{text})")), covers=(span,))
    return Change(span=page.span(node), splices=(Splice(*span, text),), covers=(span,))


def _asks_tensor(node: cst.Attribute, page: Page) -> bool:
    """Whether this is a tensor's `.is_cuda`, and not an attribute of the text's own that it gives a value somewhere."""
    return node.attr.value == "is_cuda" and "is-cuda" in page.rule(node.attr) and page.source(node) not in page.assigned


def _is_asked(node: cst.CSTNode, page: Page) -> bool:
    return "device-comparison" in page.rule(node)


def _holds_finding(node: cst.BaseExpression, page: Page) -> bool:
    """Whether something else inside needs a change, so that the whole can't be written anew."""
    start, end = page.span(node)
    return any(start <= at < end for at in page.rules)


def _tells_others_apart(node: cst.CSTNode, page: Page) -> bool:
    """Whether the same `if` chain asks for another accelerator by its name."""
    chain: cst.CSTNode | None = None
    for outer, _ in page.above(node):
        if isinstance(outer, cst.If):
            chain = outer
        elif isinstance(outer, cst.BaseCompoundStatement) or (chain is not None and not isinstance(outer, (cst.If, cst.Else))):
            break
    while isinstance(chain, cst.If):
        if any(f"{mark}{word}{mark}" in page.source(chain.test) for word in _OTHERS for mark in "\"'"):
            return True
        chain = chain.orelse
    return False
