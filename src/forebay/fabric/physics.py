"""The noun Physics: the few numbers of a fabric that no drawing shows, and the bandwidth that follows from them.

Asked:  how fast does a collective run that a group of cards does alone, and which bandwidth would nccl-tests print?
Answer: t = L + 2 sqrt(f L X / B) + X / B, with L = launch + rounds (message + links hop), X the bytes through each card's link
        (nccl-tests' bus bytes) and B what a flow gets of the link's rate. f = 0 is Hockney's model: first the latency, then the
        bytes (Parallel Computing 20, 1994). f = 1 is (sqrt L + sqrt(X/B))^2: a pipeline whose segments are cut at best, the way
        that large messages go through a chain (Sanders, Speck, Traeff, Parallel Computing 35, 2009). Real libraries lie between.
Units:  seconds, bytes and bytes a second. busbw is nccl-tests' (its doc/PERFORMANCE.md): bytes over time, times `bus_factor`.
Limits: one curve for all sizes. Libraries change their protocol and algorithm with the size, and show steps there that this
        hasn't. Below 16 MiB it is a guess. Contention with other groups is for `rates`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log2, sqrt

from forebay.errors import BadInput

COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "sendrecv", "broadcast", "reduce")


@dataclass(frozen=True, slots=True, kw_only=True)
class Physics:
    """A few constants of one centre: what its links and libraries cost beside the bytes.

    Calibrated on a centre's own curve they hold for that centre; DEFAULTS are what the hardware alone needs.
    """

    efficiency: float = 1.0  # share of a link's rate that flows get; above 1 where a switch adds: busbw counts what it saves
    launch_s: float = 0.0  # to start a collective
    message_s: float = 0.0  # of a round, at its ends
    hop_s: float = 0.0  # of a round, for each link crossed
    fill: float = 0.0  # 0: all latency before all bytes; 1: a pipeline with the best segments
    source: str = ""


# Efficiency: a healthy 400 Gbit/s NIC gives 46 to 48 GB/s (maintainer, NVIDIA/nccl-tests issue 290). Latency: 64 bytes from end
# to end over one leaf (two links) and across leaves (four) in DeepSeek-AI, Insights into DeepSeek-V3 (ISCA 2025), Table 5:
# InfiniBand 2.8 and 3.7 us, RoCE 3.6 and 5.6, NVLink 3.33. No public record tells the launch apart.
_NIC = "47 of 50 GB/s, NVIDIA/nccl-tests issue 290; arXiv 2505.09343, Table 5: same leaf and cross leaf"
_NVLINK = "370 of 450 GB/s without in-switch reduction, NVIDIA/nccl-tests issue 212; arXiv 2505.09343, Table 5"
DEFAULTS: Mapping[str, Physics] = {
    "infiniband": Physics(efficiency=0.94, message_s=1.9e-6, hop_s=0.45e-6, source=_NIC),
    "roce": Physics(efficiency=0.94, message_s=1.6e-6, hop_s=1.0e-6, source=_NIC),
    "nvlink": Physics(efficiency=0.82, message_s=3.33e-6, source=_NVLINK),
}
DEFAULT = DEFAULTS["infiniband"]
LINKS = 2.0  # that a round crosses on the system that was measured, where nothing else is said: card to switch to card


def bus_factor(collective: str, n_gpus: int) -> float:
    """Bytes through a card's link for each byte of the message: what nccl-tests multiplies algbw with."""
    _check(collective, n_gpus)
    share = (n_gpus - 1) / n_gpus
    return {"all_reduce": 2 * share, "all_gather": share, "reduce_scatter": share, "all_to_all": share}.get(collective, 1.0)


def rounds(collective: str, n_gpus: int, algorithm: str = "ring") -> int:
    """Latencies one after the other. An all-to-all posts all its sends at once; a tree and a switch need few rounds."""
    _check(collective, n_gpus)
    if collective in ("all_to_all", "sendrecv"):
        return 1
    times = 2 if collective == "all_reduce" else 1
    each = {"ring": n_gpus - 1, "tree": ceil(log2(n_gpus)), "in-switch": 1}
    if algorithm not in each:
        raise BadInput("No algorithm has that name.", asked=algorithm, hint=", ".join(each))
    return times * each[algorithm]


def seconds(
    physics: Physics,
    collective: str,
    n_gpus: int,
    message_bytes: float,
    link_bytes_per_s: float,
    *,
    algorithm: str = "ring",
    links: float = LINKS,
) -> float:
    """The time of one collective, alone on links of this rate. `links` is how many a round crosses."""
    latency_s = physics.launch_s + rounds(collective, n_gpus, algorithm) * (physics.message_s + links * physics.hop_s)
    wire_s = bus_factor(collective, n_gpus) * message_bytes / (physics.efficiency * link_bytes_per_s)
    return together(latency_s, wire_s, physics.fill)


def busbw(
    physics: Physics,
    collective: str,
    n_gpus: int,
    message_bytes: float,
    link_bytes_per_s: float,
    *,
    algorithm: str = "ring",
    links: float = LINKS,
) -> float:
    """Bytes a second as nccl-tests prints them under busbw."""
    took_s = seconds(physics, collective, n_gpus, message_bytes, link_bytes_per_s, algorithm=algorithm, links=links)
    return bus_factor(collective, n_gpus) * message_bytes / took_s


def together(latency_s: float, wire_s: float, fill: float) -> float:
    """Latency and wire time, partly pipelined: between their sum and the square of the sum of their roots."""
    return latency_s + 2 * sqrt(fill * latency_s * wire_s) + wire_s


def _check(collective: str, n_gpus: int) -> None:
    if collective not in COLLECTIVES:
        raise BadInput("No collective has that name.", asked=collective, hint=", ".join(COLLECTIVES))
    if n_gpus < 2:
        raise BadInput("A collective is of two cards or more.", asked=str(n_gpus))
