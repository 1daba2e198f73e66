"""Adapters: what the identity layer must know of a chip.

Asked:  which plug-in drives this chip, what are its words for CUDA's, and what can't it do?
Answer: one file for each chip in adapters/, each with one ADAPTER. `ready` says whether its plug-in can be used here, and if not
        which package is missing or wrong.
Limits: a chip is known by its vendor's package and device file, never by a name that two vendors use (hccl, mccl, xpu, tpu).
        Whether the card works is for the plug-in to say.
"""

from __future__ import annotations

import glob
import importlib
import importlib.metadata
import importlib.util
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from forebay.errors import BadInput, Unavailable
from forebay.porting.shim.build import NoTorch, Recipe, Torch
from forebay.porting.shim.chip import adapters

KEYS = ("PrivateUse1", "XPU", "MPS", "HPU", "CUDA")  # torch's dispatch keys; CUDA: the chip speaks CUDA's names itself


class NoPlugin(Unavailable):
    """The chip's plug-in isn't installed, or isn't one for this torch."""


@dataclass(frozen=True)
class Adapter:
    """One chip's words.

    It is no measurement: what a chip can do is for the inclusiveness measure, and whether this file was ever true on a card is
    for a Proof to say.
    """

    name: str  # "npu": what --chip and FOREBAY_CHIP take
    vendor: str
    device: str  # torch's name of the device: "npu"; "cuda" when the chip speaks CUDA's names
    key: str  # torch's dispatch key, one of KEYS
    plugin: str  # the module that brings the device: "torch_npu"; "torch" when torch itself does
    package: str  # how it is installed: "torch-npu"
    source: str  # where these facts were read, and when
    tag: str = ""  # what the version of `package` must hold: "+maca"
    follows_torch: bool = False  # the plug-in's version begins with torch's: 2.13
    backend: str = ""  # of torch.distributed, in the place of nccl; "" for none
    visible: str = ""  # the variable in the place of CUDA_VISIBLE_DEVICES
    monitor: str = ""  # the command in the place of nvidia-smi
    nodes: tuple[str, ...] = ()  # device files, as patterns; any of them means that a card is here
    calls: Mapping[str, str] = field(default_factory=dict)  # names of the device's module that differ from torch.cuda's
    warp: int = 32
    lacks: tuple[str, ...] = ()  # number formats: "fp64", "fp8"
    traps: tuple[str, ...] = ()  # in sentences, for the report
    libraries: tuple[str, ...] = ()  # they know this chip themselves, so they hear its true name
    spoofs_cuda: bool = False  # the plug-in answers for torch.cuda itself: looked for before a GPU
    plain_tensors: bool = False  # its tensors are of torch's own class, so a parameter that moves there stays the same object
    python_only: bool = False  # torch takes guard and generators from stand_in.cpp

    def __post_init__(self) -> None:
        if self.key not in KEYS or (self.key == "CUDA") != (self.device == "cuda"):
            raise BadInput(
                "An adapter has one of torch's dispatch keys.", asked=", ".join(KEYS), found=f"{self.name}: {self.key}"
            )

    @property
    def speaks_cuda(self) -> bool:
        return self.key == "CUDA"

    def recipe(self) -> Recipe:
        """The library that carries cuda's calls to this chip's dispatch key."""
        names = [name for name in ("redirect", "stand_in", "guard", "names") if name != "stand_in" or self.key == "PrivateUse1"]
        parts = tuple((f"chip/{name}.cpp",) for name in names)
        return Recipe(
            f"the identity layer for {self.key}", f"chip-{self.key}", parts, "chip/redirect.h", (f"FOREBAY_CHIP={self.key}",)
        )


class DeviceModule(Protocol):
    """What the layer calls in `torch.<device>`, if it is there. The names are torch.cuda's; `calls` says which differ.

    Only device_count and is_available must be there. For a name that is missing the layer answers what it can know without it.
    """

    def is_available(self) -> bool: ...
    def device_count(self) -> int: ...
    def synchronize(self, device: Any = None) -> None: ...
    def memory_allocated(self, device: Any = None) -> int: ...
    def max_memory_allocated(self, device: Any = None) -> int: ...
    def memory_reserved(self, device: Any = None) -> int: ...
    def max_memory_reserved(self, device: Any = None) -> int: ...
    def reset_peak_memory_stats(self, device: Any = None) -> None: ...
    def empty_cache(self) -> None: ...
    def mem_get_info(self, device: Any = None) -> tuple[int, int]: ...
    def get_device_name(self, device: Any = None) -> str: ...
    def get_device_properties(self, device: Any = None) -> Any: ...


CALLED = tuple(name for name in vars(DeviceModule) if not name.startswith("_"))


def known() -> dict[str, Adapter]:
    """Every adapter, by name."""
    found = {}
    for info in pkgutil.iter_modules(adapters.__path__):
        adapter = importlib.import_module(f"{adapters.__name__}.{info.name}").ADAPTER
        found[adapter.name] = adapter
    return found


def named(name: str) -> Adapter:
    """The adapter of this name, or the one in a module that can be imported: a vendor's own, `mychip.adapter`."""
    found = known()
    if name in found:
        return found[name]
    try:
        adapter = importlib.import_module(name).ADAPTER
    except (ImportError, AttributeError, ValueError):
        raise BadInput(
            "There is no adapter of this name.",
            asked=name,
            found=", ".join(sorted(found)),
            hint="or the name of a module that can be imported and has an ADAPTER: docs/add-your-chip.md",
        ) from None
    if not isinstance(adapter, Adapter):
        raise BadInput("A module's ADAPTER is an Adapter.", asked=name, found=type(adapter).__name__)
    return adapter


def card_is_here(adapter: Adapter) -> str:
    """The device file that says so, or ""."""
    return next((path for pattern in adapter.nodes for path in sorted(glob.glob(pattern))), "")


def version_of(adapter: Adapter) -> str:
    """Of the plug-in's package, without importing it; "" when it isn't installed."""
    try:
        return importlib.metadata.version(adapter.package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def ready(adapter: Adapter, torch: Torch) -> None:
    """Raise NoPlugin unless the plug-in is installed, with the right build tag, for this torch."""
    if adapter.python_only and torch.release < (2, 10):
        raise NoTorch(
            f"The chip {adapter.name} is written in Python, which torch knows since 2.10.",
            found=f"torch {torch.version}",
            hint="install a newer torch",
        )
    if importlib.util.find_spec(adapter.plugin.partition(".")[0]) is None:
        raise NoPlugin(
            f"The plug-in for {adapter.vendor} isn't installed.",
            asked=adapter.package,
            found=f"no module {adapter.plugin} for this Python",
            hint=f"install {adapter.package} for torch {torch.release[0]}.{torch.release[1]}, from {adapter.vendor}",
        )
    version = version_of(adapter)
    if adapter.tag and adapter.tag not in version:
        raise NoPlugin(
            f"The installed {adapter.package} isn't {adapter.vendor}'s build: an ordinary install may have overwritten it.",
            asked=f"{adapter.package} with {adapter.tag} in its version",
            found=f"{adapter.package} {version or 'of no version'}",
            hint=f"install {adapter.package} from {adapter.vendor} again",
        )
    release = ".".join(map(str, torch.release))
    if adapter.follows_torch and version and version.split(".")[:2] != release.split("."):
        raise NoPlugin(
            f"{adapter.package} is for another torch.",
            asked=f"{adapter.package} {release}.*",
            found=f"{adapter.package} {version} beside torch {torch.version}",
            hint=f"install {adapter.package} {release}.* or torch {'.'.join(version.split('.')[:2])}.*",
        )


def for_device(device: str, plugin: str | None = None) -> Adapter | None:
    """The adapter of a chip with a name of its own. Two vendors may use one name: then the plug-in's name decides."""
    alike = [one for one in known().values() if not one.speaks_cuda and one.device == device]
    return next((one for one in alike if plugin is None or one.plugin == plugin), None)


def speaker(torch: Torch) -> Adapter | None:
    """Whose build of torch this is, when it isn't NVIDIA's: the vendor is known by the tag in torch's version."""
    return next((one for one in known().values() if one.speaks_cuda and one.tag in torch.version), None)


def present(torch: Torch, among: Iterable[Adapter] | None = None) -> tuple[Adapter, str] | None:
    """The chip whose card and whose plug-in are both here, and its device file. Those that spoof torch.cuda come first."""
    adapters = sorted(known().values() if among is None else among, key=lambda one: (not one.spoofs_cuda, one.name))
    for adapter in adapters:
        node = card_is_here(adapter)
        if node:
            try:
                ready(adapter, torch)
            except (NoPlugin, NoTorch):
                continue
            return adapter, node
    return None
