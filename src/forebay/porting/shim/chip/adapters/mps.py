"""Apple's GPUs, through torch itself."""

from forebay.porting.shim.chip.adapter import Adapter

ADAPTER = Adapter(
    name="mps",
    vendor="Apple",
    device="mps",
    key="MPS",
    plugin="torch",
    package="torch",
    calls={"memory_allocated": "current_allocated_memory", "memory_reserved": "driver_allocated_memory"},
    lacks=("fp64", "fp8"),
    traps=("no torch.distributed backend: ranks talk through the host", "one card, with the host's memory"),
    libraries=("transformers", "accelerate", "peft", "trl", "deepspeed"),
    source="torch 2.13's torch.mps; DeepSpeed's accelerator/mps_accelerator.py of 2026-08-22",
)
