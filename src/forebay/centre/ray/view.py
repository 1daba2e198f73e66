"""From what Ray says of its nodes to the nodes and states of a centre. Pure.

Asked:  which cards are there, on which nodes, and which of them do others hold?
Answer: a node of Ray's with a resource that `centre.toml` calls a chip is a Node; with two such resources it is two. Its cards
        are counted, for Ray picks them itself. What is used of the resource, less what our own runs hold, is busy.
        Nodes that only the autoscaler can bring (`ray.grows`) stand as `KIND-1` to `KIND-MOST` whether they are there or not;
        what the cluster has of them isn't listed a second time.
Source: Ray 2.60: `ray.nodes()`, `/api/v0/nodes?detail=1` and `/api/cluster_status` of the dashboard.
Limits: an end that Ray expected (`ray stop`, the autoscaler) takes a node out of the listing; any other leaves it there as down,
        until a node of its name is back. Ray forgets dead nodes after a while, and so do we.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from forebay.centre.settings import RaySettings
from forebay.centre.spec import Spec
from forebay.chips import catalogue
from forebay.chips.node import Card, Condition, Node, NodeState

CHIP_LABEL = "forebay-chip"  # by which `forebay centre start` says what a node's cards are
TYPE_LABEL = "ray.io/accelerator-type"  # by which Ray itself does: "H100"
_EXPECTED = (1, 3, 4)  # ray.nodes()' DeathReason: expected, preempted, idle; 2 is unexpected
_EXPECTED_WORDS = re.compile(r"^\s*(expected termination|terminated|.*drain|.*preempt|.*idle)", re.IGNORECASE)
# Ray's name of a resource -> the one chip that it stands for, where it can only be one. The others a person has to name.
_TPUS = {"TPU-V4": "tpu-v4", "TPU-V5LITEPOD": "tpu-v5e", "TPU-V5P": "tpu-v5p", "TPU-V6E": "tpu-v6e"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A node as Ray lists it."""

    id: str
    name: str  # as `ray start --node-name` said; else its address
    ip: str
    port: int = 0  # on which its raylet listens; 0: unknown
    alive: bool = True
    expected: bool = False  # it is gone, and that was wanted
    reason: str = ""  # why it is gone
    resources: Mapping[str, float] = field(default_factory=dict)
    used: Mapping[str, float] | None = None  # None: Ray didn't say
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A node of ours, in Ray's words. The host is None where the autoscaler has to bring it."""

    node: Node
    resource: str
    host: Host | None


def from_driver(nodes: Iterable[Mapping[str, Any]], available: Mapping[str, Mapping[str, float]]) -> tuple[Host, ...]:
    """From `ray.nodes()` and the resources that are free on each."""
    return tuple(
        Host(
            id=node["NodeID"],
            name=node.get("NodeName") or node["NodeManagerAddress"],
            ip=node["NodeManagerAddress"],
            port=int(node.get("NodeManagerPort") or 0),
            alive=bool(node["Alive"]),
            expected=node.get("DeathReason") in _EXPECTED,
            reason=node.get("DeathReasonMessage") or "",
            resources=dict(node.get("Resources") or {}),
            used=_used(node.get("Resources") or {}, available.get(node["NodeID"])),
            labels=dict(node.get("Labels") or {}),
        )
        for node in nodes
    )


def from_dashboard(nodes: Any, status: Any) -> tuple[Host, ...]:
    """From the dashboard's answers. Its names of resources have lost their small print: "npu_910b" is "npu910B" there."""
    usage = _dig(status, "data", "clusterStatus", "loadMetricsReport", "usageByNode") or {}
    return tuple(
        Host(
            id=node["node_id"],
            name=node.get("node_name") or node["node_ip"],
            ip=node["node_ip"],
            alive=node["state"] == "ALIVE",
            expected=bool(_EXPECTED_WORDS.match(node.get("state_message") or "")),
            reason=node.get("state_message") or "",
            resources=dict(node.get("resources_total") or {}),
            used=_by_usage(node.get("resources_total") or {}, usage.get(node["node_id"])),
            labels=dict(node.get("labels") or {}),
        )
        for node in _dig(nodes, "data", "result", "result") or ()
    )


def remembering(hosts: Iterable[Host], before: Iterable[Host]) -> tuple[Host, ...]:
    """Of a dead node Ray has forgotten what it had; we know it from before."""
    had = {host.id: host for host in before if host.resources}
    return tuple(
        replace(host, resources=had[host.id].resources, labels=had[host.id].labels)
        if not host.resources and host.id in had
        else host
        for host in hosts
    )


def places(hosts: Sequence[Host], told: RaySettings, *, pretend: bool = False) -> dict[str, Place]:
    """Every node of the centre by name, with what it is in Ray's words. Those that are down are among them."""
    found: dict[str, Place] = {}
    living = [host for host in hosts if host.alive]
    names = _names(living)
    for host in living:
        mine = cards(host, told)
        for resource, chip, count in mine:
            if _kind(chip, count, told) is not None:
                continue
            name = names[host.id] if len(mine) == 1 else f"{names[host.id]}-{chip}"
            found[name] = Place(node=_node(name, chip, count, host.ip, pretend), resource=resource, host=host)
    for kind, grown in told.grows.items():
        resource = next((key.partition(":")[0] for key, chip in told.chips.items() if chip == grown.chip), "")
        for number in range(1, grown.most + 1):
            name = f"{kind}-{number}"
            found[name] = Place(node=_node(name, grown.chip, grown.cards, "", pretend), resource=resource, host=None)
    for host in hosts:
        if host.alive or host.expected:
            continue
        for resource, chip, count in cards(host, told):
            if host.name not in found and _kind(chip, count, told) is None:
                found[host.name] = Place(node=_node(host.name, chip, count, host.ip, pretend), resource=resource, host=host)
    return found


def nodes(found: Mapping[str, Place]) -> tuple[Node, ...]:
    return tuple(found[name].node for name in sorted(found))


def states(
    found: Mapping[str, Place],
    hosts: Sequence[Host],
    told: RaySettings,
    runs: Mapping[str, Spec],
    placed: Iterable[str],
    away: str = "",
) -> tuple[NodeState, ...]:
    """How the nodes stand. `runs`: those of ours that haven't ended; `placed`: which of them hold what Ray gave them. `away`: why
    Ray itself can't be asked.
    """
    claimed: dict[str, set[int]] = {}
    held: Counter[str] = Counter()
    mine = set(placed)
    for name, spec in runs.items():
        for share in spec.shares:
            claimed.setdefault(share.node, set()).update(share.cards)
            held[share.node] += len(share.cards) if name in mine else 0
    others = _others(found, hosts, told, held)
    told_states = []
    for name, place in sorted(found.items()):
        condition, reason = Condition.UP, ""
        if place.host is not None and not place.host.alive:
            condition, reason = Condition.DOWN, place.host.reason or "Ray says that it is dead"
        elif away:
            condition, reason = Condition.DOWN, away
        busy = _busy(place.node, claimed.get(name, set()), others.get(name, 0))
        told_states.append(NodeState(name=name, condition=condition, reason=reason, busy=busy))
    return tuple(told_states)


def cards(host: Host, told: RaySettings) -> list[tuple[str, str, int]]:
    """(resource, chip, how many) of each kind of card on a host. The operator's label wins over the table of resources; cores
    beside other cards go with those, and are no cards themselves.
    """
    found: dict[str, tuple[str, str, int]] = {}
    label, kind = host.labels.get(CHIP_LABEL, ""), host.labels.get(TYPE_LABEL, "")
    for key, chip in told.chips.items():
        resource, _, wanted = key.partition(":")
        count = int(host.resources.get(resource, 0))
        if count < 1 or not chip or (wanted and wanted != kind and f"accelerator_type:{wanted}" not in host.resources):
            continue
        if resource not in found or wanted:
            found[resource] = (resource, label if label and resource != "CPU" else chip, count)
    if len(found) > 1:
        found.pop("CPU", None)
    return [found[resource] for resource in sorted(found)]


def suggest(hosts: Iterable[Host]) -> tuple[dict[str, str], tuple[str, ...]]:
    """A table of resources for `centre.toml`, and which of its lines a person has to fill in (their chip is empty)."""
    ignored = re.compile(r"CPU|memory|object_store_memory|node:.*|bundle_.*|accelerator_type:.*|.*_group_.*|head|TPU-.*-head")
    table: dict[str, str] = {}
    unsure: dict[str, None] = {}
    for host in hosts:
        kind = host.labels.get(TYPE_LABEL) or next(
            (r.partition(":")[2] for r in host.resources if r.startswith("accelerator_type:")), ""
        )
        for resource, count in host.resources.items():
            if (
                ignored.fullmatch(resource)
                or count < 1
                or count != int(count)
                or (host.labels.get(CHIP_LABEL) and resource in table)
            ):
                continue
            key = f"{resource}:{kind}" if kind and resource == "GPU" else resource
            chip = host.labels.get(CHIP_LABEL) or _guess(resource, kind)
            table[key] = table.get(key) or chip
            if not table[key]:
                unsure[key] = None
    return table, tuple(key for key in unsure if not table[key])


def candidates(key: str) -> tuple[str, ...]:
    """The chips that a resource may stand for, as far as the names tell: those whose name holds one of its words."""
    words = [_plain(word) for word in re.split(r"[:_]", key) if _plain(word) not in ("", "gpu", "npu", "tpu", "hpu", "mlu")]
    vendors = {"npu": "huawei", "tpu": "google", "hpu": "intel", "mlu": "cambricon"}
    known = catalogue.load()
    found = [name for name in known if any(word in _plain(name) or _plain(name) in word for word in words)]
    vendor = vendors.get(_plain(key.partition(":")[0].partition("_")[0]))
    return tuple(found or [name for name, chip in known.items() if chip.vendor == vendor])


def _guess(resource: str, kind: str) -> str:
    """The chip that a resource or an accelerator's type names, if there can be only one."""
    if kind in _TPUS:
        return _TPUS[kind]
    for word in (kind, resource):
        exact = [name for name in catalogue.load() if word and _plain(name) == _plain(word)]
        found = exact or (candidates(word) if word else ())
        if len(found) == 1:
            return found[0]
    return ""


def _others(found: Mapping[str, Place], hosts: Sequence[Host], told: RaySettings, held: Mapping[str, int]) -> dict[str, int]:
    """How many cards others hold on each node. Those of grown nodes are spread over the kind's nodes as far as they go."""
    others: dict[str, int] = {}
    for name, place in found.items():
        if place.host is not None and place.host.used is not None:
            others[name] = max(math.ceil(place.host.used.get(place.resource, 0)) - held.get(name, 0), 0)
    for kind, grown in told.grows.items():
        used = sum(
            math.ceil((host.used or {}).get(resource, 0))
            for host in hosts
            if host.alive
            for resource, chip, count in cards(host, told)
            if _kind(chip, count, told) == kind
        )
        names = [f"{kind}-{number}" for number in range(1, grown.most + 1)]
        left = max(used - sum(held.get(name, 0) for name in names), 0)
        for name in names:
            others[name] = min(left, grown.cards - held.get(name, 0))
            left -= others[name]
    return others


def _busy(node: Node, claimed: set[int], count: int) -> tuple[int, ...]:
    """The last cards that no run of ours claims, as many as others hold."""
    free = [card.index for card in node.cards if card.index not in claimed]
    return tuple(free[len(free) - min(count, len(free)) :])


def _kind(chip: str, count: int, told: RaySettings) -> str | None:
    """Which kind of the autoscaler's nodes this is."""
    return next((kind for kind, grown in told.grows.items() if grown.chip == chip and grown.cards == count), None)


def _node(name: str, chip: str, count: int, ip: str, pretend: bool) -> Node:
    each = tuple(Card(index=index) for index in range(count))
    return Node(name=name, chip=chip, cards=each, pretend=pretend, address=ip, counted=True)


def _names(living: Sequence[Host]) -> dict[str, str]:
    """A name for each, by its id. Several of one name are told apart by the beginning of their ids."""
    count = Counter(host.name for host in living)
    return {host.id: host.name if count[host.name] == 1 else f"{host.name}-{host.id[:6]}" for host in living}


def _used(total: Mapping[str, float], available: Mapping[str, float] | None) -> dict[str, float] | None:
    if available is None:
        return None
    return {name: amount - available.get(name, 0.0) for name, amount in total.items()}


def _by_usage(total: Mapping[str, float], usage: Mapping[str, Sequence[float]] | None) -> dict[str, float] | None:
    if usage is None:
        return None
    by_plain = {_plain(name): float(pair[0]) for name, pair in usage.items()}
    return {name: by_plain.get(_plain(name), 0.0) for name in total}


def _plain(name: str) -> str:
    """A name as it is left when a dashboard has taken its punctuation and its capitals away."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _dig(body: Any, *path: str) -> Any:
    for name in path:
        body = body.get(name) if isinstance(body, Mapping) else None
    return body
