"""Kunlunxin, which speaks CUDA's names: passed through."""

from forebay.porting.shim.chip.adapter import Adapter

ADAPTER = Adapter(
    name="xmlir",
    vendor="Kunlunxin",
    device="cuda",
    key="CUDA",
    plugin="torch",
    package="torch",
    tag="xmlir",
    backend="nccl",
    visible="",
    monitor="xpu-smi",
    nodes=("/dev/xpu[0-9]*",),
    warp=32,
    traps=("Intel has a device and a monitor of the same names: xpu, xpu-smi",),
    source="FlagGems of 2025-11-21, _kunlunxin. Tag, device file and lacks are not confirmed",
)
