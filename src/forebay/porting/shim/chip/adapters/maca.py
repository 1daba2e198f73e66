"""MetaX, which speaks CUDA's names: passed through."""

from forebay.porting.shim.chip.adapter import Adapter

ADAPTER = Adapter(
    name="maca",
    vendor="MetaX",
    device="cuda",
    key="CUDA",
    plugin="torch",
    package="torch",
    tag="metax",
    backend="nccl",
    visible="CUDA_VISIBLE_DEVICES",
    monitor="mx-smi",
    nodes=("/dev/mxcd",),
    warp=64,
    lacks=("fp8",),
    traps=("a warp has 64 lanes", "an ordinary install of torch, vllm or triton overwrites the vendor's build"),
    source="FlagGems of 2025-11-21, _metax; ray's metax_gpu.py. Tag, device file and warp width are not confirmed",
)
