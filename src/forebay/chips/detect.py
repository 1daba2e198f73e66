"""Find the cards of this machine. An edge: it reads device files, and may run a vendor's monitor.

Asked:  which chips does this machine have, how many cards of each, and are they in the catalogue?
Answer: device files say how many cards this process was given (in a container, /sys still shows the host's). Which product
        they are is told by the vendor's monitor where it is installed, else by the PCI device id. Vendors are told apart by
        these, never by a name in torch: such names clash, and some plug-ins answer to torch.cuda (docs/chips.md).
        Without an accelerator, cores become CPU cards.
Limits: Linux. torch is not imported, so a broken plug-in goes unnoticed here. The monitors' formats are read leniently: what
        can't be read falls back to PCI ids. A product that the catalogue doesn't know is reported, and left unused unless it is
        NVIDIA's. An Intel Max 1550 is counted once, though software sees its two tiles.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forebay.chips import catalogue
from forebay.chips.node import Card, Node
from forebay.chips.trace import TRACES, Trace
from forebay.errors import BadInput
from forebay.units import MIB, show_bytes

Run = Callable[[Sequence[str]], str | None]  # a command line -> what it printed; None: not installed, failed, or too slow
MONITOR_TIMEOUT_S = 10
MOST_CPU_CARDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One accelerator as the machine shows it; `chip` is None where the catalogue doesn't know the product."""

    vendor: str
    index: int  # as the visible-devices variable counts
    product: str = ""  # what the monitor calls it, or its PCI id
    memory_bytes: int | None = None
    chip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a machine has: nodes ready to be used, the accelerators behind them, and what a person should know."""

    nodes: tuple[Node, ...]
    seen: tuple[Seen, ...] = ()
    notes: tuple[str, ...] = ()


def detect(
    root: str | Path = "/",
    *,
    run: Run | None = None,
    environ: Mapping[str, str] | None = None,
    host: str | None = None,
    cpu_count: int | None = None,
) -> Found:
    """The nodes of this machine: one for each chip it has cards of, or one of CPU cards."""
    root = Path(root)
    host = host or socket.gethostname()
    seen: list[Seen] = []
    notes: list[str] = []
    for trace in TRACES:
        cards, remarks = _look(trace, root, run or run_monitor)
        seen += cards
        notes += remarks
    usable, remarks = _leave_out(seen, os.environ if environ is None else environ)
    notes += remarks
    nodes = _accelerated(usable, host)
    if not nodes:
        group = cpu_cards(cpu_count, root=root)
        nodes = (Node(name=host, chip="cpu", cards=group),)
        cores = len({core for card in group for core in card.cores})
        if cores < len(group):
            plural = "s" if cores > 1 else ""
            notes.append(f"{len(group)} CPU cards share {cores} core{plural}: good for trying, slow for work.")
    return Found(nodes=nodes, seen=tuple(seen), notes=tuple(notes))


def cpu_cards(count: int | None = None, *, cores: Sequence[int] | None = None, root: str | Path = "/") -> tuple[Card, ...]:
    """This process's cores as cards: dealt evenly, threads of one core and then neighbours together.

    As many cards as cores up to eight, and never fewer than two, so that what runs here has met a second rank.
    """
    mine = _by_place(_allowed_cores() if cores is None else list(cores), Path(root))
    if count is None:
        count = max(2, min(MOST_CPU_CARDS, len(mine)))
    if count < 1:
        raise BadInput("A machine needs at least one CPU card.", asked=str(count))
    if count > len(mine):
        return tuple(Card(index=i, cores=(mine[i % len(mine)],)) for i in range(count))
    cuts = [i * len(mine) // count for i in range(count + 1)]
    return tuple(Card(index=i, cores=tuple(sorted(mine[cuts[i] : cuts[i + 1]]))) for i in range(count))


def run_monitor(command: Sequence[str]) -> str | None:
    """What a monitor prints, or None. A monitor that hangs on a sick card must not hang us."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MONITOR_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout if done.returncode == 0 else None


def _accelerated(usable: Sequence[Seen], host: str) -> tuple[Node, ...]:
    """A node for each chip; they take the host's name, and the chip's where a host has several."""
    chips = dict.fromkeys(card.chip for card in usable if card.chip)
    return tuple(
        Node(
            name=host if len(chips) == 1 else f"{host}-{chip}",
            chip=chip,
            cards=tuple(Card(index=card.index) for card in usable if card.chip == chip),
        )
        for chip in chips
    )


def _look(trace: Trace, root: Path, run: Run) -> tuple[list[Seen], list[str]]:
    """The cards of one vendor, and what is odd about them."""
    bus = _pci(trace, root)
    ids = _device_files(trace, root, bus) if trace.devices else _render_nodes(trace, root)
    if not ids or (trace.gate and not (root / "dev" / trace.gate).exists()):
        return [], _missing(trace, bus)
    answers = _answers(trace, run)
    if len(answers) != len(ids):  # a monitor that counts otherwise can't be matched card by card
        answers = [("", None)] * len(ids)
    cards = []
    for index, (pci, (name, memory_bytes)) in enumerate(zip(ids, answers, strict=True)):
        chip = catalogue.by_reported_name().get(name.lower()) or catalogue.by_pci_id().get(pci) or trace.other or None
        cards.append(Seen(vendor=trace.vendor, index=index, product=name or pci, memory_bytes=memory_bytes, chip=chip))
    return cards, _strangers(trace, cards) + _odd_memory(cards)


def _missing(trace: Trace, bus: Sequence[str]) -> list[str]:
    """A chip of the catalogue is on the bus, and its device files are not there. (Other devices of a vendor may be anything.)"""
    known = [catalogue.by_pci_id()[pci] for pci in bus if pci in catalogue.by_pci_id()]
    if not known:
        return []
    wanted = "/dev/" + (trace.gate or trace.devices.replace("[0-9]*", "*") or "dri/renderD*")
    return [f"The PCI bus shows {len(known)} x {known[0]}, but {wanted} is missing: no driver, or not given to this container."]


def _strangers(trace: Trace, cards: Sequence[Seen]) -> list[str]:
    """Cards that are there and that the catalogue doesn't know."""
    strangers = [card for card in cards if card.chip in (None, trace.other)]
    if not strangers:
        return []
    products = ", ".join(sorted({card.product for card in strangers} - {""})) or "product unknown"
    advice = f" {trace.ask[0]} would name them." if trace.ask and not strangers[0].product else ""
    fate = f"used as {trace.other}, without figures" if trace.other else "so they stay unused"
    return [f"{len(strangers)} x {trace.vendor} ({products}): not in the catalogue, {fate}.{advice}"]


def _odd_memory(cards: Sequence[Seen]) -> list[str]:
    """Cards with far more or less memory than their chip has: rebuilt boards, or a slice of a card."""
    odd: dict[str, None] = {}
    for card in cards:
        expected = catalogue.find(card.chip).memory_bytes if card.chip else None
        if expected and card.memory_bytes and not 0.9 <= card.memory_bytes / expected <= 1.15:
            odd[f"{card.product} reports {show_bytes(card.memory_bytes)}; the catalogue has {show_bytes(expected)}."] = None
    return list(odd)


def _answers(trace: Trace, run: Run) -> list[tuple[str, int | None]]:
    """(product, memory) of each card, in the monitor's order; empty where there is no monitor, or none that we can read."""
    text = run(trace.ask) if trace.ask else None
    if not text:
        return []
    found = re.finditer(trace.answer, text, re.MULTILINE)
    return [(hit["name"], int(hit["mib"]) * MIB if hit.groupdict().get("mib") else None) for hit in found]


def _pci(trace: Trace, root: Path) -> list[str]:
    """ "vendor:device" of this vendor's accelerators on the bus, in bus order."""
    found = []
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        vendor = _word(device / "vendor")
        if vendor in trace.pci_vendors and _word(device / "class").startswith(trace.pci_classes):
            found.append(f"{vendor}:{_word(device / 'device')}")
    return found


def _device_files(trace: Trace, root: Path, bus: Sequence[str]) -> list[str]:
    """For each of the vendor's device files its PCI id, or "" where the bus doesn't tell which is whose."""
    count = len(list((root / "dev").glob(trace.devices)))
    if trace.common_name and not bus:
        return []
    if len(bus) == count:
        return list(bus)
    # In a container the bus shows more cards than were given, which is fine as long as they are all the same.
    return [bus[0] if len(set(bus)) == 1 else ""] * count


def _render_nodes(trace: Trace, root: Path) -> list[str]:
    """The PCI ids of this vendor's accelerators among the render nodes of /dev/dri. Others may be a display's."""
    ids = []
    for node in sorted((root / "dev/dri").glob("renderD[0-9]*")):
        device = root / "sys/class/drm" / node.name / "device"
        pci = f"{_word(device / 'vendor')}:{_word(device / 'device')}"
        accelerates = pci in catalogue.by_pci_id() or _word(device / "class").startswith(("0b40", "12"))
        if pci.split(":")[0] in trace.pci_vendors and accelerates:
            ids.append(pci)
    return ids


def _leave_out(seen: list[Seen], environ: Mapping[str, str]) -> tuple[list[Seen], list[str]]:
    """The cards with a known chip that the visible-devices variable of this process leaves over."""
    kept: list[Seen] = []
    told: set[str] = set()
    for card in seen:
        if card.chip is None:
            continue
        variable = catalogue.find(card.chip).visible_devices_env or ""
        allowed = _indexes(environ[variable]) if variable in environ else {card.index}
        if allowed is None:
            told.add(f"{variable}={environ[variable]} names cards by something other than numbers and was not obeyed.")
        elif card.index not in allowed:
            told.add(f"{variable}={environ[variable]} hides cards of this machine.")
        if allowed is None or card.index in allowed:
            kept.append(card)
    return kept, sorted(told)


def _indexes(text: str) -> set[int] | None:
    """The numbers in "0,2"; None where it lists something else, such as UUIDs."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return {int(part) for part in parts} if all(re.fullmatch(r"-?\d+", part) for part in parts) else None


def _allowed_cores() -> list[int]:
    """The cores that this process may run on; on systems that can't say, all."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _by_place(cores: Sequence[int], root: Path) -> list[int]:
    """Cores in the order of their sockets and physical cores, so that a cut seldom parts two threads of one core."""

    def place(core: int) -> tuple[int, int, int]:
        topology = root / f"sys/devices/system/cpu/cpu{core}/topology"
        socket_id, core_id = _text(topology / "physical_package_id"), _text(topology / "core_id")
        return int(socket_id or 0), int(core_id or core), core

    return sorted(cores, key=place)


def _word(path: Path) -> str:
    """A hexadecimal file of sysfs without its 0x."""
    return _text(path).removeprefix("0x")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip().lower()
    except OSError:
        return ""
