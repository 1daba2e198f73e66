"""Tensors and modules that go to a card, and host memory that is pinned for them.

Asked:  what does `x.cuda(rank, non_blocking=True)` become?
Answer: `x.to(torch.device(DEVICE.type, rank), non_blocking=True)`: the same call with the device's name spelled out. A number or
        None stays what it was, since torch.device takes both; a variable called device is handed on as it is.
Limits: what else than a tensor, module or storage may have a method `cuda` can't be told from the text.
"""

from __future__ import annotations

import libcst as cst

from forebay.porting.rewrite.change import DEVICE, HERE, TORCH, Change, Splice
from forebay.porting.rewrite.guards import Guards
from forebay.porting.rewrite.page import Page


def moved(node: cst.CSTNode, page: Page) -> Change | None:
    """`.cuda()` in all its forms."""
    if not isinstance(node, cst.Call) or not isinstance(node.func, cst.Attribute) or node.func.attr.value != "cuda":
        return None
    if "cuda-move" not in page.rule(node.func.attr):
        return None
    method = page.span(node.func.attr)
    word = "device=" if _is_storage(node.func.value, page) else ""
    keyed = next((arg for arg in node.args if arg.keyword is not None and arg.keyword.value == "device"), None)
    first = node.args[0] if node.args and node.args[0].keyword is None else keyed
    if first is not None and first.star:
        return None
    splices = [Splice(*method, "to")]
    if first is None:
        opening = _after_bracket(node, page)
        splices.append(Splice(opening, opening, f"{word}{DEVICE}{', ' if node.args else ''}"))
    else:
        splices += _argument(first.value, page, word if first.keyword is None else "")
    return Change(span=page.span(node), splices=tuple(splices), covers=(method,))


def uncalled(node: cst.CSTNode, page: Page) -> Change | None:
    """`move = nn.Module.cuda` and the like aren't understood; `.to(0)`, `.to(rank)` and `device=0` are."""
    if not isinstance(node, cst.Arg) or not isinstance(call := page.parent(node), cst.Call):
        return None
    is_method = isinstance(call.func, cst.Attribute) and call.func.attr.value == "to"
    is_first = is_method and node.keyword is None and call.args[0] is node
    keyed = node.keyword is not None and node.keyword.value in ("device", "device_id")
    from_torch = is_method or page.name(call.func).startswith("torch.") or "device-index" in page.rule(node)
    is_device = page.name(call.func) == "torch.device" and len(call.args) == 1
    if not (is_first or (keyed and from_torch) or is_device) or not (page.is_number(node.value) or _is_index(node, call, page)):
        return None
    start, end = page.span(node.value)
    opened, closed = (f"{DEVICE}.type, ", "") if is_device else (f"{TORCH}.device({DEVICE}.type, ", ")")
    splices = (Splice(start, start, opened), *((Splice(end, end, closed),) if closed else ()))
    covers = (
        [page.span(call.func.attr)] if is_first and isinstance(call.func, cst.Attribute) else [(page.span(node)[0], start + 1)]
    )
    return Change(span=page.span(call), splices=splices, covers=tuple(covers))


def _is_index(arg: cst.Arg, call: cst.Call, page: Page) -> bool:
    """Whether the scan has found that a card's number is handed over here."""
    method = isinstance(call.func, cst.Attribute) and "device-index" in page.rule(call.func.attr)
    return (method or "device-index" in page.rule(arg)) and page.string(arg.value) is None


def made_of_number(node: cst.CSTNode, page: Page) -> Change | None:
    """`device = rank % torch.cuda.device_count()`: a number under a device's name becomes a device where it is made."""
    if (
        not isinstance(node, cst.Assign)
        or len(node.targets) != 1
        or page.source(node.targets[0].target) not in page.numbered_devices
    ):
        return None
    start, end = page.span(node.value)
    splices = (Splice(start, start, f"{TORCH}.device({DEVICE}.type, "), Splice(end, end, ")"))
    return Change(span=page.span(node), splices=splices, covers=())


def pinned(node: cst.CSTNode, page: Page, guards: Guards) -> Change | None:
    """`torch.empty(n, pin_memory=True)` and `x.pin_memory()`, which plain torch refuses without an accelerator."""
    if isinstance(node, cst.Arg) and node.keyword is not None and node.keyword.value == "pin_memory":
        call = page.parent(node)
        made = isinstance(call, cst.Call) and page.name(call.func).startswith("torch.") and ".data." not in page.name(call.func)
        if not made or page.source(node.value) != "True" or guards.guarded(node):
            return None
        return Change(span=page.span(node), splices=(Splice(*page.span(node.value), HERE),), covers=(page.span(node),))
    if not isinstance(node, cst.Call) or not isinstance(node.func, cst.Attribute) or node.func.attr.value != "pin_memory":
        return None
    owner = node.func.value
    if node.args or not isinstance(owner, (cst.Name, cst.Attribute)):
        return None
    if guards.guarded(node):
        return None
    (start, end), name = page.span(node), page.source(owner)
    splices = (Splice(start, start, "("), Splice(end, end, f" if {HERE} else {name})"))
    return Change(span=(start, end), splices=splices, covers=(page.span(node.func.attr),))


def _argument(value: cst.BaseExpression, page: Page, word: str) -> list[Splice]:
    """A card's number becomes a device; a device stays one."""
    start, end = page.span(value)
    if page.string(value) is not None or isinstance(value, cst.FormattedString):
        return [Splice(start, start, word)] if word else []  # changed as the device that it names
    last = page.source(value).split(".")[-1].strip("_")
    if isinstance(value, (cst.Name, cst.Attribute)) and last.endswith(("device", "dev")) and not page.is_number(value):
        return [Splice(start, start, word)] if word else []
    if isinstance(value, cst.Call) and page.name(value.func) in ("torch.device", "torch.cuda.current_device"):
        return [Splice(start, start, word)] if word else []
    return [Splice(start, start, f"{word}{TORCH}.device({DEVICE}.type, "), Splice(end, end, ")")]


def _after_bracket(call: cst.Call, page: Page) -> int:
    """Where the arguments begin."""
    assert isinstance(call.func, cst.Attribute)
    _, end = page.span(call.func)
    while call.func.rpar and page.body[end : end + 1] != b"(":
        end += 1
    return page.body.index(b"(", end) + 1


def _is_storage(owner: cst.BaseExpression, page: Page) -> bool:
    """The storage in `map_location=lambda storage, place: storage.cuda()`, which takes its device by name only."""
    for outer, _ in page.above(owner):
        if isinstance(outer, cst.Lambda):
            first = outer.params.params[0].name.value if outer.params.params else ""
            above = page.parent(outer)
            loads = isinstance(above, cst.Arg) and above.keyword is not None and above.keyword.value == "map_location"
            return loads and page.source(owner) == first
    return False
