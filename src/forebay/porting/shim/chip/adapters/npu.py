"""Huawei Ascend, through torch-npu."""

from forebay.porting.shim.chip.adapter import Adapter

ADAPTER = Adapter(
    name="npu",
    vendor="Huawei Ascend",
    device="npu",
    key="PrivateUse1",
    plugin="torch_npu",
    package="torch-npu",
    follows_torch=True,
    backend="hccl",  # Intel's Gaudi has a backend of the same name
    visible="ASCEND_RT_VISIBLE_DEVICES",
    monitor="npu-smi",
    nodes=("/dev/davinci[0-9]*",),
    lacks=("fp64",),
    traps=("Huawei's own shim gives float32 where float64 is asked for: the card computes few operators in it",),
    libraries=("transformers", "accelerate", "peft", "trl", "deepspeed", "vllm", "vllm_ascend"),
    source="Ascend/pytorch of 2026-08-21; names checked against torch-npu 2.13.0 by tests/porting/chip/test_npu_contract.py",
)
