"""A site as Forebay sees it: nodes, how they stand, and what had to be left out. Pure.

Asked:  which cards of this site can be had, which are held by others, and what has to be asked of the operator?
Answer: a machine with one mapped kind of cards is a Node of its own name; with several, a Node each: "h1+ascend-910b". A machine
        without GRES has cards of the chip `cpu`. Cards of one chip below one topology root are an island; without a topology,
        those of one partition. What others hold is what Slurm says is used, less what runs of ours hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from forebay.centre.settings import SlurmSettings
from forebay.centre.slurm import gres
from forebay.centre.slurm.facts import Machine, Partition, Site
from forebay.centre.slurm.gres import Unsure
from forebay.chips.node import Card, Condition, Node, NodeState

SIGN = "+"  # between a machine's name and a chip's; no host name has it
_DOWN = frozenset(
    {"DOWN", "FAIL", "FAILING", "ERROR", "UNKNOWN", "FUTURE", "POWERED_DOWN", "POWERING_DOWN", "POWER_DOWN", "REBOOT_ISSUED"}
)
_DRAINED = frozenset({"DRAIN", "DRAINED", "DRAINING", "MAINT", "RESERVED", "REBOOT", "REBOOT_REQUESTED", "PLANNED_MAINT"})
CPU = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a look at a site has found."""

    nodes: tuple[Node, ...]
    gres: Mapping[str, str]  # node -> the GRES that its cards are to Slurm: "gpu:h100"; "" for processor cores
    unsure: tuple[Unsure, ...] = ()


def machine_of(node: str) -> str:
    """Slurm's name of a node of ours."""
    return node.partition(SIGN)[0]


def survey(site: Site, settings: SlurmSettings, *, pretend: bool = False) -> Survey:
    """The site's nodes, in Slurm's order."""
    allowed = {partition.name for partition in usable(site.partitions, settings)}
    nodes: list[Node] = []
    known: dict[str, str] = {}
    unsure: dict[str, Unsure] = {}
    for machine in site.machines:
        here = [name for name in machine.partitions if name in allowed]
        if not here:
            continue
        kinds: dict[str, tuple[str, int]] = {}  # chip -> GRES, count
        for one in machine.gres:
            chip = gres.chip_of(one, settings.gres, machine.features)
            if isinstance(chip, Unsure):
                asked = unsure.setdefault(one.key, chip)
                unsure[one.key] = replace(asked, nodes=(*asked.nodes, machine.name))
            elif chip and chip not in kinds:
                kinds[chip] = (one.key, one.count)
        if not machine.gres and settings.gres.get(CPU, CPU) and (count := machine.cpus // max(settings.cpus_per_card, 1)):
            kinds = {CPU: ("", count)}
        root = _path(machine.name, site.above)
        for chip, (key, count) in kinds.items():
            name = machine.name if len(kinds) == 1 else f"{machine.name}{SIGN}{chip}"
            known[name] = key
            nodes.append(
                Node(
                    name=name,
                    chip=chip,
                    cards=tuple(Card(index=index) for index in range(count)),
                    island=f"{chip}@{root[0] if root else here[0]}",
                    pretend=pretend,
                    address=machine.address or machine.name,
                    leaf="/".join(root),
                    counted=True,
                )
            )
    return Survey(nodes=tuple(nodes), gres=known, unsure=tuple(unsure.values()))


def usable(partitions: Iterable[Partition], settings: SlurmSettings) -> tuple[Partition, ...]:
    """The partitions that Forebay may use, the default first."""
    named = settings.partitions
    found = [one for one in partitions if (one.name in named if named else not (one.hidden or one.root_only))]
    return tuple(sorted(found, key=lambda one: named.index(one.name) if named else not one.default))


def states(
    nodes: Iterable[Node],
    machines: Iterable[Machine],
    known: Mapping[str, str],
    *,
    held: Mapping[str, int],
    claimed: Mapping[str, frozenset[int]],
    cpus_per_card: int = 1,
    reserved: bool = False,
) -> tuple[NodeState, ...]:
    """How the nodes stand. Those that are up and have nobody else on them aren't named.

    `held`: cards of a node that Slurm counts as used for runs of ours; `claimed`: the numbers that live runs of ours have there
    in the cloud's books; `reserved`: our jobs name a reservation, so a machine that is reserved is so for us.
    """
    by_name = {machine.name: machine for machine in machines}
    found = []
    for node in nodes:
        machine = by_name.get(machine_of(node.name))
        if machine is None:
            found.append(NodeState(name=node.name, condition=Condition.DOWN, reason="Slurm doesn't know it any more"))
            continue
        condition, reason = _condition(machine, ignored=frozenset({"RESERVED"}) if reserved else frozenset())
        others = max(_used(machine, known.get(node.name, ""), cpus_per_card) - held.get(node.name, 0), 0)
        free = [card.index for card in node.cards if card.index not in claimed.get(node.name, frozenset())]
        busy = tuple(sorted(free[max(len(free) - others, 0) :]))
        if condition is not Condition.UP or busy:
            found.append(NodeState(name=node.name, condition=condition, reason=reason, busy=busy))
    return tuple(found)


def _used(machine: Machine, key: str, cpus_per_card: int) -> int:
    if not key:
        return -(-machine.cpus_used // max(cpus_per_card, 1))
    name, _, model = key.partition(":")
    return sum(one.count for one in machine.used if one.name == name and model in ("", one.model))


def _condition(machine: Machine, ignored: frozenset[str]) -> tuple[Condition, str]:
    words = "+".join(machine.state).lower()
    if machine.silent or _DOWN.intersection(machine.state):
        return Condition.DOWN, machine.reason or ("Slurm hears nothing from it" if machine.silent else f"Slurm says: {words}")
    if (_DRAINED - ignored).intersection(machine.state):
        return Condition.DRAINED, machine.reason or f"Slurm says: {words}"
    return Condition.UP, ""


def _path(name: str, above: Mapping[str, str]) -> tuple[str, ...]:
    """The switches above a machine, the root first."""
    found: list[str] = []
    while (name := above.get(name, "")) and name not in found:
        found.insert(0, name)
    return tuple(found)
