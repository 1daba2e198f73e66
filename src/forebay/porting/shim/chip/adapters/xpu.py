"""Intel's GPUs, through torch itself."""

from forebay.porting.shim.chip.adapter import Adapter

ADAPTER = Adapter(
    name="xpu",
    vendor="Intel",
    device="xpu",
    key="XPU",
    plugin="torch",
    package="torch",
    tag="+xpu",
    backend="xccl",
    visible="ZE_AFFINITY_MASK",
    monitor="xpu-smi",  # Kunlunxin has a command of the same name
    traps=(
        "a device file of Intel's looks like any other GPU's, so the chip is used when it is asked for by name",
        "client GPUs have no float64",
    ),
    libraries=("transformers", "accelerate", "peft", "trl", "deepspeed", "vllm"),
    source="torch 2.13's torch.xpu; DeepSpeed's accelerator/xpu_accelerator.py of 2026-08-22",
)
