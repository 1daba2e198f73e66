"""A full mesh too large to be laid: what its links carry, by rule.

Asked:  10,000 cards, each joined to the other 9,999. How long does a step take, without 99,990,000 links in memory?
Answer: on shortest ways a pair of cards has its cable for itself, so only pairs that send are kept. On Valiant's detours every
        cable from x to y carries an equal part of all that x sends and of all that y gets, by way of any of the N cards. So the
        load of any link is  direct(x, y) + out(x) + into(y):  a sparse table and two rows, and it stays that under adding up and
        multiplying. UGAL is the best fixed mix of the two, as in `loads`. Groups whose pairs are too many to be kept are kept as
        labels: "so much between any two cards of one label".
Units:  seconds of work of a link for each byte of a piece.
Limits: whole meshes. Where groups of more than `LISTED` pairs overlap other traffic of a window, the busiest link is bounded
        from above (that some pair has all of them). The same numbers as the laid mesh gives (tests/fabric/test_mesh.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.build import fill
from forebay.fabric.build.lay import card_bytes_per_s, hosts
from forebay.fabric.collectives import Stage
from forebay.fabric.design import Design
from forebay.fabric.loads import LISTED, best_share
from forebay.fabric.physics import Physics
from forebay.fabric.rates import Longs
from forebay.fabric.routes import Routing
from forebay.fabric.wiring import Floats, Ints

KEPT = 64  # rounds that a place remembers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mesh:
    """What a full mesh is, said without its cables: it stands where a Wiring does, for who times."""

    name: str
    design: Design
    host_of: Ints  # (N,)
    rail_of: Ints
    domain_of: Ints
    scale_up_bytes_per_s: float
    cable_bytes_per_s: float  # of each of its cables, each way
    direct: bool = True

    @property
    def cards(self) -> int:
        return len(self.host_of)

    @property
    def hosts(self) -> int:
        return int(self.host_of.max()) + 1

    def card_name(self, card: int) -> str:
        return f"host {int(self.host_of[card])} card {int(self.rail_of[card])}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """How long each link works. It adds up and multiplies as an array of all links would."""

    pair: Longs  # (K,) x N + y, sorted: cables that carry something of their own
    direct: Floats  # (K,)
    out: Floats  # (N,) what each cable that leaves x carries for detours
    into: Floats  # (N,) and each that ends at y
    up: Floats  # (2 N,) scale-up: out of and into each card
    blocks: tuple[tuple[Ints, float], ...] = ()  # labels (N,), and the work between any two cards of one label

    def __add__(self, other: Work) -> Work:
        pair, place = np.unique(np.concatenate([self.pair, other.pair]), return_inverse=True)
        return Work(
            pair=pair,
            direct=np.bincount(place, np.concatenate([self.direct, other.direct]), minlength=len(pair)).astype(np.float64),
            out=self.out + other.out,
            into=self.into + other.into,
            up=self.up + other.up,
            blocks=(*self.blocks, *other.blocks),
        )

    def __mul__(self, times: float) -> Work:
        blocks = tuple((label, times * work) for label, work in self.blocks)
        return Work(pair=self.pair, direct=times * self.direct, out=times * self.out, into=times * self.into, up=times * self.up,
                    blocks=blocks)  # fmt: skip

    def max(self, initial: float = 0.0) -> float:
        """Of the busiest link."""
        return max(initial, self.cable()[0], float(self.up.max(initial=0.0)))

    def cable(self) -> tuple[float, int, int]:
        """The busiest cable: how long it works, from which card, to which."""
        n = len(self.out)
        work, x, y = _apart(self.out, self.into)
        work += sum(each for _, each in self.blocks)
        if len(self.pair):
            own = self.direct + self.out[self.pair // n] + self.into[self.pair % n]
            for label, each in self.blocks:
                own += each * (label[self.pair // n] == label[self.pair % n])
            k = int(np.argmax(own))
            if own[k] >= work:
                return float(own[k]), int(self.pair[k] // n), int(self.pair[k] % n)
        return work, x, y


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeshPlace:
    """Where collectives are timed, as `timing.Place` is for what is laid."""

    wiring: Mesh
    routing: Routing
    physics: Physics
    known: dict[tuple[int, bytes, bytes], tuple[Work, float]] = field(default_factory=dict)

    def idle(self) -> Work:
        n = self.wiring.cards
        return Work(pair=np.zeros(0, np.int64), direct=np.zeros(0), out=np.zeros(n), into=np.zeros(n), up=np.zeros(2 * n))

    def round(self, stage: Stage, cards: Ints) -> tuple[Work, float]:
        """A round for each byte of a piece, in all groups (G, n): the work of the links, and how many a piece crosses."""
        pairs = np.zeros((0, 2), np.int32) if stage.everyone else np.array(list(stage.pairs()), np.int32).reshape(-1, 2)
        key = (cards.shape[1], cards.tobytes(), pairs.tobytes())
        if key not in self.known:
            if len(self.known) >= KEPT:
                self.known.clear()
            few = cards.size * (cards.shape[1] - 1) <= LISTED
            if stage.everyone and few:
                i, j = np.nonzero(~np.eye(cards.shape[1], dtype=bool))
                pairs = np.stack([i, j], axis=1)
            whole = stage.everyone and not few
            self.known[key] = _grouped(self, cards) if whole else _listed(self, cards[:, pairs[:, 0]], cards[:, pairs[:, 1]])
        return self.known[key]


def mesh(design: Design) -> Mesh:
    """A full mesh of any size. Raises BadInput for another family."""
    if design.kind != "full-mesh":
        raise BadInput("Only a full mesh is timed without being laid.", asked=design.kind, hint="kind = full-mesh")
    d = fill(design)
    base: dict[str, Any] = hosts(d)
    return Mesh(
        name=f"Full mesh of {d.cards:,} cards",
        design=d,
        host_of=base["host_of"],
        rail_of=base["rail_of"],
        domain_of=base["domain_of"],
        scale_up_bytes_per_s=base["scale_up_bytes_per_s"],
        cable_bytes_per_s=card_bytes_per_s(d) / (d.cards - 1),
    )


def place_mesh(wiring: Mesh, routing: Routing | None = None, physics: Physics | None = None) -> MeshPlace:
    """Raises BadInput for hashed ways: a pair has one shortest way, which is the sprayed one."""
    ways = routing or Routing()
    if ways.kind == "ecmp":
        ways = Routing()
    return MeshPlace(wiring=wiring, routing=ways, physics=physics or Physics())


def _listed(at: MeshPlace, source: Any, target: Any) -> tuple[Work, float]:
    """Pairs that are told one by one, (F,): a byte each."""
    w, n = at.wiring, at.wiring.cards
    source, target = source.reshape(-1).astype(np.int64), target.reshape(-1).astype(np.int64)
    near = (w.domain_of[source] == w.domain_of[target]) & (w.scale_up_bytes_per_s > 0)
    far = ~near & (source != target)
    near &= source != target
    up = np.stack([np.bincount(source[near], minlength=n), np.bincount(target[near], minlength=n)], axis=1).reshape(-1)
    pair, count = np.unique(source[far] * n + target[far], return_counts=True)
    sent, got = np.bincount(source[far], minlength=n), np.bincount(target[far], minlength=n)
    return _mixed(at, pair, count.astype(np.float64), sent, got, up, len(source))


def _grouped(at: MeshPlace, cards: Ints) -> tuple[Work, float]:
    """Every card of a group to every other: counted, not listed."""
    w, n = at.wiring, at.wiring.cards
    count, width = cards.shape
    label = -np.arange(1, n + 1, dtype=np.int32)  # who is in no group is alone
    label[cards] = np.arange(count, dtype=np.int32)[:, None]
    members = cards.reshape(-1)
    near = np.zeros(n, np.int64)
    if w.scale_up_bytes_per_s > 0:
        _, home, together = np.unique(label[members].astype(np.int64) * n + w.domain_of[members], return_inverse=True,
                                      return_counts=True)  # fmt: skip
        near[members] = together[home] - 1
    sent = np.zeros(n, np.int64)
    sent[members] = width - 1 - near[members]
    block = ((label, 1.0),) if sent.any() else ()
    none = np.zeros(0, np.int64)
    return _mixed(at, none, np.zeros(0), sent, sent, np.repeat(near, 2), members.size * (width - 1), block)


def _mixed(
    at: MeshPlace,
    pair: Longs,
    count: Floats,
    sent: Any,
    got: Any,
    up: Any,
    flows: int,
    blocks: tuple[tuple[Ints, float], ...] = (),
) -> tuple[Work, float]:
    """Bytes as work: straight, on Valiant's detours, or in UGAL's best mix."""
    w, n = at.wiring, at.wiring.cards
    cable = w.cable_bytes_per_s * at.physics.efficiency
    scale_up = up / (w.scale_up_bytes_per_s * at.physics.efficiency) if up.any() else np.zeros(2 * n)
    straight = Work(pair=pair, direct=count / cable, out=np.zeros(n), into=np.zeros(n), up=scale_up,
                    blocks=tuple((label, work / cable) for label, work in blocks))  # fmt: skip
    around = Work(pair=pair[:0], direct=count[:0], out=sent / n / cable, into=got / n / cable, up=scale_up)
    share = {"valiant": 1.0, "ugal": _share(straight, around)}.get(at.routing.kind, 0.0) if sent.any() else 0.0
    work = straight * (1 - share) + around * share if 0 < share < 1 else around if share else straight
    legs = (1 - share) * float(sent.sum()) + share * float(sent.sum() + got.sum()) * (n - 1) / n
    return work, (2 * flows + legs) / max(1, flows)  # a port, or a scale-up link, at each end


def _share(straight: Work, around: Work) -> float:
    """How much goes round: the best mix, as `loads` has it for all links. Of links that are alike one is looked at."""
    n = len(straight.out)
    detour = around.out[straight.pair // n] + around.into[straight.pair % n]
    widest = _apart(around.out, around.into)[0]
    rows = np.stack([straight.direct, detour], axis=1)
    bare = [[sum(work for _, work in straight.blocks), widest], [straight.up.max(initial=0.0)] * 2]
    found = np.unique(np.concatenate([rows, bare]), axis=0)
    return best_share(found[:, 0], found[:, 1])


def _apart(out: Floats, into: Floats) -> tuple[float, int, int]:
    """The largest out(x) + into(y) of two different cards."""
    x, y = int(np.argmax(out)), int(np.argmax(into))
    if x != y or len(out) < 2:
        return float(out[x] + into[y]), x, y
    one, two = np.delete(np.arange(len(out)), x), np.delete(np.arange(len(out)), y)
    x2, y2 = int(one[np.argmax(out[one])]), int(two[np.argmax(into[two])])
    return max((float(out[x] + into[y2]), x, y2), (float(out[x2] + into[y]), x2, y))
