"""By which traces does each vendor's card show itself on a machine?

Asked:  where does detection look, and whom does it ask?
Answer: one Trace a vendor. Adding a vendor is adding a line here and a file to the catalogue.
        Device files: gpustack/runtime deployer/cdi/*.py (2026-08-19) for Ascend, AMD, Hygon, Iluvatar, MetaX and T-Head;
        ray-project/ray python/ray/_private/accelerators/*.py (2026-08-22) for Cambricon and Biren; vendors' drivers for the
        rest. PCI vendors: pci.ids (2026-08-22) and gpustack/runtime detector/*.py.
Limits: no monitor but nvidia-smi promises its format. A line that doesn't match is no harm: the PCI id is asked next.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What a vendor's cards leave on a machine: files, PCI devices, and a monitor that can be asked.

    It names no product: that is for the monitor's answer or the PCI id to say.
    """

    vendor: str
    devices: str  # pattern under /dev with one file a card; "" where cards are the render nodes of /dev/dri
    pci_vendors: tuple[str, ...] = ()
    pci_classes: tuple[str, ...] = ("03", "0b40", "12")  # display, co-processor, processing accelerator
    common_name: bool = False  # other drivers name their files so too: believe them only where the bus agrees
    gate: str = ""  # a further file under /dev without which the cards can't be used
    ask: tuple[str, ...] = ()  # the monitor's command line
    answer: str = ""  # a line of its output: groups `name`, and `mib` where it tells the memory
    other: str = ""  # the chip that stands for products which the catalogue doesn't know, where torch can drive them all


_NVIDIA_STYLE = r"^\s*\d+\s*,\s*(?P<name>[^,]+?)\s*,\s*(?P<mib>\d+)"
_LIST_STYLE = r"^\s*GPU\s*#?\d+\s*:?\s+(?P<name>.+?)\s+(?:\(UUID|[0-9a-fA-F]{4}:)"
_ROCM_STYLE = r"\[\d+\]\s*:\s*Card [Ss]eries:\s*(?P<name>.+?)\s*$"
TRACES = (
    Trace(
        vendor="nvidia",
        devices="nvidia[0-9]*",
        pci_vendors=("10de",),
        ask=("nvidia-smi", "--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits"),
        answer=_NVIDIA_STYLE,
        other="nvidia-other",
    ),
    Trace(
        vendor="huawei",
        devices="davinci[0-9]*",
        pci_vendors=("19e5",),
        pci_classes=("12",),  # Huawei's management controllers are display adapters of the same PCI vendor
        ask=("npu-smi", "info"),
        # Two lines a card: "| 0  910B3 | OK | 93.2 36 0 / 0 |" and "| 0 | 0000:C1:00.0 | 0  0 / 0  3388 / 65536 |".
        answer=r"^\|\s*\d+\s+(?P<name>\S+)\s*\|\s*(?:OK|Warning|Alarm|Critical|UNKNOWN)\b[^\n]*\n\|[^\n]*/\s*(?P<mib>\d+)\s*\|",
    ),
    Trace(
        vendor="cambricon",
        devices="cambricon_dev[0-9]*",
        pci_vendors=("cabc",),
        ask=("cnmon", "info"),
        answer=r"^\s*Product Name\s*:\s*(?P<name>\S+)",
    ),
    Trace(
        vendor="mthreads",
        devices="mtgpu.[0-9]*",
        pci_vendors=("1ed5",),
        ask=("mthreads-gmi", "-L"),
        answer=_LIST_STYLE,
    ),
    Trace(
        vendor="iluvatar",
        devices="iluvatar[0-9]*",
        pci_vendors=("1e3e",),
        ask=("ixsmi", "-L"),
        answer=_LIST_STYLE,
    ),
    Trace(vendor="kunlunxin", devices="xpu[0-9]*", pci_vendors=("1d22", "2057"), common_name=True),
    Trace(vendor="enflame", devices="gcu[0-9]*", pci_vendors=("1e36",)),
    Trace(vendor="biren", devices="biren/card_[0-9]*"),
    Trace(vendor="t-head", devices="alixpu_ppu[0-9]*", pci_vendors=("1ded",)),
    Trace(vendor="sophgo", devices="bm-sophon[0-9]*", pci_vendors=("1f1c",)),
    Trace(
        vendor="intel",  # Gaudi
        devices="accel/accel[0-9]*",
        pci_vendors=("1da3",),
        common_name=True,  # /dev/accel is the kernel's folder for every accelerator driver
        ask=("hl-smi", "-Q", "index,name,memory.total", "-f", "csv,noheader"),
        answer=_NVIDIA_STYLE,
    ),
    Trace(vendor="google", devices="accel[0-9]*", pci_vendors=("1ae0",), pci_classes=("",), common_name=True),
    Trace(
        vendor="hygon",
        devices="",
        pci_vendors=("1d94",),
        gate="kfd",
        ask=("hy-smi", "--showproductname"),
        answer=_ROCM_STYLE,
    ),
    Trace(
        vendor="amd",
        devices="",
        pci_vendors=("1002",),
        gate="kfd",
        ask=("rocm-smi", "--showproductname"),
        answer=_ROCM_STYLE,
    ),
    Trace(
        vendor="metax",
        devices="",
        pci_vendors=("9999",),
        gate="mxcd",
        ask=("mx-smi", "-L"),
        answer=_LIST_STYLE,
    ),
    Trace(vendor="intel", devices="", pci_vendors=("8086",)),
)
