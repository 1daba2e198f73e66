"""Iluvatar CoreX, which speaks CUDA's names: passed through."""

from forebay.porting.shim.chip.adapter import Adapter

ADAPTER = Adapter(
    name="corex",
    vendor="Iluvatar CoreX",
    device="cuda",
    key="CUDA",
    plugin="torch",
    package="torch",
    tag="corex",
    backend="nccl",
    visible="CUDA_VISIBLE_DEVICES",
    monitor="ixsmi",
    nodes=("/dev/iluvatar[0-9]*",),
    warp=64,
    lacks=(),
    traps=("a warp has 64 lanes: 32-lane masks are wrong", "float64 is carried for some operators only"),
    source="FlagGems of 2025-11-21, _iluvatar; public pages on the BI-V150. Tag and device file are not confirmed",
)
