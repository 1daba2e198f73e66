"""apex.parallel over torch.nn.parallel and torch.distributed.

Limits: gradients that are summed and not averaged, and predivision, are refused. What tunes buckets and streams changes nothing.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from forebay.porting.shim.journal import note
from forebay.porting.shim.standins.refuse import refuse

from .larc import LARC

__all__ = ["LARC", "DistributedDataParallel", "Reducer", "SyncBatchNorm", "convert_syncbn_model", "create_syncbn_process_group"]


class DistributedDataParallel(nn.parallel.DistributedDataParallel):
    def __init__(
        self,
        module: nn.Module,
        message_size: int = 10000000,
        delay_allreduce: bool = False,
        shared_param: bool | None = None,
        allreduce_trigger_params: Any = None,
        retain_allreduce_buffers: bool = False,
        allreduce_always_fp32: bool = False,
        num_allreduce_streams: int = 1,
        allreduce_communicators: Any = None,
        gradient_average: bool = True,
        gradient_predivide_factor: float = 1.0,
        gradient_average_split_factor: Any = None,
        prof: bool = False,
    ) -> None:
        if not gradient_average or gradient_predivide_factor != 1.0:
            refuse(
                "apex.parallel.DistributedDataParallel(gradient_average=False or predivision)",
                "torch's with a communication hook",
            )
        note("apex.parallel.DistributedDataParallel", "emulated")
        super().__init__(module, find_unused_parameters=delay_allreduce)


class SyncBatchNorm(nn.SyncBatchNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        channel_last: bool = False,
        fuse_relu: bool = False,
    ) -> None:
        if channel_last:
            refuse("apex.parallel.SyncBatchNorm(channel_last=True)", "channels in dimension 1, in torch.channels_last's layout")
        note("apex.parallel.SyncBatchNorm", "emulated")
        super().__init__(num_features, eps, momentum, affine, track_running_stats, process_group)
        self.fuse_relu = fuse_relu

    def forward(self, input: Tensor, z: Tensor | None = None) -> Tensor:
        out = super().forward(input)
        out = out if z is None else out + z
        return torch.relu(out) if self.fuse_relu else out


def convert_syncbn_model(module: nn.Module, process_group: Any = None, channel_last: bool = False) -> nn.Module:
    if channel_last:
        refuse("apex.parallel.convert_syncbn_model(channel_last=True)", "torch.channels_last's layout")
    note("apex.parallel.convert_syncbn_model", "emulated")
    convert: Any = nn.SyncBatchNorm.convert_sync_batchnorm
    converted: nn.Module = convert(module, process_group)
    return converted


def create_syncbn_process_group(group_size: int) -> Any:
    """The group of this rank, where all ranks are cut into groups of this size. 0: all of them."""
    if group_size == 0:
        return None
    world, rank = dist.get_world_size(), dist.get_rank()
    if group_size > world or world % group_size:
        raise ValueError(f"{world} ranks can't be cut into groups of {group_size}.")
    groups = [dist.new_group(list(range(first, first + group_size))) for first in range(0, world, group_size)]
    return groups[rank // group_size]


class Reducer:
    """Averages gradients when it is told to; parameters are the first rank's from the start."""

    def __init__(self, module_or_grads_list: Any) -> None:
        note("apex.parallel.Reducer", "emulated")
        self.module = module_or_grads_list if isinstance(module_or_grads_list, nn.Module) else None
        self.grads = [] if self.module is not None else list(module_or_grads_list)
        if self.module is not None:
            for p in self.module.parameters():
                dist.broadcast(p.data, 0)

    def reduce(self) -> None:
        of_module = [p.grad for p in self.module.parameters()] if self.module is not None else []
        for gradient in (g for g in (*of_module, *self.grads) if g is not None):
            dist.all_reduce(gradient)
            gradient /= dist.get_world_size()
