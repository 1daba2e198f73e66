"""Why this plan and not its neighbour?

Asked:  a plan on a pool. What would twice the tensor degree, or another schedule, have cost?
Answer: one degree is changed, the data degree takes up the cards again, the rest is changed only where it must be
        (`neighbour`); memory (`memory.fullest`) and seconds (`time.step`) are reckoned again, and the difference is told part by
        part. A plan that recomputes no more than it must lets its neighbours do the same, as the search does.
Units:  seconds a step, bytes of the fullest card.
Limits: one degree at a time, on cards of one kind; neighbours have equal stages. Of other plans only layers and memory are told,
        stage by stage: what a neighbour of theirs is, is a search of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from forebay.errors import BadInput, nearest
from forebay.plan.abilities import Abilities, abilities
from forebay.plan.calibration import Calibration
from forebay.plan.cuts import Cuts, cuts
from forebay.plan.detail import breakdown
from forebay.plan.export.exported import layers_in_words
from forebay.plan.framework import Framework, framework
from forebay.plan.kernels.known import device_of
from forebay.plan.knowledge import Known, known
from forebay.plan.memory import even, fullest, memory
from forebay.plan.model import Workload
from forebay.plan.neighbour import DEGREES, changed, neighbour, neighbours
from forebay.plan.one_kind import fitted
from forebay.plan.plan import RECOMPUTE, Plan
from forebay.plan.pool import Cards, Pool
from forebay.plan.space import allowed, runs
from forebay.plan.time import step
from forebay.plan.wishes import Wishes
from forebay.units import show_bytes

PARTS: Mapping[str, str] = {
    "products": "matrix products",
    "attention": "attention",
    "traffic": "memory traffic",
    "launch": "waiting for the host",
    "tensor": "tensor transfers",
    "context": "context transfers",
    "expert": "experts' exchange",
    "bubble": "pipeline waiting",
    "sends": "sends between stages",
    "data": "transfers of gradients and weights",
    "optimizer": "optimizer",
    "stragglers": "waiting for the slowest card",
    "fixed": "host work",
}
TOLD = 3  # differences that the words name
LEAST = 0.001  # of a step: what differs by less is not named


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """One neighbour of a plan, and what it would change. It judges nothing that it can't price."""

    degree: str  # one of neighbour.DEGREES, or "layers": of a stage of a mixed plan, or equal ones for unequal ones
    here: str
    other: str  # "": nothing to compare with
    fits: bool
    seconds: float | None  # a step of the other; None: not priced
    memory_bytes: int  # of the other's fullest card
    parts: Mapping[str, float] = field(default_factory=dict)  # seconds of the other less those of this plan, by part
    plan: Plan | None = None  # the other, whole
    words: str = ""


def explain(
    work: Workload,
    pool: Pool,
    plan: Plan,
    degree: str | None = None,
    calibrations: Iterable[Calibration] = (),
    *,
    other: str = "",
    wishes: Wishes | None = None,
) -> tuple[Why, ...]:
    """The neighbours of every degree, or of one; or the one neighbour whose degree is `other`.

    `wishes` are those that the plan was chosen with: its framework, its spare memory, and what they rule out.
    Raises BadInput for a degree that is none, a value that can't be, and a plan that the pool has no cards for.
    """
    if degree is not None and degree not in DEGREES:
        raise BadInput("No degree has that name.", asked=degree, hint=", ".join(nearest(degree, list(DEGREES)) or DEGREES))
    # Neighbours of stages that recompute or are cut differently are those of the plan in which all recompute the most, and have
    # equal layers.
    most = (max(plan.recompute, key=RECOMPUTE.index),)
    alike = replace(plan, recompute=most, layers=() if len(plan.need()) == 1 else plan.layers)
    if not even_stages(alike):
        return _by_stage(work, pool, plan)
    cards = held(pool, plan)
    wishes = wishes or Wishes()
    uses = framework(wishes.framework)
    knows = known(cards, work.number_format, uses, calibrations, wishes.imbalance)
    ask = _Ask(work, cards, uses, knows, plan, wishes)
    if degree is not None and other:
        return (ask.why(degree, other, neighbour(work, alike, degree, other)),)
    names = DEGREES if degree is None else (degree,)
    equal = (ask.equal(),) if plan.layers and degree is None else ()
    return equal + tuple(ask.why(name, value, found) for name in names for value, found in neighbours(work, alike, name))


def even_stages(plan: Plan) -> bool:
    """Is the plan on cards of one kind, its stages, data ranks and recomputing alike?"""
    return not (plan.data_chips or plan.layers or plan.shares or len(plan.need()) > 1 or len(set(plan.recompute)) > 1)


def held(pool: Pool, plan: Plan) -> Cards:
    """The pool's cards that an even plan is for. Raises BadInput."""
    if len(plan.need()) > 1:
        raise BadInput(
            "The plan is over several kinds of cards; this is asked of plans on one.",
            asked=", ".join(f"{count} x {chip}" for chip, count in plan.need().items()),
            hint="another choice of the menu, or a plan on one kind",
        )
    ((chip, count),) = plan.need().items()
    fitting = [one for name, one in pool.by_kind.items() if chip in (name, one.chip) and one.count >= count]
    if not fitting:
        raise BadInput(
            "The pool hasn't the cards of the plan.",
            asked=f"{count} x {chip}",
            found=", ".join(f"{one.count} x {name}" for name, one in pool.by_kind.items()),
            hint=f"--on {chip}:{count}",
        )
    return fitting[0]


@dataclass(frozen=True, slots=True)
class _Ask:
    work: Workload
    cards: Cards
    software: Framework
    knows: Known
    plan: Plan
    wishes: Wishes

    def why(self, degree: str, value: str, found: Plan) -> Why:
        has = self.knows.room(self.wishes.spare)
        can = abilities(self.software.name)
        have = can.piped if len(found.stages) > 1 else can.zero
        if degree != "zero" and found.zero not in have:
            found = replace(found, zero=min((one for one in have if one > found.zero), default=max(have)))
        kept = cuts([found])
        asked = float(fullest(self.work, kept)[0])
        if degree not in ("recompute", "offload"):
            kept = self._remembered(kept, has)
        other = kept.plan(0, found.stages[0])
        needs = float(fullest(self.work, kept)[0])
        now, then = self._parts(self.plan), self._parts(other)
        parts = {name: then.get(name, 0.0) - now.get(name, 0.0) for name in PARTS if name in now or name in then}
        here_s, there_s = sum(now.values()), sum(then.values())
        said = told(parts, here_s, there_s)
        if asked > has:
            lacks = f"needs {show_bytes(asked)} a card, {self.cards.chip} has {show_bytes(has)}"
            said = f"{lacks}; made to fit: {said}" if needs <= has else lacks
        if not self._runs(degree, value, found, can):
            said += f"; {self.software.name} doesn't run it"
        if not wished(self.wishes, degree, value):
            said += "; the wishes rule it out"
        else_ = [one for one in changed(self.plan, other) if not one.startswith(f"{degree} ")]
        else_ += ["equal layers"] if self.plan.layers else []
        return Why(
            degree=degree,
            here=_value(self.plan, degree),
            other=value,
            fits=needs <= has,
            seconds=there_s,
            memory_bytes=int(needs),
            parts=parts,
            plan=other,
            words=f"{degree} {value} instead of {_value(self.plan, degree)}: {said}"
            + (f" (then {', '.join(else_)})" if else_ else ""),
        )

    def equal(self) -> Why:
        """What equal stages would cost, with the recomputing that makes them fit."""
        has = self.knows.room(self.wishes.spare)
        m, cut = self.work.model, len(self.plan.stages) * self.plan.chunks
        if self.plan.chunks > 1 and (m.layers + m.predicted) % cut:
            words = f"equal layers instead of {layers_in_words(self.plan.layers)}: {cut} pieces don't divide {m.layers} layers"
            return Why(degree="layers", here=layers_in_words(self.plan.layers), other="equal", fits=False, seconds=None,
                       memory_bytes=0, words=words)  # fmt: skip
        said = even(m.layers, len(self.plan.stages), False, m.predicted) if self.plan.chunks == 1 else ()
        kept, needs = fitted(self.work, cuts([replace(self.plan, layers=said)]), has, self.wishes)
        best = kept[np.argsort(np.where(needs <= has, self._seconds(kept), np.inf))[:1]]
        other = best.plan(0, self.plan.stages[0])
        now, then = self._parts(self.plan), self._parts(other)
        parts = {name: then.get(name, 0.0) - now.get(name, 0.0) for name in PARTS if name in now or name in then}
        asked, most = float(fullest(self.work, best)[0]), layers_in_words(self.plan.layers)
        words = f"needs {show_bytes(asked)} a card, {self.cards.chip} has {show_bytes(has)}"
        if asked <= has:
            words = told(parts, sum(now.values()), sum(then.values()))
        more = changed(self.plan, other)
        return Why(
            degree="layers",
            here=most,
            other="equal",
            fits=asked <= has,
            seconds=sum(then.values()),
            memory_bytes=int(asked),
            parts=parts,
            plan=other,
            words=f"equal layers instead of {most}: {words}" + (f" (then {', '.join(more)})" if more else ""),
        )

    def _seconds(self, found: Cuts) -> Any:
        return np.asarray(step(self.work, self.knows.site, found).total)

    def _runs(self, degree: str, value: str, found: Plan, can: Abilities) -> bool:
        """Does the framework run the neighbour?"""
        lacking = {
            "schedule": value not in self.software.schedules,
            "recompute": value in can.lacks,
            "offload": value != "none" and "offload" in can.lacks,
            "inner": value != "data" and "inner" in can.lacks,
        }
        stages = len(found.stages)
        degrees = runs(can, tensor=found.tensor, context=found.context, stages=stages)
        return degrees and found.zero in (can.piped if stages > 1 else can.zero) and not lacking.get(degree, False)

    def _remembered(self, found: Cuts, has: float) -> Cuts:
        """What costs memory for speed: as in the plan where that is more than it must be and fits, or the least that fits."""
        own = cuts([self.plan])
        least, _ = fitted(self.work, own, has, self.wishes)
        spare = least.recompute[0] != own.recompute[0] or least.offload[0] != own.offload[0]
        if spare and fullest(self.work, found)[0] <= has:
            return found
        best, needs = fitted(self.work, found, has, self.wishes)
        return best if needs[0] <= has else found

    def _parts(self, plan: Plan) -> dict[str, float]:
        return breakdown(step(self.work, self.knows.site, cuts([plan])))


def wished(wishes: Wishes, degree: str, value: str) -> bool:
    """Do the wishes allow this value of a degree?"""
    words = {"recompute": wishes.recompute, "schedule": wishes.schedules}.get(degree, ())
    if degree == "offload":
        return wishes.offload or value == "none"
    return allowed(wishes, degree, int(value)) if value.isdigit() else not words or value in words


def told(parts: Mapping[str, float], here_s: float, there_s: float) -> str:
    """ "+12.0 %: 3.1 s more of pipeline waiting, 0.4 s less of tensor transfers"."""
    large = sorted((one for one in parts.items() if abs(one[1]) >= LEAST * here_s), key=lambda one: -abs(one[1]))[:TOLD]
    if not large:
        return "the same time"
    words = ", ".join(f"{_seconds(abs(s))} {'more' if s > 0 else 'less'} of {PARTS[name]}" for name, s in large)
    return f"{100 * (there_s / here_s - 1):+.1f} %: {words}"


def _seconds(s: float) -> str:
    return f"{s:.2g} s" if s < 9.5 else f"{s:.0f} s"


def _value(plan: Plan, degree: str) -> str:
    found = getattr(plan, degree)
    if degree == "stages":
        return str(len(found))
    return " and ".join(dict.fromkeys(found)) if degree == "recompute" else str(found)


def _by_stage(work: Workload, pool: Pool, plan: Plan) -> tuple[Why, ...]:
    """Layers and memory of each stage of an uneven plan."""
    has = {name: float(device_of(one).memory_bytes) for name, one in pool.by_kind.items()}
    lacking = [chip for chip in plan.need() if chip not in has]
    if lacking:
        raise BadInput("The pool hasn't the cards of the plan.", asked=", ".join(lacking), found=", ".join(has))
    layers = plan.layers or even(work.model.layers, len(plan.stages), plan.ends, work.model.predicted)
    found = []
    for i, (one, n, chip) in enumerate(zip(memory(work, plan), layers, plan.stages, strict=True)):
        chips = tuple(dict.fromkeys(plan.data_chips)) or (chip,)
        least = min(chips, key=lambda name: has[name])
        words = (
            f"stage {i + 1} of {len(plan.stages)}, {n} of {work.model.layers} layers on {' and '.join(chips)}: "
            f"{show_bytes(one.total)} a card, {least} has {show_bytes(has[least])}; its neighbours aren't priced, "
            "since stages or data ranks differ"
        )
        found.append(
            Why(
                degree="layers",
                here=str(n),
                other="",
                fits=one.total <= has[least],
                seconds=None,
                memory_bytes=one.total,
                words=words,
            )
        )
    return tuple(found)
