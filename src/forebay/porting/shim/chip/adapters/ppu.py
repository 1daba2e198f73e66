"""T-Head PPU, which speaks CUDA's names: passed through."""

from forebay.porting.shim.chip.adapter import Adapter

ADAPTER = Adapter(
    name="ppu",
    vendor="T-Head PPU",
    device="cuda",
    key="CUDA",
    plugin="torch",
    package="torch",
    tag="ppu",
    backend="nccl",
    visible="CUDA_VISIBLE_DEVICES",
    monitor="",
    nodes=("/dev/alixpu_ppu[0-9]*",),
    warp=32,
    lacks=(),
    traps=("it reports capability 8.0, whatever it has",),
    source="gpustack/runtime's detector sample of a PPU, 2026. Tag and device file are not confirmed",
)
