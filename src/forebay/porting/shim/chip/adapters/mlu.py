"""Cambricon, through torch_mlu."""

from forebay.porting.shim.chip.adapter import Adapter

ADAPTER = Adapter(
    name="mlu",
    vendor="Cambricon",
    device="mlu",
    key="PrivateUse1",
    plugin="torch_mlu",
    package="torch-mlu",
    backend="cncl",
    visible="MLU_VISIBLE_DEVICES",
    monitor="cnmon",
    nodes=("/dev/cambricon_dev[0-9]*",),
    libraries=("transformers", "accelerate", "deepspeed"),
    source="Cambricon/torch_mlu of 2024-09-18; DeepSpeed's accelerator/mlu_accelerator.py. The device file is not confirmed",
)
