"""What a seed means: the pool, who shares it, how long jobs are, what goes wrong and how often. All is drawn at the start."""

from __future__ import annotations

import random
from dataclasses import dataclass

from forebay.chips.node import Card, Node

ORGANISATIONS = ("ada", "bell", "curie", "dirac")
PROJECTS = ("p", "q")
CHIPS = ("h100", "b910")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One life of a cloud. Times are virtual seconds; rates are chances a message, a batch or an attempt."""

    centres: dict[str, tuple[Node, ...]]
    queued_centres: frozenset[str]  # whose engines have a queue of their own
    mean_job_s: float
    arrivals_per_s: float
    operator_every_s: float
    trouble_every_s: float  # a crash, a node that fails, a link that breaks
    drop: float
    repeat: float
    longest_delay_s: float
    disk_fails: float
    crash_in_write: float
    fault: float  # of a run
    stubborn: float  # runs that ignore a request to stop until they are killed
    timed: float  # jobs that say how long they take
    resumable: float
    elastic: float
    widest: int
    longest_queue: int  # above it nobody submits
    quotas: bool
    tick_s: float
    snapshot_every: int
    slow_disk_s: float  # the longest that a write takes


def steps_of(seed: int) -> int:
    """How long a life is, where nobody says. A step of a long one costs more: restarts read more, bills have more lines."""
    return 3_000 if seed % 10 == 5 else 1_000


def draw(seed: int) -> Plan:
    dice = random.Random(f"plan {seed}")
    centres: dict[str, tuple[Node, ...]] = {}
    cards = 0
    for c in range(dice.choice((1, 2, 2, 3))):
        name, nodes = f"c{c}", []
        for n in range(dice.randint(2, 5)):
            size, chip = dice.choice((1, 2, 4, 4, 8)), dice.choice(CHIPS)
            island = dice.choice(("", "", "i1")) if c else ""
            leaf = dice.choice(("", "s1/l1", "s1/l2"))
            nodes.append(node(f"n{n}", chip, size, island, leaf, counted=False))
            cards += size
        centres[name] = tuple(nodes)
    queued = frozenset(name for name in centres if dice.random() < 0.25)
    for name in queued:
        centres[name] = tuple(node(n.name, n.chip, len(n.cards), n.island, n.leaf, counted=True) for n in centres[name])
    mean_job_s = dice.choice((15.0, 30.0, 30.0, 60.0, 60.0, 300.0))
    widest = max(sum(len(n.cards) for n in nodes if n.chip == chip) for nodes in centres.values() for chip in CHIPS)
    calm = dice.random() < 0.25
    load = dice.choice((0.6, 1.0, 1.5, 2.0))
    return Plan(
        centres=centres,
        queued_centres=queued,
        mean_job_s=mean_job_s,
        arrivals_per_s=load * cards / (mean_job_s * 2.5),
        operator_every_s=mean_job_s * dice.choice((0.3, 1.0, 3.0)),
        trouble_every_s=mean_job_s * (20.0 if calm else dice.choice((2.0, 4.0, 8.0))),
        drop=0.0 if calm else dice.choice((0.0, 0.01, 0.05)),
        repeat=0.0 if calm else dice.choice((0.0, 0.02, 0.05)),
        longest_delay_s=dice.choice((0.01, 0.5, 5.0)),
        disk_fails=0.0 if calm else dice.choice((0.0, 0.001, 0.005)),
        crash_in_write=0.0 if calm else dice.choice((0.0, 0.0003, 0.001)),
        fault=0.02 if calm else dice.choice((0.05, 0.15, 0.3)),
        stubborn=dice.choice((0.0, 0.1, 0.5)),
        timed=dice.choice((0.0, 0.5, 1.0)),
        resumable=dice.choice((0.0, 0.4, 0.8)),
        elastic=dice.choice((0.0, 0.2)),
        widest=widest,
        longest_queue=dice.choice((10, 20, 40)),
        quotas=dice.random() < 0.7,
        tick_s=max(1.0, mean_job_s / 15),
        snapshot_every=dice.choice((150, 400, 1000)),
        slow_disk_s=dice.choice((0.05, 0.05, 4.0)),
    )


def node(name: str, chip: str, size: int, island: str, leaf: str, *, counted: bool) -> Node:
    cards = tuple(Card(index=index) for index in range(size))
    return Node(name=name, chip=chip, cards=cards, island=island, leaf=leaf, counted=counted)
