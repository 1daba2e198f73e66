"""The noun Chip: one accelerator model, as its data sheet tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a figure comes from. Without one a number is a rumour, and stays out of the catalogue."""

    where: str  # data sheet, repository and path, paper
    date: str  # ISO date of the source, or of the day when it was read


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One accelerator model: its names in software, and the vendor's dense peak.

    What a job really gets from it is for measurements to say, never for this table. None: no trustworthy source.
    """

    name: str  # "h100-sxm": the key that every other room uses
    vendor: str
    title: str  # as people say it: "NVIDIA H100 SXM5 80 GB"
    device_type: str  # torch's: "cuda", "npu", "mlu", "cpu"
    plugin: str | None = None  # Python module that brings the device to torch, "torch_npu"
    backend: str | None = None  # of torch.distributed: "nccl", "hccl", "gloo"
    visible_devices_env: str | None = None  # "CUDA_VISIBLE_DEVICES"
    speaks_cuda: bool = False  # the vendor's torch keeps the device string "cuda"
    monitor: str | None = None  # command line tool: "nvidia-smi"
    warp_size: int | None = None
    flop_per_s: Mapping[str, float] = field(default_factory=dict)  # dense, by number format: {"bf16": 989e12}
    memory_bytes: int | None = None
    memory_bytes_per_s: float | None = None
    scale_up_bytes_per_s: float | None = None  # per card, both directions summed, as vendors print it
    sources: Mapping[str, Source] = field(default_factory=dict)  # by field name; "flop_per_s.bf16" for one format
    notes: str = ""
