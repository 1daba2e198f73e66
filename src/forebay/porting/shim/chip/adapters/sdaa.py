"""Tecorigin, through torch_sdaa."""

from forebay.porting.shim.chip.adapter import Adapter

ADAPTER = Adapter(
    name="sdaa",
    vendor="Tecorigin",
    device="sdaa",
    key="PrivateUse1",
    plugin="torch_sdaa",
    package="torch-sdaa",
    backend="tccl",
    visible="SDAA_VISIBLE_DEVICES",
    monitor="teco-smi",
    nodes=("/dev/tcaicard[0-9]*",),
    traps=("TORCH_SDAA_AUTOLOAD=cuda_migrate replaces torch's own functions: leave it unset",),
    libraries=("accelerate", "deepspeed"),
    source="DeepSpeed's accelerator/sdaa_accelerator.py of 2026-08-22. Monitor and device file are not confirmed",
)
