"""Several cards: the backend of a process group, and the card of a rank's copy of the model.

Asked:  what do "nccl" and device_ids=[rank] become?
Answer: the default backend of the device that is there, "nccl" on CUDA; and None without an accelerator, since
        DistributedDataParallel takes no card numbers for a model on the host.
Limits: DataParallel ignores its card numbers where there is no accelerator, so it stays.
"""

from __future__ import annotations

import libcst as cst

from forebay.porting.rewrite.change import DEVICE, HERE, TORCH, Change, Splice
from forebay.porting.rewrite.page import Page

_DDP = ("DistributedDataParallel", "DDP")


def backend(node: cst.CSTNode, page: Page) -> Change | None:
    """ "nccl", where the scan has found that it chooses."""
    if not isinstance(node, cst.SimpleString) or "nccl" not in page.rule(node) or page.string(node) != "nccl":
        return None
    span = page.span(node)
    text = f"{_distributed(node, page)}.get_default_backend_for_device({DEVICE})"
    return Change(span=span, splices=(Splice(*span, text),), covers=(span,))


def own_card(node: cst.CSTNode, page: Page) -> Change | None:
    """device_ids and output_device of a DistributedDataParallel."""
    if not isinstance(node, cst.Arg) or node.keyword is None or node.keyword.value not in ("device_ids", "output_device"):
        return None
    call = page.parent(node)
    if not isinstance(call, cst.Call) or "device-ids" not in page.rule(node):
        return None
    name = page.name(call.func) or page.source(call.func)
    if name.split(".")[-1] not in _DDP or isinstance(node.value, cst.IfExp):
        return None
    end = page.span(node.value)[1]
    return Change(
        span=page.span(node),
        splices=(Splice(end, end, f" if {HERE} else None"),),
        covers=((page.span(node)[0], page.span(node.value)[0]),),
    )


def _distributed(node: cst.CSTNode, page: Page) -> str:
    """torch.distributed under the name that the call around has for it."""
    for outer, _ in page.above(node):
        if (
            isinstance(outer, cst.Call)
            and isinstance(outer.func, cst.Attribute)
            and page.name(outer.func.value) == "torch.distributed"
        ):
            return page.source(outer.func.value)
    return f"{TORCH}.distributed"
