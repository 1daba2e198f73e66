"""Choose a fabric: the cheapest whose training step is within x % of an ideal crossbar's.

Asked:  so many cards, this traffic, these switches on the market. Which wiring, and why not another?
Answer: every family is asked for its candidates (`build.candidates`), each is counted and priced, then timed in order of cost.
        A candidate need not be timed if one that was is no dearer, draws no more, and is as fast as the candidate could be on
        ideal insides (`ideal.crossbar` with its NICs): it cannot enter the front, nor win. So the answer is that of timing all.
        *Front*: those that no other beats in cost, power and step at once. *Winner*: the cheapest within the target.
        Steps are compared in thousandths of the ideal, below which a plan's own noise lies.
Units:  whole micro-units of the book's currency, watts of the network alone, seconds.
Limits: the candidates are what `build.candidates` lists, not every fabric there is. NICs, cards and scale-up are left out of the
        comparison where the book has no price for them. Networks of low diameter are routed by UGAL, others are
        sprayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from forebay.errors import BadInput
from forebay.fabric.build import FAMILIES, build, candidates
from forebay.fabric.design import Design, ScaleUp
from forebay.fabric.ideal import crossbar
from forebay.fabric.loads import Loads
from forebay.fabric.physics import Physics
from forebay.fabric.prices import Power, PriceBook, Quote, power, price
from forebay.fabric.quantities import quantities
from forebay.fabric.routes import Routing
from forebay.fabric.sensitivity import Flip, flips
from forebay.fabric.step import StepTime, hosts_shuffled, sides_reordered, step
from forebay.fabric.timing import Place, place
from forebay.fabric.traffic import Traffic
from forebay.fabric.verify import Verified, verify

LEFT_OUT = ("nic", "card", "scale up switch", "scale up link")  # where the book has no price for them
BENT = ("dragonfly", "dragonfly-plus", "slim-fly", "hyperx")  # where shortest ways collapse
THOUSANDTH = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be wired, out of which switches."""

    cards: int
    cards_per_host: int = 8
    nics_per_host: int = 8
    scale_up: ScaleUp | None = None
    boxes: tuple[tuple[int, float], ...] = ((64, 50e9),)  # switches on offer: ports, bytes a second of a port
    kinds: tuple[str, ...] = ()  # families; (): all that can be built cable by cable
    within: float = 0.05  # of the ideal step
    shuffled: bool = False  # hosts in random order: a target that holds for any placement of whole hosts, not for the best one


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A design with its price and power, not yet timed."""

    name: str
    design: Design
    quote: Quote
    watts: Power
    lacks: tuple[str, ...]  # what has no price; such a candidate is told, and can't win

    @property
    def cost_micro(self) -> int:
        return self.quote.total_micro

    @property
    def network_watts(self) -> float:
        """Without the cards, which draw the same on any fabric."""
        return sum(
            line.n * line.each_watts for line in self.watts.lines if not line.item.startswith("card") or "link" in line.item
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A candidate that was timed, on every traffic."""

    candidate: Candidate
    steps: tuple[StepTime, ...]
    slower: float  # the worst of step over ideal step; 1.0: as the crossbar
    placement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The best that a family has to offer, and why it isn't the winner."""

    kind: str
    best: Scored | None  # the cheapest within the target, else the fastest that was timed
    reaches: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The answer, with what it was chosen from."""

    question: Question
    book: str
    currency: str
    ideal_s: tuple[float, ...]  # of each traffic
    winner: Scored | None
    front: tuple[Scored, ...]  # by cost
    families: tuple[Family, ...]
    scored: tuple[Scored, ...]
    searched: int  # candidates
    beaten: int  # that needed no timing
    unpriced: tuple[Candidate, ...]
    flips: tuple[Flip, ...]  # at which multiple of a price another wins
    verified: tuple[Verified, ...] = ()  # the winner at exact flow level, a traffic each; (): no winner


Tell = Callable[[str, int, int], None]


def choose(
    question: Question,
    traffics: Sequence[Traffic],
    book: PriceBook,
    physics: Physics | None = None,
    tell: Tell | None = None,
    *,
    all_of_them: bool = False,
) -> Choice:
    """The cheapest fabric within the target. `all_of_them` times every candidate, for who doubts. Raises BadInput for a question
    that can't be, or that nothing answers."""
    said = tell or (lambda what, done, of: None)
    _check(question, traffics)
    priced = _priced(question, book, said)
    whole = sorted((c for c in priced if not c.lacks), key=lambda c: (c.cost_micro, c.network_watts, c.name))
    if not whole:
        lacks = sorted({item for c in priced for item in c.lacks})
        raise BadInput(
            "No candidate can be priced." if priced else "No family can be built for so many cards out of these switches.",
            asked=f"{question.cards} cards, book {book.name}",
            found="without a price: " + ", ".join(lacks) if lacks else "",
            hint="a book that has them: forebay fabric price --help" if lacks else "switches of more ports",
        )
    ideal = _ideal(question, question.nics_per_host, traffics, physics, scale_up=question.scale_up)
    floors: dict[tuple[int, ScaleUp | None, float], float] = {}
    scored: list[Scored] = []
    known: dict[Design, dict[tuple[int, bytes, bytes], Loads]] = {}
    beaten = 0
    for number, candidate in enumerate(whole):
        said(candidate.name, number, len(whole))
        floor = _floor(candidate.design, question, traffics, physics, ideal, floors)
        if not all_of_them and any(_beats(one, candidate, floor) for one in scored):
            beaten += 1
            continue
        scored.append(_timed(candidate, question, traffics, ideal, physics, known))
    said("", len(whole), len(whole))
    front = _front(scored)
    reached = [one for one in front if _thousandths(one.slower) <= 1 + question.within]
    winner = reached[0] if reached else None
    within = {one.candidate.name: one.candidate.quote for one in scored if _thousandths(one.slower) <= 1 + question.within}
    return Choice(
        question=question,
        book=book.name,
        currency=book.currency,
        ideal_s=ideal,
        winner=winner,
        front=tuple(front),
        families=tuple(_families(question, scored, priced, winner)),
        scored=tuple(scored),
        searched=len(priced),
        beaten=beaten,
        unpriced=tuple(c for c in priced if c.lacks),
        flips=flips(within) if len(within) > 1 else (),
        verified=_verified(winner, question, traffics, physics) if winner else (),
    )


def routing_for(design: Design | None) -> Routing:
    """UGAL where shortest ways collapse under unlucky traffic, else spraying."""
    return Routing(kind="ugal" if design and design.kind in BENT else "spray")


def best_step(at: Place, traffic: Traffic, *, shuffled: bool = False) -> tuple[StepTime, str]:
    """The step on the best of the placements that a direct network deserves: its sides of the grid may lie either way."""
    if shuffled:
        return step(at, traffic, hosts_shuffled(at.wiring, traffic.ranks)), "hosts shuffled"
    found = [(step(at, traffic), "in order")]
    if at.wiring.direct and len(traffic.grid) > 2:
        first, *middle, last = traffic.grid
        found.append((step(at, traffic, sides_reordered(traffic, (first, last, *middle))), f"{last} before {middle[0]}"))
    return min(found, key=lambda one: one[0].seconds)


def _check(question: Question, traffics: Sequence[Traffic]) -> None:
    q = question
    if q.cards < 1 or q.cards_per_host < 1 or q.cards % q.cards_per_host:
        near = max(1, round(q.cards / max(1, q.cards_per_host))) * max(1, q.cards_per_host)
        raise BadInput("The cards fill whole hosts.", asked=f"{q.cards} cards, {q.cards_per_host} a host", hint=f"{near} cards")
    if not 0 <= q.within < 10:
        raise BadInput("The target is a share of the ideal step.", asked=f"within {q.within}", hint="5%")
    if not traffics:
        raise BadInput("A fabric is chosen for some traffic.", hint="--model dense-405b")
    for kind in q.kinds:
        if kind not in FAMILIES:
            raise BadInput("No family of fabrics has that name.", asked=kind, hint=", ".join(FAMILIES))
    for t in traffics:
        if t.ranks > q.cards:
            raise BadInput(
                "The traffic has more ranks than there are cards.", asked=f"{t.name}: {t.ranks}", found=f"{q.cards} cards"
            )


def _priced(question: Question, book: PriceBook, tell: Tell) -> list[Candidate]:
    kinds = question.kinds or tuple(kind for kind in FAMILIES if kind not in ("full-mesh", "supernode"))
    found: dict[Design, Candidate] = {}
    for done, kind in enumerate(kinds):
        tell(kind, done, len(kinds))
        for design in _designs(kind, question):
            if design in found or design.cards < question.cards:
                continue
            try:
                counted = quantities(design)
            except BadInput:
                continue  # too large to be laid
            quote = price(counted, book)
            lacks = tuple(one.item for one in quote.unpriced if one.item not in LEFT_OUT)
            name = named(design, question)
            found[design] = Candidate(name=name, design=design, quote=quote, watts=power(counted, book), lacks=lacks)
    return list(found.values())


def _designs(kind: str, q: Question) -> Iterator[Design]:
    for ports, speed in q.boxes:
        made = candidates(
            kind,
            q.cards // q.cards_per_host,
            cards_per_host=q.cards_per_host,
            nics_per_host=q.nics_per_host,
            switch_ports=ports,
            port_bytes_per_s=speed,
            scale_up=q.scale_up,
        )
        yield from made
        if kind in ("torus", "nd-full-mesh"):
            for design in made:  # cards that are their own network may have more ports: up to one a cable
                cables = 2 * len(design.shape) if kind == "torus" else sum(side - 1 for side in design.shape)
                for ports_a_card in sorted({cables, -(-cables // 2), -(-cables // 4)} - {q.nics_per_host // q.cards_per_host}):
                    yield replace(design, nics_per_host=ports_a_card * q.cards_per_host)


def named(design: Design, question: Question | None = None) -> str:
    """ "rail-only 2:1, 2 planes": a kind with what sets it apart."""
    words = [design.kind]
    words += [f"{design.oversubscription:g}:1"] if design.oversubscription != 1 and design.tiers != 1 else []
    words += ["x".join(map(str, design.shape))] if design.shape else []
    words += [f"{design.tiers} tiers"] if design.tiers and design.kind == "rail-optimised" else []
    words += [f"{design.planes} planes"] if design.planes > 1 else []
    words += [f"{design.concentration} a switch"] if design.concentration else []
    words += [f"{design.parallel} cables"] if design.parallel > 1 else []
    if question and design.nics_per_host != question.nics_per_host:
        words += [f"{design.nics_per_host // design.cards_per_host} ports a card"]
    if question and len(question.boxes) > 1:
        words += [f"of {design.switch_ports} ports"]
    return " ".join(words)


def _ideal(
    question: Question,
    nics: int,
    traffics: Sequence[Traffic],
    physics: Physics | None,
    *,
    scale_up: ScaleUp | None,
    speed: float = 0.0,
) -> tuple[float, ...]:
    """The step of each traffic on a crossbar of the fastest ports on offer."""
    design = Design(
        kind="crossbar",
        hosts=question.cards // question.cards_per_host,
        cards_per_host=question.cards_per_host,
        nics_per_host=nics,
        port_bytes_per_s=speed or max(one for _, one in question.boxes),
        scale_up=scale_up,
    )
    at = place(crossbar(design), physics=physics)
    return tuple(step(at, traffic).seconds for traffic in traffics)


def _floor(
    design: Design,
    question: Question,
    traffics: Sequence[Traffic],
    physics: Physics | None,
    ideal: tuple[float, ...],
    known: dict[tuple[int, ScaleUp | None, float], float],
) -> float:
    """How slow this candidate is at the least: its NICs on an ideal inside."""
    key = (design.nics_per_host, design.scale_up, design.port_bytes_per_s)
    if key not in known:
        own = _ideal(question, key[0], traffics, physics, scale_up=key[1], speed=key[2])
        known[key] = max(a / b for a, b in zip(own, ideal, strict=True))
    return known[key]


def _verified(winner: Scored, question: Question, traffics: Sequence[Traffic], physics: Physics | None) -> tuple[Verified, ...]:
    wiring = build(winner.candidate.design)
    at = place(wiring, routing_for(wiring.design), physics)
    seats = [hosts_shuffled(wiring, t.ranks) if question.shuffled else None for t in traffics]
    return tuple(verify(at, t, seat) for t, seat in zip(traffics, seats, strict=True))


def _timed(
    candidate: Candidate,
    question: Question,
    traffics: Sequence[Traffic],
    ideal: Sequence[float],
    physics: Physics | None,
    known: dict[Design, dict[tuple[int, bytes, bytes], Loads]],
) -> Scored:
    wiring = build(candidate.design)
    # A direct network with more ports a card has the same ways at another speed.
    same = known.setdefault(replace(candidate.design, nics_per_host=question.nics_per_host), {}) if wiring.direct else None
    at = place(wiring, routing_for(wiring.design), physics, same)
    found = [best_step(at, traffic, shuffled=question.shuffled) for traffic in traffics]
    slower = max(one.seconds / best for (one, _), best in zip(found, ideal, strict=True))
    return Scored(candidate=candidate, steps=tuple(one for one, _ in found), slower=slower, placement=found[0][1])


def _thousandths(slower: float) -> float:
    return round(slower / THOUSANDTH) * THOUSANDTH if slower < float("inf") else slower


def _beats(one: Scored, candidate: Candidate, floor: float) -> bool:
    """It was timed, costs and draws no more, and is as fast as the candidate could ever be."""
    cheaper = one.candidate.cost_micro <= candidate.cost_micro and one.candidate.network_watts <= candidate.network_watts
    return cheaper and _thousandths(one.slower) <= _thousandths(floor)


def _front(scored: Iterable[Scored]) -> list[Scored]:
    """Those that no other beats, by cost; of equals the first."""
    front: list[Scored] = []
    for one in sorted(
        scored, key=lambda s: (s.candidate.cost_micro, s.candidate.network_watts, _thousandths(s.slower), s.candidate.name)
    ):
        if one.slower < float("inf") and not any(_beats(other, one.candidate, one.slower) for other in front):
            front.append(one)
    return front


def _families(
    question: Question, scored: Sequence[Scored], priced: Sequence[Candidate], winner: Scored | None
) -> Iterator[Family]:
    timed: dict[str, list[Scored]] = {}
    for one in scored:
        timed.setdefault(one.candidate.design.kind, []).append(one)
    listed = dict.fromkeys(c.design.kind for c in priced)
    for kind in question.kinds or FAMILIES:
        mine = timed.get(kind, [])
        good = [one for one in mine if _thousandths(one.slower) <= 1 + question.within]
        best = min(good, key=lambda s: s.candidate.cost_micro) if good else min(mine, key=lambda s: s.slower, default=None)
        yield Family(kind=kind, best=best, reaches=bool(good), why=_why(kind, best, bool(good), winner, kind in listed, priced))


def _why(kind: str, best: Scored | None, good: bool, winner: Scored | None, listed: bool, priced: Sequence[Candidate]) -> str:
    if kind in ("full-mesh", "supernode"):
        return "not searched: " + ("no card has so many ports" if kind == "full-mesh" else "a scale-up fabric, for under another")
    if not listed:
        return "can't be built for so many cards out of these switches"
    if best is None:
        lacks = sorted({item for c in priced if c.design.kind == kind for item in c.lacks})
        whole = [c for c in priced if c.design.kind == kind and not c.lacks]
        if not whole:
            return f"no price for {', '.join(lacks)}"
        cheapest = min(whole, key=lambda c: c.cost_micro)
        more = cheapest.cost_micro / winner.candidate.cost_micro - 1 if winner else 0.0
        return f"its cheapest, {cheapest.name}, costs {more:.1%} more, and none is faster than one that costs less"
    if winner and best.candidate is winner.candidate:
        return "the winner"
    if not good:
        if best.slower == float("inf"):
            return "ranks find no way to each other"
        worst = max(best.steps, key=lambda s: s.exposed_s)
        link = worst.busiest[0].link if worst.busiest else "-"
        return f"{best.slower - 1:.1%} over the ideal; busiest: {link}"
    if winner is None:
        return ""
    more = best.candidate.cost_micro / max(1, winner.candidate.cost_micro) - 1
    return f"costs {more:.1%} more" if more > 0 else f"costs as much, draws {best.candidate.network_watts / 1e3:.0f} kW"


def by_name(choice: Choice) -> Mapping[str, Scored]:
    return {one.candidate.name: one for one in choice.scored}
