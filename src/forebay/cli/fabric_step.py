"""`forebay fabric simulate|break`: a training step or one collective on a fabric, whole and broken."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

import typer

from forebay.cli import out
from forebay.cli.fabric_given import (
    FabricArg,
    Given,
    Job,
    Json,
    Model,
    Ways,
    again,
    at,
    following,
    line,
    options,
    plain,
    seconds,
    traffic,
    wired,
    wiring,
)  # fmt: skip
from forebay.errors import BadInput
from forebay.fabric.curves import named
from forebay.fabric.health import Fault, anew, broken, cut_off, parse, pooled
from forebay.fabric.mesh import Mesh, MeshPlace
from forebay.fabric.physics import bus_factor
from forebay.fabric.step import StepTime, hosts_shuffled, in_order, rails_unaligned, step
from forebay.fabric.timing import Place, timed
from forebay.fabric.traffic import Traffic
from forebay.fabric.wiring import Ints, Wiring
from forebay.units import parse_bytes, show_bytes, show_bytes_per_s

ALL_KINDS = ("port", "nic", "link", "leaf", "spine", "core", "plane")


def cards_of(w: Wiring | Mesh, ranks: int, ways: Ways) -> Ints | None:
    """Each rank's card. None, in the step's own error: more ranks than cards."""
    made = {"in-order": in_order, "shuffled": lambda w, n: hosts_shuffled(w, n, ways.seed), "unaligned": rails_unaligned}
    if ways.placement not in made:
        raise BadInput("There is no such placement.", asked=ways.placement, hint=", ".join(made))
    return made[ways.placement](w, ranks) if ranks <= w.cards else None


@options(given=Given, job=Job, ways=Ways)
def simulate(
    fabric: FabricArg,
    given: Given,
    job: Job,
    ways: Ways,
    model: Model = "",
    collective: Annotated[str, typer.Option(help="Or one collective: all_reduce, all_to_all, ...", show_default=False)] = "",
    size: Annotated[str, typer.Option(help="Bytes of its buffer on each rank, as nccl-tests counts them.")] = "1GiB",
    ranks: Annotated[int | None, typer.Option(help="Its ranks; all cards.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Time a training step on a fabric, or one collective.

    forebay fabric simulate rail-optimised --hosts 128 --model dense-70b

    forebay fabric simulate rail-optimised --hosts 128 --collective all_reduce --size 1GiB
    """
    if bool(model) == bool(collective):
        raise BadInput("A step of a model, or one collective.", hint="--model dense-70b, or --collective all_reduce --size 1GiB")
    w = wired(fabric, given)
    here = at(w, job, ways)
    if collective:
        _collective(here, collective, size, ranks, ways, as_json)
    else:
        t = traffic(model, w.cards, job)
        took = step(here, t, cards_of(w, t.ranks, ways))
        if as_json:
            out.as_json(plain(took) | {"source": t.source, "physics": plain(here.physics)})
            return
        _told(took, t, w)
    if not as_json and isinstance(w, Mesh):
        following(f"forebay fabric price {again(fabric, given)}")
    elif not as_json:
        following(f"forebay fabric break {again(fabric, given)} --all-kinds --model {model or 'dense-70b'}")


def _collective(here: Place | MeshPlace, name: str, size: str, ranks: int | None, ways: Ways, as_json: bool) -> None:
    w, n, nbytes = here.wiring, ranks or here.wiring.cards, parse_bytes(size)
    if not 2 <= n <= w.cards:
        raise BadInput("A collective is of two cards or more, and of no more than there are.", asked=f"{n} ranks",
                       found=f"{w.cards} cards", hint=f"--ranks {w.cards}")  # fmt: skip
    cards = cards_of(w, n, ways)
    assert cards is not None  # n was checked
    took = timed(here, name, cards[None], nbytes)
    busbw = bus_factor(named(name), n) * nbytes / took.seconds if took.seconds and not took.cut else 0.0
    if as_json:
        out.as_json({"fabric": w.name, "collective": took.collective, "ranks": n, "nbytes": nbytes, "cut": took.cut,
                     "seconds": plain(took.seconds if not took.cut else math.inf), "latency_s": took.latency_s,
                     "busbw_bytes_per_s": busbw, "rounds": took.rounds})  # fmt: skip
        return
    line(f"{took.collective} of {show_bytes(nbytes)} over {n:,} cards on {w.name}")
    if took.cut:
        line(f"It never ends: {took.cut:,} pairs find no way to each other.")
        return
    out.facts([("takes", seconds(took.seconds)), ("of it latency", f"{seconds(took.latency_s)} in {took.rounds:,} rounds"),
               ("busbw", show_bytes_per_s(busbw) + ", as nccl-tests prints it")])  # fmt: skip


def _told(took: StepTime, t: Traffic, w: Wiring | Mesh) -> None:
    line(f"{took.traffic} on {took.fabric}")
    if t.source:
        line(t.source)
    if took.ranks < w.cards:
        line(f"{took.ranks:,} of {w.cards:,} cards are used: whole replicas of the model.")
    if took.cut:
        line(f"The job stops: {took.cut:,} pairs of ranks find no way to each other.")
        return
    out.facts([("step", seconds(took.seconds)), ("computing", seconds(took.compute_s)), ("exposed", seconds(took.exposed_s))]
              + [(f"  {name}", seconds(s)) for name, s in took.exposed.items()])  # fmt: skip
    line("")
    out.table(
        ("exchange", "algorithm", "ranks", "groups", "bytes", "times", "alone", "hides behind"),
        [(e.name, e.collective, f"{e.ranks:,}", f"{e.groups:,}", show_bytes(e.nbytes), f"{e.times:,}",
          seconds(e.seconds) + ("*" if e.sampled else ""), e.window or "-") for e in took.took],
        right=("ranks", "groups", "bytes", "times", "alone"),
    )  # fmt: skip
    line("")
    out.table(("busiest links, one of a kind", "busy", "of the step"),
              [(b.link, seconds(b.seconds), f"{b.share:.1%}") for b in took.busiest], right=("busy", "of the step"))  # fmt: skip


@options(given=Given, job=Job, ways=Ways)
def break_it(
    fabric: FabricArg,
    given: Given,
    job: Job,
    ways: Ways,
    fault: Annotated[list[str] | None, typer.Option(help="leaf:3, link:17@50%; may be said again.", show_default=False)] = None,
    all_kinds: Annotated[bool, typer.Option("--all-kinds", help="The first of each kind there is, one after the other.")] = False,
    model: Model = "",
    as_json: Json = False,
) -> None:
    """Break a fabric: who is cut off, and what a step takes then.

    A port, nic, link, leaf, spine, core, plane or host is down, or slower (@50%). "Balanced" traffic may leave a host by any of
    its NICs; without it a synchronous ring waits for the slowest. "Restarted": a job that stops begins anew on what is left. A
    partition is an answer, and no error.

    forebay fabric break rail-optimised --hosts 128 --fault leaf:3 --model dense-70b

    forebay fabric break hpn --hosts 128 --all-kinds --model dense-70b
    """
    if bool(fault) == all_kinds:
        raise BadInput("What is to break?", hint="--fault leaf:3, or --all-kinds")
    w = wiring(fabric, given)
    t = traffic(model, w.cards, job) if model else None
    tried = [tuple(parse(text) for text in fault)] if fault else _each(w)
    views: dict[str, Callable[[Wiring], Wiring]] = {"synchronous": lambda x: x} | (
        {"balanced": pooled} if not w.direct and t else {}
    )
    whole = {name: _step(at(seen(w), job, ways), t, ways) for name, seen in views.items()}
    rows: list[dict[str, Any]] = []
    for faults in tried:
        hurt = broken(w, faults)
        row: dict[str, Any] = {"faults": [str(one) for one in faults], "cut_hosts": [int(host) for host in cut_off(hurt)]}
        for name, seen in views.items():
            here = at(seen(hurt), job, ways)
            after, before = _step(here, t, ways), whole[name]
            if after and before:
                row[name] = _compared(before, after)
            if after and before and after.cut and name == "synchronous":
                row["restarted"] = _compared(before, _step(anew(here), t, ways) or after)
        rows.append(row)
    if as_json:
        out.as_json({"fabric": w.name, "traffic": t.name if t else None, "broken": plain(rows)})
        return
    line(f"{t.name} on {w.name}" if t else w.name)
    if whole["synchronous"]:
        line(f"Whole: {seconds(whole['synchronous'].seconds)} a step.")
    out.table(
        ("broken", "cut off", *(["step", "slower", "restarted", "balanced"] if t else [])),
        [(", ".join(row["faults"]), _hosts(w, row["cut_hosts"]), *(_after(row) if t else [])) for row in rows],
        right=("step", "slower", "restarted", "balanced"),
    )
    if t and any(row["synchronous"]["stops"] and not row["cut_hosts"] for row in rows):
        line("\nWhere nobody is cut off and the job stops all the same, a card lost its own way out. Restarted, it uses another's"
             "\nof its host, through the scale-up; balanced traffic uses all of them alike.")  # fmt: skip
    following(f"forebay fabric draw {again(fabric, given)} -o fabric.svg")


def _compared(before: StepTime, after: StepTime) -> dict[str, Any]:
    return {"before_s": before.seconds, "after_s": after.seconds, "stops": after.cut > 0,
            "slower": after.seconds / before.seconds}  # fmt: skip


def _each(w: Wiring) -> list[tuple[Fault, ...]]:
    found: list[tuple[Fault, ...]] = []
    for kind in ALL_KINDS:
        if kind == "plane" and len(set(w.router_plane.tolist())) < 2:
            continue
        try:
            broken(w, (Fault(kind=kind, number=0),))
        except BadInput:
            continue  # the fabric has none
        found.append((Fault(kind=kind, number=0),))
    return found


def _step(here: Place, t: Traffic | None, ways: Ways) -> StepTime | None:
    return step(here, t, cards_of(here.wiring, t.ranks, ways)) if t else None


def _hosts(w: Wiring, cut: list[int]) -> str:
    named = ", ".join(w.host_name(host) for host in cut[:4])
    return "nobody" if not cut else named if len(cut) <= 4 else f"{len(cut)} hosts: {named}, ..."


def _after(row: dict[str, Any]) -> list[str]:
    told, even, anew_ = row["synchronous"], row.get("balanced"), row.get("restarted")
    own = ["the job stops", "-"] if told["stops"] else [seconds(told["after_s"]), f"{told['slower'] - 1:+.2%}"]
    return [*own, *("-" if not one else "stops" if one["stops"] else f"{one['slower'] - 1:+.2%}" for one in (anew_, even))]
