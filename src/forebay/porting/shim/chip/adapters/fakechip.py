"""The chip that isn't there: for tests, and as the worked example of docs/add-your-chip.md."""

from forebay.porting.shim.chip.adapter import Adapter

ADAPTER = Adapter(
    name="fakechip",
    vendor="Forebay",
    device="fakechip",
    key="PrivateUse1",
    plugin="forebay.porting.shim.chip.fakechip",
    package="forebay",
    backend="gloo",
    visible="FAKECHIP_VISIBLE_DEVICES",
    traps=("it is the host: nothing measured on it says anything of a chip",),
    plain_tensors=True,
    python_only=True,
    source="this repository",
)
