"""What a measured curve says of a system that is too slow, and what to look at next.

Asked:  this cluster delivers 0.4 of what it should: why?
Answer: the ceiling by the data sheets (`ceiling`), the share of it that the largest messages reach, and what the shape tells: a
        flat cap worth k of n NICs, NICs that are all equally slow, a ring that was forced, latency far too high, a dip at one
        size, a bandwidth that falls as hosts are added. Each finding has its evidence and what to check.
Limits: a curve has symptoms, not causes: findings are likely ones, the surest first. Without the rates of the hardware only the
        shape is judged. HEALTHY_SHARE lies between the slowest system nothing is known against (0.65) and the fastest sick one
        (0.61) of the public records: near it, compare with a neighbour before you believe either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, log

from forebay.fabric.curves import Curve, Point
from forebay.fabric.physics import bus_factor, rounds
from forebay.units import GB, GIB, MIB, show_bytes_per_s

HEALTHY_SHARE = 0.63
ENOUGH_BYTES = GIB // 2  # smaller messages are ruled by latency, and say nothing of the ceiling
NIC_EFFICIENCY = (0.90, 1.0)  # what a healthy NIC gives of its rate
ROUND_S = 200e-6  # healthy rings of 16 to 1,024 cards need 27 to 50 us a round in public tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that the curve shows."""

    kind: str
    likely: str  # a cause, in words
    evidence: str
    check: str
    harmful: bool = True  # False: worth knowing, and no sickness by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What a curve says of its system."""

    system: str
    verdict: str  # "healthy", "sick", "too small to tell"
    share: float | None  # of the ceiling, at the largest message; None: the ceiling isn't known
    ceiling_bytes_per_s: float  # 0: not known
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        if self.share is None:
            head = f"{self.system}: {self.verdict} by the shape of its curve; what the hardware could do isn't known"
        else:
            head = f"{self.system}: {self.verdict}: it delivers {self.share:.2f} of what its links could"
        lines = [f"  likely: {one.likely}\n    seen:  {one.evidence}\n    check: {one.check}" for one in self.findings]
        return "\n".join([head, *lines])


def ceiling(curve: Curve) -> float:
    """The busbw that the data sheets allow; 0: not known.

    Within a host the scale-up links bound it. Between hosts the NICs do too: each host sends and receives 2 (h-1)/h of the
    message once its cards have added theirs up, which is (n-1)/n h/(h-1) better than a flat ring.
    """
    setup, hosts = curve.setup, curve.hosts
    bounds = [setup.scale_up_bytes_per_s] if setup.scale_up_bytes_per_s else []
    nics = setup.nics_per_host * setup.nic_bytes_per_s
    if hosts == 0 or (hosts > 1 and not nics):
        return 0.0
    if hosts > 1 and curve.collective == "all_to_all":  # of each card's bytes (n-g)/(n-1) leave the host
        n, g = curve.n_gpus, setup.cards_per_host
        bounds.append(nics / g * (n - 1) / (n - g))
    elif hosts > 1 and curve.collective == "all_reduce" and setup.algorithm != "ring":
        bounds.append(nics * (curve.n_gpus - 1) / curve.n_gpus * hosts / (hosts - 1))
    elif hosts > 1:
        bounds.append(nics / (setup.cards_per_host if curve.collective == "sendrecv" else 1))
    return min(bounds, default=0.0)


def diagnose(curve: Curve, family: Sequence[Curve] = ()) -> Diagnosis:
    """What the curve says; `family` are curves of the same machines and collective with other numbers of hosts."""
    top = ceiling(curve)
    large = [point for point in curve.points if point.message_bytes >= ENOUGH_BYTES]
    dips = list(_dips(curve))
    if not large:
        return Diagnosis(
            system=curve.system, verdict="too small to tell", share=None, ceiling_bytes_per_s=top, findings=tuple(dips)
        )
    level = max(point.busbw_bytes_per_s for point in large)
    share = level / top if top else None
    slow = share is not None and share < HEALTHY_SHARE
    findings = [
        *_falls(curve, family),
        *(_slow(curve, level, top) if slow else _ring_only(curve, level)),
        *_latency(curve),
        *dips,
    ]
    sick = slow or any(finding.harmful for finding in findings)
    if sick and not any(finding.harmful for finding in findings):
        findings.append(
            Finding(
                kind="slow",
                likely="nothing that the curve's shape tells",
                evidence=f"{show_bytes_per_s(level)} of {show_bytes_per_s(top)} that the hardware could do",
                check="NCCL_DEBUG=INFO: the algorithm, the NICs in use, [GDRDMA] in each channel's line",
            )
        )
    verdict = "sick" if sick else "healthy"
    return Diagnosis(system=curve.system, verdict=verdict, share=share, ceiling_bytes_per_s=top, findings=tuple(findings))


def _slow(curve: Curve, level: float, top: float) -> Iterator[Finding]:
    setup = curve.setup
    if curve.hosts > 1 and setup.algorithm == "ring":
        yield Finding(
            kind="forced ring",
            likely="a ring was forced: nothing is added up in a host or a switch before it leaves",
            evidence=f"the algorithm is set to ring; {show_bytes_per_s(level)}",
            check="unset NCCL_ALGO, then measure again before looking further",
        )
    if curve.hosts > 1 and setup.nics_per_host > 1:
        yield from _nics(curve, level)
    if curve.hosts == 1:
        yield Finding(
            kind="scale-up",
            likely="the cards of the host don't use their scale-up links, or a part of these is down",
            evidence=f"{show_bytes_per_s(level)} of {show_bytes_per_s(top)} within one host",
            check="nvidia-smi topo -m and nvlink --status; NCCL_P2P_DISABLE unset; the fabric manager runs",
        )


def _nics(curve: Curve, level: float) -> Iterator[Finding]:
    """A flat cap: is it worth a whole number of NICs? Read as a ring, and as a tree that adds up in the host first."""
    setup, hosts = curve.setup, curve.hosts
    flat = _flat(curve, level)
    tree = (curve.n_gpus - 1) / curve.n_gpus * hosts / (hosts - 1) if curve.collective == "all_reduce" else 1.0
    readings = {"a ring": level} if setup.algorithm == "ring" or tree == 1.0 else {"a ring": level, "a tree": level / tree}
    for way, per_host in readings.items():
        worth = [per_host / (efficiency * setup.nic_bytes_per_s) for efficiency in NIC_EFFICIENCY]
        k = round(sum(worth) / 2)
        if 1 <= k < setup.nics_per_host and worth[1] * 0.98 <= k <= worth[0] * 1.02:
            yield Finding(
                kind="single NIC" if k == 1 else "few NICs",
                likely=f"{k} of {setup.nics_per_host} NICs carry{'s' if k == 1 else ''} the traffic",
                evidence=f"{flat}{show_bytes_per_s(level)} as {way} is what {k} NIC{'s' if k > 1 else ''} give"
                f"{'s' if k == 1 else ''} ({k / setup.nics_per_host:.2f} of all)",
                check="NCCL_IB_HCA, NCCL_SOCKET_IFNAME; state and rate of every NIC (ibstat, ethtool); rails cabled right",
            )
    share = level / tree / setup.nics_per_host / setup.nic_bytes_per_s
    yield Finding(
        kind="no GPUDirect",
        likely="every NIC is equally slow: data goes through the host's memory (no GPUDirect RDMA, PCIe ACS)",
        evidence=f"{flat}{show_bytes_per_s(level)} with all {setup.nics_per_host} NICs is {share:.2f} to "
        f"{share * tree:.2f} of each one's rate",
        check="NCCL_DEBUG=INFO says GDRDMA or not; nvidia_peermem or dma-buf loaded; lspci ACSCtl; nvidia-smi topo -m",
    )


def _flat(curve: Curve, level: float) -> str:
    """ "flat from 32 MiB on: ", where it is so over a factor of eight in size."""
    for i, point in enumerate(curve.points):
        rest = curve.points[i:]
        if all(abs(one.busbw_bytes_per_s / level - 1) < 0.15 for one in rest) and len(rest) > 1:
            if rest[-1].message_bytes >= 8 * point.message_bytes:
                return f"flat from {_size(point.message_bytes)} on: "
            break
    return ""


def _ring_only(curve: Curve, level: float) -> Iterator[Finding]:
    """A host whose switch could add up, at what a plain ring gives: 370 where 480 can be (NVIDIA/nccl-tests issue 212)."""
    setup = curve.setup
    if curve.hosts == 1 and setup.in_switch and curve.collective == "all_reduce" and level < 0.9 * setup.scale_up_bytes_per_s:
        yield Finding(
            kind="no in-switch reduction",
            likely="the reduction in the scale-up switch is off: this is what a plain ring gives",
            evidence=f"{show_bytes_per_s(level)} on links of {show_bytes_per_s(setup.scale_up_bytes_per_s)}",
            check="NCCL_NVLS_ENABLE, NCCL_ALGO; the fabric manager and driver support it",
            harmful=False,
        )


def _latency(curve: Curve) -> Iterator[Finding]:
    """The time of the smallest message from 1 MiB on, over a ring's rounds, less what its bytes take at the curve's best rate."""
    small = next((point for point in curve.points if point.message_bytes >= MIB), None)
    best = max(point.busbw_bytes_per_s for point in curve.points)
    if small is None or small.message_bytes > 64 * MIB:
        return
    sent = bus_factor(curve.collective, curve.n_gpus) * small.message_bytes
    each_s = (sent / small.busbw_bytes_per_s - sent / best) / max(rounds(curve.collective, curve.n_gpus), 8)
    if each_s > ROUND_S:
        yield Finding(
            kind="latency",
            likely="each round starts late: sockets instead of RDMA, a CPU that saves power, or a loaded proxy thread",
            evidence=f"{_size(small.message_bytes)} take {each_s * 1e6:,.0f} us a round; healthy rings take 27 to 50",
            check="NCCL_DEBUG=INFO: NET/Socket or NET/IB; the CPU's governor; NCCL_IGNORE_CPU_AFFINITY and pinning",
        )


def _dips(curve: Curve) -> Iterator[Finding]:
    """A size at which it collapses, between two that are faster: a change of protocol or algorithm, mostly harmless."""
    for before, point, after in zip(curve.points, curve.points[1:], curve.points[2:], strict=False):
        expected = _between(before, after, point.message_bytes)
        if point.busbw_bytes_per_s < 0.75 * expected and point.busbw_bytes_per_s < before.busbw_bytes_per_s:
            yield Finding(
                kind="dip",
                likely="the library changes its algorithm or protocol at this size, and too early or too late",
                evidence=f"{show_bytes_per_s(point.busbw_bytes_per_s)} at {_size(point.message_bytes)}, between "
                f"{show_bytes_per_s(before.busbw_bytes_per_s)} and {show_bytes_per_s(after.busbw_bytes_per_s)}",
                check="the same size with NCCL_ALGO and NCCL_PROTO set each way; a tuner plug-in",
                harmful=False,
            )


def _between(before: Point, after: Point, size: int) -> float:
    along = log(size / before.message_bytes) / log(after.message_bytes / before.message_bytes)
    return exp((1 - along) * log(before.busbw_bytes_per_s) + along * log(after.busbw_bytes_per_s))


def _falls(curve: Curve, family: Sequence[Curve]) -> Iterator[Finding]:
    """Fewer hosts of the same machines did better than their ceilings explain."""
    at = {point.message_bytes: point.busbw_bytes_per_s for point in curve.points if point.message_bytes >= ENOUGH_BYTES}
    for other in sorted(family, key=lambda one: -one.hosts):
        if not 1 < other.hosts < curve.hosts or other.collective != curve.collective or not ceiling(other):
            continue
        for point in reversed(other.points):
            if point.message_bytes not in at:
                continue
            expected = ceiling(curve) / ceiling(other)
            ratio = at[point.message_bytes] / point.busbw_bytes_per_s
            if ratio < 0.85 * expected:
                yield Finding(
                    kind="falls with hosts",
                    likely="something between the hosts: collisions of routes, congestion control, an oversubscribed tier",
                    evidence=f"{at[point.message_bytes] / GB:.0f} GB/s on {curve.hosts} hosts, "
                    f"{point.busbw_bytes_per_s / GB:.0f} on {other.hosts}: {ratio:.2f} where the NICs allow {expected:.2f}",
                    check="each pair of hosts alone, then pairs at once; ECN, PFC and drop counters; one rail at a time",
                )
                return
            break


def _size(n: int) -> str:
    return f"{n / MIB:g} MiB" if n < GIB else f"{n / GIB:g} GiB"
