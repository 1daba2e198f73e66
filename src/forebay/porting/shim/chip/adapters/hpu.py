"""Intel's Gaudi, through habana_frameworks."""

from forebay.porting.shim.chip.adapter import Adapter

ADAPTER = Adapter(
    name="hpu",
    vendor="Intel Gaudi",
    device="hpu",
    key="HPU",
    plugin="habana_frameworks.torch.hpu",
    package="habana-torch-plugin",
    backend="hccl",  # Huawei's Ascend has a backend of the same name
    visible="HABANA_VISIBLE_MODULES",
    monitor="hl-smi",
    nodes=("/sys/class/accel/accel*/device/armcp_ver",),
    traps=("eager or lazy mode is the plug-in's choice: PT_HPU_LAZY_MODE",),
    libraries=("transformers", "accelerate", "deepspeed"),
    source="DeepSpeed's accelerator/hpu_accelerator.py of 2026-08-22. The device file is not confirmed",
)
