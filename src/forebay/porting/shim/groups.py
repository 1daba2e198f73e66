"""Process groups named nccl, over gloo.

Asked:  what does init_process_group("nccl") make where there is no NCCL?
Answer: a group whose backend is gloo and whose name is nccl: get_backend() says so, new groups inherit it. The one function
        of torch.distributed that makes backends is wrapped; its tensors are carried by collectives.cpp. ProcessGroupNCCL is a
        name with options that are taken and, but for the timeout, without effect. What NCCL would send as one, gloo sends one
        by one.
Limits: tensors of the host are accepted too, where real NCCL refuses them. No ProcessGroupNCCL can be made by its constructor.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from forebay.porting.shim.journal import note
from forebay.porting.shim.truth import NCCL, told_the_truth


def carry_nccl(c10d: Any, device: str = "cuda", backend: str = "gloo") -> None:
    """Change torch.distributed.distributed_c10d after its import. A chip has a device name and a backend of its own."""
    c10d._new_process_group_helper = _named_nccl(c10d, c10d._new_process_group_helper, device, backend)
    c10d._coalescing_manager = _one_by_one(c10d._coalescing_manager)
    c10d._NCCL_AVAILABLE = False  # a CUDA build has its class: nobody in there may make one
    c10d.default_pg_nccl_timeout = c10d.default_pg_nccl_timeout or timedelta(minutes=10)  # NCCL's, by torch's documentation
    c10d.ProcessGroupNCCL = ProcessGroupNCCL
    if "ProcessGroupNCCL" not in c10d.__all__:
        c10d.__all__.append("ProcessGroupNCCL")


class _NCCLConfig:
    """Settings of NCCL's own communicators: kept, so that what was set can be read."""

    blocking = 0
    cga_cluster_size = 4
    min_ctas = 1
    max_ctas = 32
    net_name: str | None = None
    split_share = 0
    cta_policy = 0
    comm_name: str | None = None


class _Options:
    """torch.distributed.ProcessGroupNCCL.Options."""

    def __init__(self, is_high_priority_stream: bool = False) -> None:
        note("ProcessGroupNCCL.Options", "emulated")
        self.is_high_priority_stream = is_high_priority_stream
        self.config = _NCCLConfig()
        self._timeout = timedelta(minutes=10)
        self.backend = "nccl"
        self.global_ranks_in_group: list[int] = []
        self.group_name = ""


class ProcessGroupNCCL:
    """The name: scripts take its Options, and ask whether a backend is one. None here is."""

    Options = _Options
    NCCLConfig = _NCCLConfig
    NCCL_CTA_POLICY_DEFAULT, NCCL_CTA_POLICY_EFFICIENCY, NCCL_CTA_POLICY_ZERO = 0, 1, 2

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        line = note("ProcessGroupNCCL(...)", "refused")
        raise RuntimeError(
            f"ProcessGroupNCCL can't be made without NCCL (called at {line}): use torch.distributed.init_process_group('nccl') "
            "or new_group, which are carried by gloo"
        )


ProcessGroupNCCL.__module__ = "torch.distributed.distributed_c10d"


def _one_by_one(real: Callable[..., Any]) -> Callable[..., Any]:
    """gloo can't begin and end a batch of calls; those that torch collects itself, it can take as one."""

    @functools.wraps(real)
    @contextlib.contextmanager
    def _coalescing_manager(group: Any = None, device: Any = None, async_ops: bool = False) -> Iterator[Any]:
        with real(group, None, async_ops) as works:
            yield works

    return _coalescing_manager


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
        for name in ("backend_options", "pg_options"):  # of NCCL's; torch before 2.6 has the second name
            if name in kwargs:
                kwargs[name] = None
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
        return not told_the_truth(asking, NCCL) or bool(real())

    distributed.is_nccl_available = is_nccl_available
    distributed.ProcessGroupNCCL = ProcessGroupNCCL
