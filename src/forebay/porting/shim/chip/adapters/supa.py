"""Biren, through torch_supa, which answers for torch.cuda itself."""

from forebay.porting.shim.chip.adapter import Adapter

ADAPTER = Adapter(
    name="supa",
    vendor="Biren",
    device="supa",
    key="PrivateUse1",
    plugin="torch_supa",
    package="torch-supa",
    backend="bccl",
    visible="SUPA_VISIBLE_DEVICES",
    monitor="brsmi",
    nodes=("/dev/biren/card_[0-9]*",),
    traps=("the plug-in spoofs torch.cuda, so it is looked for before a GPU is",),
    libraries=("deepspeed",),
    spoofs_cuda=True,
    source="DeepSpeed's accelerator/supa_accelerator.py of 2026-08-22; ray's supa_gpu.py. The monitor is not confirmed",
)
