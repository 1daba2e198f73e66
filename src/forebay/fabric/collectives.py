"""Collectives as rounds of sends, stated once.

Asked:  who sends which chunk to whom, and when, so that every rank ends with what the collective promises?
Answer: stages of rounds. The sends of a round run side by side; the rounds of a stage have the same pairs and equally large
        pieces, so `fabric` prices a stage once, however many rounds it has, and `comm` performs the same sends one by one.
        A buffer is cut into `chunks` equal ones, numbered from 0; ranks are *places* 0 .. n-1 of a group.

        ring             Patarasuk and Yuan, J. Parallel and Distributed Computing 69, 2009
        halving          recursive halving and doubling; other numbers than powers of two fold the rest in and out again
                         (Thakur, Rabenseifner and Gropp, Int. J. High Performance Computing Applications 19, 2005, section 4.4)
        direct           everybody to everybody at once, a chunk each (UB-Mesh, arXiv 2503.20377, section 5)
        tree, double     two trees in which each rank is a leaf of one (Sanders, Speck and Träff, Parallel Computing 35, 2009)
        hierarchical     inside the hosts, then between cards of the same place, then inside again
        pipelined        the same for one slice of the buffer after the other, so that the stages overlap: what NCCL's trees over
                         several NICs come to (NVIDIA/nccl, src/graph/trees.cc)
        rails            as many rings as a host has ranks, each with its part of the buffer and its own way out of the host:
                         what the channels of NCCL's rings come to (NVIDIA/nccl, src/graph/rings.cc)
        bucket           a ring along each side of a torus, all sides and both directions at once (Jain and Sabharwal, ICS 2010)

Limits: a tree's stage lists all its edges; in its first and last rounds, while the pipeline fills, some of them rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from forebay.errors import BadInput, nearest


@dataclass(frozen=True, slots=True)
class Send:
    """Rank `src` sends `count` chunks from `chunk` on to rank `dst`, who adds them to his own (`add`) or keeps them instead."""

    src: int
    dst: int
    chunk: int
    add: bool = False
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Rounds in a row with the same pairs and equally large pieces. It is no list of sends: it can say them, round by round."""

    times: int  # rounds
    count: int  # chunks in a piece
    sends: Callable[[int], list[Send]]  # of a round, places for ranks
    pairs: Callable[[], Iterator[tuple[int, int]]]  # who sends to whom in each of them
    everyone: bool = False  # each to each: too many to list


@dataclass(frozen=True, slots=True, kw_only=True)
class Collective:
    """One way of doing a collective among n places. It says who sends what, never how long that takes."""

    name: str
    n: int
    chunks: int  # into which a rank's buffer is cut
    stages: tuple[Stage, ...]  # of each slice
    slices: int = 1  # the buffer is so many slices of equally many chunks, and the stages are a pipeline

    def rounds(self, ranks: Sequence[int] | None = None) -> Iterator[list[Send]]:
        """All rounds, in order, with these ranks at the places. Stages of a pipeline are at it at once."""
        who, each = range(self.n) if ranks is None else ranks, self.chunks // self.slices
        for wave in range(self.slices + len(self.stages) - 1 if self.stages else 0):
            at_work = [(stage, wave - s) for s, stage in enumerate(self.stages) if 0 <= wave - s < self.slices]
            for r in range(max(stage.times for stage, _ in at_work)):
                yield [
                    Send(who[s.src], who[s.dst], s.chunk + k * each, s.add, s.count)
                    for stage, k in at_work
                    if r < stage.times
                    for s in stage.sends(r)
                ]


def collective(name: str, n: int, *, inner: int = 1, shape: Sequence[int] = (), pieces: int = 32) -> Collective:
    """The collective of that name among n places.

    `inner`: places that stand in a row in one host (hierarchical, pipelined, rails). `shape`: the sides of the torus (bucket).
    `pieces`: into how many a tree cuts what it sends, and a pipeline the buffer. Raises BadInput for another name, or places
    that don't divide.
    """
    if name not in COLLECTIVES:
        hint = ", ".join(nearest(name, list(COLLECTIVES)) or COLLECTIVES)
        raise BadInput("There is no such collective.", asked=name, hint=hint)
    if n < 1:
        raise BadInput("A group has at least one rank.", asked=f"{n} ranks")
    slices = 1
    if name.startswith(("hierarchical", "pipelined", "rails")):
        if inner < 1 or n % inner:
            fits = min((k for k in range(1, n + 1) if n % k == 0), key=lambda k: abs(k - inner))
            raise BadInput("A host's ranks divide the group.", asked=f"{n} ranks, {inner} a host", hint=f"{fits} a host")
        if name.startswith("pipelined"):
            slices = _positive(pieces)
        rails = name.startswith("rails")
        stages, chunks = (_rails(name, n, inner), n * inner) if rails else (_hierarchical(name, n, inner), n * slices)
    elif name == "bucket_all_reduce":
        sides = tuple(shape) or (n,)
        if prod(sides) != n:
            raise BadInput("The torus has as many places as the group.", asked=f"{sides}: {prod(sides)}", found=f"{n} ranks")
        stages, chunks = _bucket(sides)
    elif "tree" in name:
        stages, chunks = _trees(n, 2 if name.startswith("double") else 1, pieces)
    else:
        stages, chunks = COLLECTIVES[name](n)
    kept = tuple(s for s in stages if s.times > 0) if n > 1 else ()
    return Collective(name=name, n=n, chunks=chunks, stages=kept, slices=slices)


def _positive(pieces: int) -> int:
    if pieces < 1:
        raise BadInput("What is sent in pieces is at least one.", asked=f"pieces = {pieces}")
    return pieces


Stages = tuple[list[Stage], int]


def _ring(n: int, *, add: bool, first: int = 0, step: int = 1, rings: Sequence[Sequence[int]] = (), count: int = 1,
          chunk: Callable[[int, int], int] | None = None) -> Stage:  # fmt: skip
    """Rings at once: in round r who stands at place i passes on block i + first - r, which he got the round before."""
    around = rings or [range(n)]

    def sends(r: int) -> list[Send]:
        found = []
        for ring in around:
            for i, place in enumerate(ring):
                block = (i + step * (first - r)) % n
                at = chunk(place, block) if chunk else block * count
                found.append(Send(place, ring[(i + step) % n], at, add, count))
        return found

    return Stage(
        times=n - 1,
        count=count,
        sends=sends,
        pairs=lambda: ((p, ring[(i + step) % n]) for ring in around for i, p in enumerate(ring)),
    )


def _once(sends: list[Send]) -> Stage:
    return Stage(times=1, count=sends[0].count, sends=lambda _: sends, pairs=lambda: ((s.src, s.dst) for s in sends))


def _ring_reduce_scatter(n: int) -> Stages:
    return [_ring(n, add=True)], n


def _ring_all_gather(n: int) -> Stages:
    return [_ring(n, add=False)], n


def _ring_all_reduce(n: int) -> Stages:
    return [_ring(n, add=True), _ring(n, add=False, first=1)], n


def _core(n: int) -> tuple[list[int], int]:
    """The largest power of two of places, when each even place below 2e stands for its neighbour too; and e."""
    p = 1 << (n.bit_length() - 1)
    e = n - p
    return [2 * i for i in range(e)] + list(range(2 * e, n)), e


def _halving(places: list[int]) -> list[Stage]:
    """After it, place j holds the sum of chunk j."""
    p, stages, d = len(places), [], len(places) // 2
    while d >= 1:
        sends = [Send(places[j], places[j ^ d], ((j ^ d) // d) * d, True, d) for j in range(p)]
        stages.append(_once(sends))
        d //= 2
    return stages


def _doubling(places: list[int]) -> list[Stage]:
    p, stages, d = len(places), [], 1
    while d < p:
        stages.append(_once([Send(places[j], places[j ^ d], (j // d) * d, False, d) for j in range(p)]))
        d *= 2
    return stages


def _halving_all_reduce(n: int) -> Stages:
    places, e = _core(n)
    p = len(places)
    fold = [_once([Send(2 * i + 1, 2 * i, 0, True, p) for i in range(e)])] if e else []
    unfold = [_once([Send(2 * i, 2 * i + 1, 0, False, p) for i in range(e)])] if e else []
    return [*fold, *_halving(places), *_doubling(places), *unfold], p


def _doubling_all_reduce(n: int) -> Stages:
    """Few rounds of the whole buffer: for small ones."""
    places, e = _core(n)
    p = len(places)
    fold = [_once([Send(2 * i + 1, 2 * i, 0, True) for i in range(e)])] if e else []
    unfold = [_once([Send(2 * i, 2 * i + 1, 0) for i in range(e)])] if e else []
    swaps = [_once([Send(places[j], places[j ^ (1 << k)], 0, True) for j in range(p)]) for k in range(p.bit_length() - 1)]
    return [*fold, *swaps, *unfold], 1


def _power(n: int, stages: Callable[[list[int]], list[Stage]]) -> Stages:
    if n & (n - 1):
        low = 1 << (n.bit_length() - 1)
        raise BadInput(
            "Halving and doubling alone need a power of two.", asked=f"{n} ranks", hint=f"{low} or {2 * low}, or the ring"
        )
    return stages(list(range(n))), n


def _binomial_broadcast(n: int) -> Stages:
    """Place 0 has it; in each round whoever has it passes the whole on."""
    stages, have = [], 1
    while have < n:
        stages.append(_once([Send(i, i + have, 0) for i in range(min(have, n - have))]))
        have *= 2
    return stages, 1


def _chain_broadcast(n: int) -> Stages:
    """Place 0 has it; n pieces go down a chain, so that all links work at once."""
    chunks = n

    def sends(r: int) -> list[Send]:
        return [Send(i, i + 1, r - i) for i in range(n - 1) if 0 <= r - i < chunks]

    stage = Stage(times=chunks + n - 2, count=1, sends=sends, pairs=lambda: ((i, i + 1) for i in range(n - 1)))
    return [stage], chunks


def _direct_all_to_all(n: int) -> Stages:
    """Chunk i n + j is what place i has for place j; a rank's buffer is n of them."""

    def pairs() -> Iterator[tuple[int, int]]:
        return ((i, j) for i in range(n) for j in range(n) if i != j)

    everyone = Stage(times=1, count=1, sends=lambda _: [Send(i, j, i * n + j) for i, j in pairs()], pairs=pairs, everyone=True)
    return [everyone], n


def _each_to_each(n: int, *, add: bool) -> Stage:
    """Place i holds chunk i in the end (`add`), or at the start: all at once, so that a full mesh uses all its links."""

    def pairs() -> Iterator[tuple[int, int]]:
        return ((i, j) for i in range(n) for j in range(n) if i != j)

    return Stage(
        times=1, count=1, sends=lambda _: [Send(i, j, j if add else i, add) for i, j in pairs()], pairs=pairs, everyone=True
    )


def _direct_all_reduce(n: int) -> Stages:
    return [_each_to_each(n, add=True), _each_to_each(n, add=False)], n


def _pairwise_all_to_all(n: int) -> Stages:
    def shift(k: int) -> Stage:
        def sends(_: int) -> list[Send]:
            return [Send(i, (i + k) % n, i * n + (i + k) % n) for i in range(n)]

        return Stage(times=1, count=1, sends=sends, pairs=lambda: ((i, (i + k) % n) for i in range(n)))

    return [shift(k) for k in range(1, n)], n


def _send_recv(n: int) -> Stages:
    """Each place sends its buffer to the next, as the stages of a pipeline do."""
    return [_once([Send(i, i + 1, i) for i in range(n - 1)])] if n > 1 else [], 1


def _hierarchical(name: str, n: int, inner: int) -> list[Stage]:
    """Block j of a host is n/inner chunks: of each, place j + 1 holds the host's sum between the two steps inside."""
    outer = n // inner
    hosts = [range(h * inner, (h + 1) * inner) for h in range(outer)]
    rails = [range(j, n, inner) for j in range(inner)]

    def chunk(place: int, block: int) -> int:
        """Of the block that a place holds after the ring inside, one of its chunks goes round between the hosts."""
        return (place % inner + 1) % inner * outer + block

    down = [_ring(inner, add=True, rings=hosts, count=outer), _ring(outer, add=True, rings=rails, chunk=chunk)]
    up = [
        _ring(outer, add=False, rings=rails, first=1, chunk=chunk),
        _ring(inner, add=False, rings=hosts, first=1, count=outer),
    ]
    return {"reduce_scatter": down, "all_gather": up}.get(name.split("_", 1)[1], [*down, *up])


def _rails(name: str, n: int, inner: int) -> list[Stage]:
    """Ring c goes through every other host upwards from card c, through the others downwards to it, so it changes hosts between
    cards of the same place. Of its part, n chunks, who stands at place i of it has block i + 1 between sum and gather."""
    turns = [[(c + j) % inner for j in range(inner)] for c in range(inner)]
    rings = [[h * inner + j for h in range(n // inner) for j in (turn if h % 2 == 0 else turn[::-1])] for turn in turns]

    def stage(*, add: bool, first: int) -> Stage:
        def sends(r: int) -> list[Send]:
            return [
                Send(place, ring[(i + 1) % n], c * n + (i + first - r) % n, add)
                for c, ring in enumerate(rings)
                for i, place in enumerate(ring)
            ]

        def pairs() -> Iterator[tuple[int, int]]:
            return ((place, ring[(i + 1) % n]) for ring in rings for i, place in enumerate(ring))

        return Stage(times=n - 1, count=1, sends=sends, pairs=pairs)

    both = [stage(add=True, first=0), stage(add=False, first=1)]
    return {"rails_reduce_scatter": both[:1], "rails_all_gather": both[1:]}.get(name, both)


def _bucket(sides: Sequence[int]) -> Stages:
    """A part of the buffer for each side and direction, each beginning with another side, if all sides are equal; else one for
    each direction, side after side. Places are numbered with the last side fastest."""
    d, n = len(sides), prod(sides)
    together = len(set(sides)) == 1
    starts = range(d) if together else range(1)
    parts = [(q, direction) for q in starts for direction in (1, -1)]
    stride = [prod(sides[k + 1 :]) for k in range(d)]

    def where(place: int, axis: int) -> int:
        return place // stride[axis] % sides[axis]

    def held(place: int, part: int, upto: int) -> int:
        """The first chunk of what a place holds of a part after `upto` sides."""
        q, direction = parts[part]
        at, size = part * n, n
        for k in range(upto):
            axis = (q + k) % d
            size //= sides[axis]
            at += (where(place, axis) + direction) % sides[axis] * size
        return at

    def stage(k: int, *, add: bool) -> Stage:
        side = sides[k % d]
        count = n // prod(sides[j % d] for j in range(k + 1))

        def links() -> Iterator[tuple[int, int, int, int]]:
            for part, (q, direction) in enumerate(parts):
                axis = (q + k) % d
                for place in range(n):
                    i = where(place, axis)
                    yield part, place, i, place + ((i + direction) % side - i) * stride[axis]

        def sends(r: int) -> list[Send]:
            found = []
            for part, place, i, to in links():
                direction = parts[part][1]
                block = (i - direction * (r if add else r - 1)) % side
                found.append(Send(place, to, held(place, part, k) + block * count, add, count))
            return found

        return Stage(times=side - 1, count=count, sends=sends, pairs=lambda: ((a, b) for _, a, _, b in links()))

    scatter = [stage(k, add=True) for k in range(d)]
    gather = [stage(k, add=False) for k in reversed(range(d))]
    return [*scatter, *gather], len(parts) * n


def parent(place: int, n: int) -> int:
    """Of an in-order binary tree with place 0 on top: odd places are leaves. -1 for place 0."""
    if place == 0:
        return -1
    bit = place & -place
    up = (place ^ bit) | (bit << 1)
    return up if up < n else place ^ bit


def _trees(n: int, trees: int, pieces: int) -> Stages:
    """Sums go up and results come down at the same time, piece after piece."""
    _positive(pieces)

    def name(tree: int, place: int) -> int:
        """Who stands at that place of a tree: the second is the first mirrored, or moved by one, so its leaves are others."""
        return place if tree == 0 else (n - 1 - place if n % 2 == 0 else (place + 1) % n)

    depth = [0] * n
    for place in range(1, n):
        at = place
        while at:
            at, depth[place] = parent(at, n), depth[place] + 1
    deepest = max(depth)
    edges = [(tree, place) for tree in range(trees) for place in range(1, n)]

    def sends(r: int) -> list[Send]:
        found = []
        for tree, place in edges:
            low, high = name(tree, place), name(tree, parent(place, n))
            up, down = r - (deepest - depth[place]), r - (deepest + depth[place] - 1)
            found += [Send(low, high, tree * pieces + up, True)] if 0 <= up < pieces else []
            found += [Send(high, low, tree * pieces + down)] if 0 <= down < pieces else []
        return found

    def pairs() -> Iterator[tuple[int, int]]:
        for tree, place in edges:
            low, high = name(tree, place), name(tree, parent(place, n))
            yield low, high
            yield high, low

    return [Stage(times=2 * deepest - 1 + pieces, count=1, sends=sends, pairs=pairs)], trees * pieces


def _special(n: int) -> Stages:
    raise AssertionError("made by `collective` itself, which knows the hosts or the shape")


COLLECTIVES: dict[str, Callable[[int], Stages]] = {
    "ring_all_reduce": _ring_all_reduce,
    "ring_reduce_scatter": _ring_reduce_scatter,
    "ring_all_gather": _ring_all_gather,
    "halving_all_reduce": _halving_all_reduce,
    "halving_reduce_scatter": lambda n: _power(n, _halving),
    "doubling_all_gather": lambda n: _power(n, _doubling),
    "doubling_all_reduce": _doubling_all_reduce,
    "direct_all_reduce": _direct_all_reduce,
    "direct_reduce_scatter": lambda n: ([_each_to_each(n, add=True)], n),
    "direct_all_gather": lambda n: ([_each_to_each(n, add=False)], n),
    "tree_all_reduce": _special,
    "double_tree_all_reduce": _special,
    "hierarchical_all_reduce": _special,
    "hierarchical_reduce_scatter": _special,
    "hierarchical_all_gather": _special,
    "pipelined_all_reduce": _special,
    "pipelined_reduce_scatter": _special,
    "pipelined_all_gather": _special,
    "rails_all_reduce": _special,
    "rails_reduce_scatter": _special,
    "rails_all_gather": _special,
    "bucket_all_reduce": _special,
    "direct_all_to_all": _direct_all_to_all,
    "pairwise_all_to_all": _pairwise_all_to_all,
    "binomial_broadcast": _binomial_broadcast,
    "chain_broadcast": _chain_broadcast,
    "send_recv": _send_recv,
}
