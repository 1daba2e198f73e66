"""What is asked of Ray for one run: a placement group, and a launcher on each of its bundles. Pure.

Asked:  how does a run get all its cards at once, on the nodes that the cloud chose, under a name by which it is found again?
Answer: one bundle a share, with the cards, the cores that go with them, and a sliver of the resource `node:ADDRESS`, which only
        that node has. Where the autoscaler has to bring the node, there is no such sliver. Names hold the centre's tag and the
        run.
Source: Ray 2.60, docs "Placement Groups"; every node has 1.0 of `node:<its address>`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from forebay.centre.ray.view import Host, Place
from forebay.centre.settings import RaySettings
from forebay.centre.spec import Spec
from forebay.errors import BadInput

NAMESPACE = "forebay"
_SLIVER = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What one share gets on its node. `labels`: which node, where its address doesn't say."""

    resource: str
    cards: int
    cpus: float
    pin: str = ""  # the resource of one node
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def resources(self) -> dict[str, float]:
        """For the placement group."""
        found = {self.resource: float(self.cards)}
        if self.resource != "CPU" and self.cpus:
            found["CPU"] = self.cpus
        if self.pin:
            found[self.pin] = _SLIVER
        return found

    @property
    def options(self) -> dict[str, object]:
        """For the launcher, which takes all of it but the sliver: so Ray says which cards they are."""
        cpus = float(self.cards) if self.resource == "CPU" else self.cpus
        found: dict[str, object] = {"num_cpus": cpus}
        if self.resource == "GPU":
            found["num_gpus"] = self.cards
        elif self.resource != "CPU":
            found["resources"] = {self.resource: float(self.cards)}
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A placement group to be."""

    name: str
    bundles: tuple[Bundle, ...]
    strategy: str


def group(spec: Spec, tag: str, places: Mapping[str, Place], hosts: Sequence[Host], told: RaySettings) -> Group:
    """Raises BadInput for a node that isn't there."""
    addresses = Counter(host.ip for host in hosts if host.alive)
    bundles = []
    for share in spec.shares:
        place = places.get(share.node)
        if place is None or (place.host is not None and not place.host.alive):
            why = "it is dead" if place is not None else ", ".join(sorted(places)) or "no node at all"
            raise BadInput("The run wants a node that the Ray cluster doesn't have.", asked=share.node, found=why)
        host, cards = place.host, len(share.cards)
        bundles.append(
            Bundle(
                resource=place.resource,
                cards=cards,
                cpus=told.cpus_per_card * cards,
                pin=f"node:{host.ip}" if host is not None and addresses[host.ip] == 1 else "",
                labels={"ray.io/node-id": host.id} if host is not None and addresses[host.ip] > 1 else {},
            )
        )
    return Group(
        name=group_name(tag, spec.name), bundles=tuple(bundles), strategy="STRICT_SPREAD" if len(bundles) > 1 else "PACK"
    )


def group_name(tag: str, run: str) -> str:
    return f"{tag}/{run}"


def launcher_name(tag: str, run: str, share: int) -> str:
    return f"{tag}/{run}/{share}"


def waiting(state: str, why: str) -> str:
    """Why a group isn't placed yet, in words. `why`: Ray's scheduling state."""
    words = {
        "NO_RESOURCES": "others hold the cards that it needs",
        "INFEASIBLE": "no node of the cluster has what it needs; the autoscaler may bring one",
        "QUEUED": "it is queued",
        "REMOVED": "it was removed",
        "SCHEDULING_STARTED": "it is being placed",
        "FAILED_TO_COMMIT_RESOURCES": "a node took its resources back while it was placed",
    }
    if state == "RESCHEDULING":
        return "Ray places it anew, because a node has died."
    return f"Ray: {why or state}: {words.get(why, 'it waits')}."
