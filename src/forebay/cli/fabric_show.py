"""`forebay fabric build|show|draw`: a design filled in, a fabric counted, a picture of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

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
    noun,
    options,
    plain,
    traffic,
    wiring,
)  # fmt: skip
from forebay.cli.fabric_step import cards_of
from forebay.errors import BadInput
from forebay.fabric import books, draw, read
from forebay.fabric.bisection import bisection
from forebay.fabric.build import build
from forebay.fabric.counts import counts
from forebay.fabric.design import Design
from forebay.fabric.hops import hops, islands
from forebay.fabric.prices import power
from forebay.fabric.quantities import quantities
from forebay.fabric.step import step_with_load
from forebay.units import show_bytes_per_s, show_watts

Out = Annotated[Path | None, typer.Option("-o", "--output", help="Write it to this file.", show_default=False)]


@options(given=Given)
def build_it(
    fabric: FabricArg,
    given: Given,
    output: Out = None,
    cables: Annotated[bool, typer.Option("--wiring", help="Write every cable (JSON; with -o), not the design.")] = False,
    as_json: Json = False,
) -> None:
    """Fill a design in, and write it down: TOML or JSON by the file's name, or every cable.

    forebay fabric build rail-optimised --hosts 128 -o ours.toml

    forebay fabric build slim-fly --hosts 128 --wiring -o cables.json.gz
    """
    found = noun(fabric, given)
    if cables and output is None:
        raise BadInput("Every cable goes to a file.", asked="--wiring", hint="--wiring -o cables.json.gz")
    if cables and output and ".json" not in output.suffixes:
        raise BadInput("Every cable is written as JSON.", asked=str(output), hint="-o cables.json.gz")
    w = build(found) if isinstance(found, Design) else found  # so that what can't be built is said now
    thing = w if cables or not isinstance(found, Design) else found
    if output is not None:
        read.save(thing, output)
    elif as_json:
        out.as_json(json.loads(read.dump(thing, toml=False)))
        return
    else:
        line(read.dump(thing).rstrip())
        out.errors.print(f"\nNext: forebay fabric show {again(fabric, given)}", markup=False)  # `> ours.toml` stays a design
        return
    if as_json:
        out.as_json({"name": w.name, "cards": w.cards, "written": str(output)})
        return
    line(f"{w.name}: {w.cards:,} cards; written to {output}.")
    following(f"forebay fabric show {output}")


@options(given=Given)
def show(
    fabric: FabricArg,
    given: Given,
    book: Annotated[str, typer.Option(help="Whose watts: a price book's name or file.")] = "default",
    as_json: Json = False,
) -> None:
    """Count a fabric: switches, ports, each kind of cable, hops, bisection, power.

    "Links" is no figure here: one source means cables between switches, the next all cables, a third bundles of cables. Access
    cables (NIC to switch), cables between switches, and cables from card to card are told apart; an optical one has two
    transceivers.

    forebay fabric show rail-optimised --hosts 128

    forebay fabric show subnet.ibnetdiscover
    """
    w = wiring(fabric, given)
    c, h, b = counts(w), hops(w), bisection(w)
    watts = power(quantities(w), books.load(book))
    cards = sum(one.watts for one in watts.lines if one.item.split()[0] == "card" and "link" not in one.item)
    parts = set(islands(w).tolist())
    if as_json:
        out.as_json({"name": w.name, "counts": plain(c), "switch_ports_free": c.switch_ports_free, "cables": c.cables,
                     "hops": plain(h), "bisection": plain(b) | {"exact": b.exact}, "power": plain(watts) | {"watts": watts.watts},
                     "islands": len(parts)})  # fmt: skip
        return
    tiers = ", ".join(f"{n:,} {word}" for n, word in zip(c.by_tier, ("leaves", "spines", "cores"), strict=False))
    halves = show_bytes_per_s(b.lower_bytes_per_s)
    if not b.exact:
        halves += f" to {show_bytes_per_s(b.upper_bytes_per_s)} (bounds)"
    share = f"{b.fraction:.0%}" + ("" if b.exact else f" to {b.fraction_at_most:.0%}")
    line(w.name)
    rows: list[tuple[str, object]] = [
        ("hosts, cards, NICs", f"{c.hosts:,}, {c.cards:,}, {c.nics:,}"),
        ("switches", f"{c.switches:,}" + (f" ({tiers})" if tiers else "")),
        ("switch ports", f"{c.switch_ports:,}: {c.switch_ports_used:,} used, {c.switch_ports_free:,} free"),
        ("access cables", f"{c.access_cables:,}"),
        ("cables between switches", f"{c.switch_cables:,}"),
        ("cables from card to card", f"{c.card_cables:,}"),
        ("of these optical, copper", f"{c.optical_cables:,}, {c.copper_cables:,}"),
        ("transceivers", f"{c.transceivers:,}"),
        ("cables between cards", f"{h.diameter} at most, {h.mean:.2f} on average" + ("" if h.exact else " (sampled)")),
        ("pairs joined without scale-up", f"{h.reached:.1%}"),
        ("bisection", f"{halves}{', exact' if b.exact else ''}: {share} of full; {b.how}"),
        ("power", f"{show_watts(watts.watts - cards)} and {show_watts(cards)} of cards, by book {watts.book}"),
    ]
    if c.scale_up_domains:
        rows.insert(9, ("scale-up domains", f"{c.scale_up_domains:,}"))
    if c.circuit_switches:
        rows.insert(2, ("optical circuit switches", f"{c.circuit_switches:,}"))
    out.facts(rows)
    if watts.unpriced:
        line("No watts known: " + ", ".join(f"{lack.n:,} {lack.item}" for lack in watts.unpriced) + ".")
    if len(parts) > 1:
        line(f"It is in {len(parts)} parts that can't reach each other.")
    following(f"forebay fabric price {again(fabric, given)}")


@options(given=Given, job=Job, ways=Ways)
def draw_it(
    fabric: FabricArg,
    given: Given,
    job: Job,
    ways: Ways,
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture: an SVG file.", show_default=False)],
    load: Annotated[bool, typer.Option("--load", help="How full the links are, as a heat map; with --model.")] = False,
    model: Model = "",
    as_json: Json = False,
) -> None:
    """Draw a fabric as SVG, or how full its links are.

    forebay fabric draw rail-only --hosts 16 -o fabric.svg

    forebay fabric draw rail-only --hosts 128 --load --model dense-70b -o load.svg
    """
    if load and not model:
        raise BadInput("A load is of some traffic.", asked="--load", hint="--load --model dense-70b")
    if model and not load:
        raise BadInput("A model is drawn as a load.", asked=f"--model {model}", hint="--load")
    w = wiring(fabric, given)
    if load:
        t = traffic(model, w.cards, job)
        took, busy = step_with_load(at(w, job, ways), t, cards_of(w, t.ranks, ways))
        if took.cut:
            raise BadInput("The job stops: some ranks find no way to each other.", asked=f"{t.name} on {w.name}")
        svg = draw.heat(w, busy / took.seconds, title=f"{t.name} on {w.name}: share of the step that links work")
    else:
        svg = draw.fabric(w)
    output.write_text(svg, encoding="utf-8")
    if as_json:
        out.as_json({"name": w.name, "written": str(output)})
        return
    line(f"{w.name}: drawn in {output}.")
    following(f"forebay fabric break {again(fabric, given)} --all-kinds --model {model or 'dense-70b'}")
