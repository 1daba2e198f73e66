"""Mixed precision.

Asked:  what do torch.cuda.amp's autocast and GradScaler become?
Answer: torch.autocast and torch.amp.GradScaler with the device's type in front. CUDA's default format, fp16, is written out,
        for other devices have another default.
Limits: a name that is imported from torch.cuda.amp is followed where it is called. Where it is handed on, import and uses stay.
"""

from __future__ import annotations

from collections.abc import Iterable

import libcst as cst

from forebay.porting.rewrite.change import DEVICE, TORCH, Change, Splice
from forebay.porting.rewrite.page import Page

_HOMES = ("torch.cuda.amp.", "torch.cuda.amp.autocast_mode.", "torch.cuda.amp.grad_scaler.")
_KINDS = ("autocast", "GradScaler", "custom_fwd", "custom_bwd")


def mixed(node: cst.CSTNode, page: Page) -> Change | None:
    """A call or decorator of torch.cuda.amp, or a torch.amp.GradScaler that means CUDA by saying nothing."""
    if isinstance(node, cst.Decorator) and (kind := _kind(node.decorator, page)) in ("custom_fwd", "custom_bwd"):
        span = page.span(node.decorator)
        after = f"{_new_name(node.decorator, page, kind)}(device_type={DEVICE}.type)"
        return Change(span=span, splices=(Splice(*span, after),), covers=(span,))
    if not isinstance(node, cst.Call):
        return None
    if page.name(node.func) == "torch.amp.GradScaler" and not _has(node.args, 0, "device"):
        return _first(node, page, page.source(node.func), f"{DEVICE}.type")
    kind = _kind(node.func, page)
    if not kind or any(arg.star for arg in node.args):
        return None
    name = _new_name(node.func, page, kind)
    if kind == "GradScaler":
        return _first(node, page, name, f"{DEVICE}.type")
    if kind != "autocast":
        return _first(node, page, name, f"device_type={DEVICE}.type")
    dtype = "" if _has(node.args, 1, "dtype") else f", dtype={TORCH}.float16"
    made = _first(node, page, name, f"{DEVICE}.type{dtype}")
    words = [
        Splice(page.span(arg)[0], page.span(arg)[0], f"{word}=")
        for arg, word in zip(node.args, ("enabled", "dtype", "cache_enabled"), strict=False)
        if arg.keyword is None
    ]
    if not words:
        return made
    name_splice, opening = made.splices
    joined = Splice(words[0].start, words[0].end, f"{opening.text}{words[0].text}")
    return Change(span=made.span, splices=(name_splice, joined, *words[1:]), covers=made.covers)


def imported(node: cst.CSTNode, page: Page) -> Change | None:
    """`from torch.cuda.amp import autocast, GradScaler`, where every use is one that `mixed` changes."""
    if not isinstance(node, cst.ImportFrom) or node.module is None or isinstance(node.names, cst.ImportStar) or node.relative:
        return None
    if page.source(node.module) != "torch.cuda.amp":
        return None
    if not all(page.source(alias.name) in _KINDS and _is_only_called(alias, page) for alias in node.names):
        return None
    span = page.span(node.module)
    return Change(span=page.span(node), splices=(Splice(*span, "torch.amp"),), covers=(page.span(node),))


def _kind(node: cst.BaseExpression, page: Page) -> str:
    name = page.name(node)
    return next((kind for home in _HOMES for kind in _KINDS if name == home + kind), "")


def _new_name(node: cst.BaseExpression, page: Page, kind: str) -> str:
    """A name that was imported by itself stays, since its import changes; a dotted one leads to the new place."""
    if isinstance(node, cst.Name) and _changes_import(node.value, page):
        return node.value
    return f"{TORCH}.autocast" if kind == "autocast" else f"{TORCH}.amp.{kind}"


def _changes_import(name: str, page: Page) -> bool:
    changed = [node.names for node in page.nodes(cst.ImportFrom) if imported(node, page) is not None]
    aliases = [alias for names in changed if not isinstance(names, cst.ImportStar) for alias in names]
    return any((alias.evaluated_alias or alias.evaluated_name) == name for alias in aliases)


def _is_only_called(alias: cst.ImportAlias, page: Page) -> bool:
    name = alias.evaluated_alias or alias.evaluated_name
    for node in page.nodes(cst.Name):
        if node.value != name or not _kind(node, page):
            continue
        outer = page.parent(node)
        if isinstance(outer, (cst.ImportAlias, cst.AsName)):
            continue
        if isinstance(outer, cst.Call) and outer.func is node and not any(arg.star for arg in outer.args):
            continue
        if isinstance(outer, cst.Decorator) and _kind(node, page).startswith("custom"):
            continue
        return False
    return True


def _has(args: Iterable[cst.Arg], place: int, word: str) -> bool:
    return any(arg.keyword.value == word if arg.keyword is not None else i == place for i, arg in enumerate(args))


def _first(call: cst.Call, page: Page, name: str, argument: str) -> Change:
    """The call under a new name, with one more argument in front."""
    func = page.span(call.func)
    if call.args:
        at = page.span(call.args[0])[0]
        more = Splice(at, at, f"{argument}, ")
    else:
        at = page.body.index(b"(", func[1]) + 1
        more = Splice(at, at, argument)
    return Change(span=page.span(call), splices=(Splice(*func, name), more), covers=(func,))
