"""Moore Threads, through torch_musa."""

from forebay.porting.shim.chip.adapter import Adapter

ADAPTER = Adapter(
    name="musa",
    vendor="Moore Threads",
    device="musa",
    key="PrivateUse1",
    plugin="torch_musa",
    package="torch-musa",
    backend="mccl",  # MetaX has a backend of the same name
    visible="MUSA_VISIBLE_DEVICES",
    monitor="mthreads-gmi",
    nodes=("/dev/mtgpu.[0-9]*",),
    traps=(
        "torch loads the plug-in by itself",
        "torchada, where installed, replaces torch's own functions: don't load both",
    ),
    libraries=("transformers", "accelerate"),
    source="MooreThreads/torch_musa of 2026-01-19; accelerate of 2026-07-24. The device file is not confirmed",
)
