"""Process groups named nccl, over gloo.

Asked:  what does init_process_group("nccl") make where there is no NCCL?
Answer: a group whose backend is gloo and whose name is nccl: get_backend() says so, new groups inherit it. The one function
        of torch.distributed that makes backends is wrapped; its tensors are carried by collectives.cpp.
Limits: tensors of the host are accepted too, where real NCCL refuses them. Options of ProcessGroupNCCL aren't there.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from forebay.porting.shim.journal import note


def carry_nccl(c10d: Any, device: str = "cuda", backend: str = "gloo") -> None:
    """Change torch.distributed.distributed_c10d after its import. A chip has a device name and a backend of its own."""
    c10d._new_process_group_helper = _named_nccl(c10d, c10d._new_process_group_helper, device, backend)
    c10d._NCCL_AVAILABLE = False  # a CUDA build has its class: nobody in there may make one
    c10d.default_pg_nccl_timeout = c10d.default_pg_nccl_timeout or timedelta(minutes=10)  # NCCL's, by torch's documentation


def _named_nccl(c10d: Any, real: Callable[..., Any], device: str, carrier: str) -> Callable[..., Any]:
    @functools.wraps(real)
    def _new_process_group_helper(group_size: int, group_rank: int, ranks: Any, backend: Any, *args: Any, **kwargs: Any) -> Any:
        asked = str(backend)
        if "nccl" not in asked and asked != c10d.Backend.UNDEFINED:
            return real(group_size, group_rank, ranks, backend, *args, **kwargs)
        note("torch.distributed nccl", "emulated")
        if asked == c10d.Backend.UNDEFINED:
            carried = carrier if carrier == "gloo" else f"cpu:gloo,{device}:{carrier}"
        else:
            carried = asked.replace("cuda:", f"{device}:").replace("nccl", carrier)
        card = kwargs.pop("device_id", None)
        if card is not None and carrier != "gloo":  # gloo has no communicator to bind to it
            kwargs["device_id"] = type(card)(device, card.index)
        if "backend_options" in kwargs:
            kwargs["backend_options"] = None
        group, store = real(group_size, group_rank, ranks, c10d.Backend(carried), *args, **kwargs)
        if group in c10d._world.pg_map:
            c10d._world.pg_map[group] = (backend, c10d._world.pg_map[group][1])
            if card is not None and hasattr(group, "bound_device_id"):
                group.bound_device_id = card
        return group, store

    return _new_process_group_helper


def name_nccl(distributed: Any) -> None:
    """Change the package torch.distributed after its import: users see NCCL, torch's insides the truth.

    Inside torch.distributed the answer guards uses of a class that isn't there.
    """
    real = distributed.is_nccl_available

    @functools.wraps(real)
    def is_nccl_available() -> bool:
        asking = str(sys._getframe(1).f_globals.get("__name__", ""))
        return not (asking == "torch" or asking.startswith("torch.")) or bool(real())

    distributed.is_nccl_available = is_nccl_available
