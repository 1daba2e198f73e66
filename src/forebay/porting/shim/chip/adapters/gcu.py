"""Enflame, through torch_gcu."""

from forebay.porting.shim.chip.adapter import Adapter

ADAPTER = Adapter(
    name="gcu",
    vendor="Enflame",
    device="gcu",
    key="PrivateUse1",
    plugin="torch_gcu",
    package="torch-gcu",
    backend="eccl",
    visible="TOPS_VISIBLE_DEVICES",
    monitor="efsmi",
    nodes=("/dev/gcu[0-9]*",),
    lacks=("fp8",),
    traps=("int64 kernels are the host's", "`torch_gcu.transfer_to_gcu` replaces torch's own functions: don't import it as well"),
    source="public pages on the S60 and a vLLM platform class for it, 2026. The device file is not confirmed",
)
