"""AMD ROCm, which speaks CUDA's names: passed through."""

from forebay.porting.shim.chip.adapter import Adapter

ADAPTER = Adapter(
    name="rocm",
    vendor="AMD ROCm",
    device="cuda",
    key="CUDA",
    plugin="torch",
    package="torch",
    tag="+rocm",
    backend="nccl",
    visible="HIP_VISIBLE_DEVICES",
    monitor="amd-smi",
    nodes=(),
    warp=64,
    lacks=(),
    traps=(
        "a wavefront has 64 lanes on CDNA: 32-lane masks are wrong",
        "torch.version.cuda is None; torch.version.hip says which",
    ),
    source="PyTorch 2.13's note on HIP semantics. /dev/kfd is Hygon's too, so the build tag decides",
)
