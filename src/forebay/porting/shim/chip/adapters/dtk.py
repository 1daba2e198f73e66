"""Hygon DCU, which speaks CUDA's names: passed through."""

from forebay.porting.shim.chip.adapter import Adapter

ADAPTER = Adapter(
    name="dtk",
    vendor="Hygon DCU",
    device="cuda",
    key="CUDA",
    plugin="torch",
    package="torch",
    tag="dtk",
    backend="nccl",
    visible="HIP_VISIBLE_DEVICES",
    monitor="hy-smi",
    nodes=(),
    warp=64,
    lacks=("fp8",),
    traps=("a wavefront has 64 lanes: 32-lane masks are wrong",),
    source="FlagOpen/FlagGems of 2025-11-21, runtime/backend/_hygon; gpustack/runtime's detector. The tag is not confirmed",
)
