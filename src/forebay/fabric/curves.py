"""The nouns Point, Curve and Setup: what a centre measured of its fabric, and what its data sheets promise.

Asked:  which bandwidth did this system show at which message size, and of which hardware?
Answer: one Curve a system, which is one machine set-up with one collective. `from_records` reads the format of
        data/published.json, `nccl_tests` the output of the benchmarks themselves.
Units:  bytes, and bytes a second as nccl-tests' busbw.
Limits: a record says its hardware in free words; what these don't say is 0, for not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from forebay.chips.catalogue import by_reported_name, load
from forebay.errors import BadInput
from forebay.fabric.physics import COLLECTIVES
from forebay.units import GB, parse_bytes_per_s

# What a fraction of the theoretical bandwidth is a fraction of, where a table doesn't say: a NIC of 400 Gbit/s. It scales the
# latencies that are fitted, and no error.
NOMINAL_BYTES_PER_S = parse_bytes_per_s("400 Gbit/s")
KINDS = ("measured", "efficiency_table", "simulated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    message_bytes: int
    busbw_bytes_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the hardware of a system could do, by its data sheets. 0: not known."""

    cards_per_host: int = 0
    nics_per_host: int = 0
    nic_bytes_per_s: float = 0.0  # each way
    scale_up_bytes_per_s: float = 0.0  # of a card, each way
    in_switch: bool = False  # the scale-up switch adds (NVLS)
    algorithm: str = ""  # "ring" where somebody forced it


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The measured bandwidth of one system over message sizes, smallest first.

    `healthy` is what its owner says; what the curve itself says is for `diagnose`.
    """

    system: str
    kind: str = "measured"
    collective: str
    n_gpus: int
    points: tuple[Point, ...]
    setup: Setup = Setup()
    healthy: bool = True
    date: str = ""
    source: str = ""

    @property
    def hosts(self) -> int:
        """0: not known."""
        return -(-self.n_gpus // self.setup.cards_per_host) if self.setup.cards_per_host else 0


def curve(points: Iterable[Point], **fields: Any) -> Curve:
    """A curve with its points in order. Refuses sizes and bandwidths that can't be, and a size that comes twice."""
    ordered = sorted(points, key=lambda point: point.message_bytes)
    for point in ordered:
        if point.message_bytes <= 0 or not 0 < point.busbw_bytes_per_s < float("inf"):
            raise BadInput("A point of a curve has a size and a bandwidth above zero.", found=str(point))
    sizes = [point.message_bytes for point in ordered]
    if len(set(sizes)) < len(sizes):
        twice = next(a for a, b in pairwise(sizes) if a == b)
        raise BadInput("A size stands twice in a curve.", found=f"{twice} bytes", hint="one run a file, or the median of several")
    return Curve(points=tuple(ordered), **fields)


def from_records(records: Iterable[Mapping[str, Any]]) -> tuple[Curve, ...]:
    """The curves in the `collectives` of published.json: records with a size and a bandwidth, by system.

    Of a size that was measured more than once the median.
    """
    by_system: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        worth = record.get("busbw_GBps") or record.get("busbw_fraction_of_theoretical")
        if record["kind"] in KINDS and record.get("message_bytes") and worth:
            by_system.setdefault(record["system"], []).append(record)
    return tuple(_curve(name, of) for name, of in by_system.items())


def named(text: str) -> str:
    """The collective that a free text speaks of: "all_reduce (DP group of 32 ranks)", "alltoall_perf", "AllGather"."""
    bare = re.sub(r"[^a-z]", "", text.lower())
    found = [one for one in COLLECTIVES if one.replace("_", "") in bare]
    if not found:
        raise BadInput("No collective is named here.", asked=text, hint=", ".join(COLLECTIVES))
    return found[0]


def _curve(name: str, records: list[Mapping[str, Any]]) -> Curve:
    first = records[0]
    by_size: dict[int, list[float]] = {}
    for one in records:
        by_size.setdefault(one["message_bytes"], []).append(_bandwidth(one))
    return curve(
        (Point(message_bytes=size, busbw_bytes_per_s=median(found)) for size, found in by_size.items()),
        system=name,
        kind=first["kind"],
        collective=named(first["collective"]),
        n_gpus=first["n_gpus"],
        setup=_setup(first),
        healthy=all(one.get("healthy") is not False for one in records),
        source=first["source"],
    )


def _bandwidth(record: Mapping[str, Any]) -> float:
    if record.get("busbw_GBps"):
        return float(record["busbw_GBps"]) * GB
    return float(record["busbw_fraction_of_theoretical"]) * NOMINAL_BYTES_PER_S


def _setup(record: Mapping[str, Any]) -> Setup:
    """What the words of a record say of the hardware: "2 nodes, 8x400G NDR IB, NCCL_ALGO=RING"."""
    words, n_gpus = str(record["network"]), int(record["n_gpus"])
    hosts = re.search(r"(\d+) nodes", words)
    one = re.search(r"one node", words) or re.fullmatch(r"(NVLink|xGMI).*", words)
    nics = re.search(r"(\d+)x(\d+)G\b", words)
    forced = re.search(r"ALGO=(\w+)", words)
    cards = n_gpus // int(hosts[1]) if hosts and n_gpus % int(hosts[1]) == 0 else n_gpus if one else 0
    if not cards and nics:
        cards = min(n_gpus, 8)  # a host with several NICs has eight cards, where nothing else is said
    return Setup(
        cards_per_host=cards,
        nics_per_host=int(nics[1]) if nics else 0,
        nic_bytes_per_s=int(nics[2]) * parse_bytes_per_s("1000 Mbit/s") if nics else 0.0,
        scale_up_bytes_per_s=_scale_up(str(record["gpu"])),
        in_switch="NVLS" in words,
        algorithm=forced[1].lower() if forced else "",
    )


def _scale_up(gpu: str) -> float:
    """One direction of a card's scale-up links, by the catalogue of chips, which has both summed as vendors print them."""
    words = gpu.lower()
    name = by_reported_name().get(f"nvidia {words}", "") or _nearest_chip(words)
    chip = load().get(name)
    return (chip.scale_up_bytes_per_s or 0.0) / 2 if chip else 0.0


def _nearest_chip(words: str) -> str:
    model = re.match(r"[a-z]+\d+[a-z]*", words)
    found = [name for name in load() if model and name.split("-")[0] == model[0] and "pcie" not in name]
    return found[0] if found else ""
