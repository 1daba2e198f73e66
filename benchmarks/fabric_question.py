"""How should ten thousand cards be wired? The tables and the pictures of docs/fabric.md, by one command.

    python benchmarks/fabric_question.py [--cards 10240] [--within 5%] [--book default] [--write] [--json] [--data FILE]

For each family: its usual full-bandwidth build, and its cheapest build whose steps of a dense 405B and of a 671B mixture of
experts are both within the bar: 5 % over an ideal crossbar's. First with ranks placed in order, then with the hosts in random
order, as a scheduler that knows no fabric hands them out. Families that reach no such step are shown at their fastest. `--write`
puts tables and pictures into docs/.
`--data` is accepted as by the other fabric benchmarks; nothing here is read from it.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stopwatch import machine, machine_line

from forebay.chips import catalogue
from forebay.fabric.books import load
from forebay.fabric.build import build, propose
from forebay.fabric.choose import Choice, Question, best_step, choose, named, routing_for
from forebay.fabric.counts import Counts, counts
from forebay.fabric.design import Design, ScaleUp
from forebay.fabric.draw import Bar, Point, bars, scatter
from forebay.fabric.ideal import crossbar
from forebay.fabric.mesh import mesh, place_mesh
from forebay.fabric.physics import DEFAULT
from forebay.fabric.presets import preset
from forebay.fabric.prices import PriceBook, power, price
from forebay.fabric.quantities import quantities
from forebay.fabric.routes import Routing
from forebay.fabric.step import hosts_shuffled, step
from forebay.fabric.timing import place
from forebay.fabric.traffic import Traffic
from forebay.units import MICRO_PER_UNIT

DOCS = Path(__file__).parents[1] / "docs"
MODELS = ("dense-405b", "moe-671b")
FAMILIES = (
    ("full mesh", "full-mesh"),
    ("3-tier tree", "clos-3"),
    ("rail-optimised", "rail-optimised"),
    ("rail-only", "rail-only"),
    ("8-plane (MPFT)", "mpft"),
    ("HPN, dual ToR", "hpn"),
    ("Dragonfly+", "dragonfly-plus"),
    ("Slim Fly", "slim-fly"),
    ("3-D torus", "torus"),
    ("UB-Mesh", "nd-full-mesh"),
)
SWITCHED = FAMILIES[1:8]
NVLINK = ScaleUp(cards=8, bytes_per_s=450e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A build of a family: what it is made of, costs and draws, and its steps over the ideal's."""

    family: str
    build: str
    counted: Counts
    millions: tuple[float, ...]  # under each book
    kilowatts: float
    slower: tuple[float, ...]  # step over ideal step, a model each
    shuffled: tuple[float, ...]
    note: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cards", type=int, default=10_240)
    parser.add_argument("--within", default="5%")
    parser.add_argument("--book", default="default")
    parser.add_argument("--data", type=Path, help="accepted, not read")
    parser.add_argument("--write", action="store_true", help="write the tables and pictures into docs/")
    parser.add_argument("--json", action="store_true", help="all figures as JSON")
    asked = parser.parse_args()
    began = time.process_time()
    within = float(asked.within.rstrip("%")) / (100 if asked.within.endswith("%") else 1)
    book, books = load(asked.book), [load(name) for name in ("deepseek-a", "deepseek-b")]
    chip = catalogue.find("h100-sxm")
    traffics = [preset(name, asked.cards, chip) for name in MODELS]
    question = Question(cards=asked.cards, scale_up=NVLINK, within=within)
    usual = [usual_row(family, kind, asked.cards // 8, books, traffics, question) for family, kind in FAMILIES[1:]]
    meshes = mesh_rows(asked.cards // 8, books, traffics)
    picked, timed = [], []
    for family, kind in FAMILIES[1:]:
        found = choose(Question(cards=asked.cards, scale_up=NVLINK, within=within, kinds=(kind,)), traffics, book, DEFAULT)
        timed.append(found)
        picked.append(picked_row(family, found, books, traffics))
    robust = []
    for family, kind in SWITCHED:
        asks = Question(cards=asked.cards, scale_up=NVLINK, within=within, kinds=(kind,), shuffled=True)
        robust.append(picked_row(family, choose(asks, traffics, book, DEFAULT), books, traffics))
    text = tables([*meshes, *usual], picked, robust, question, traffics, timed[0].ideal_s, time.process_time() - began)
    if asked.json:
        plain = [{"family": r.family, "build": r.build, "millions": r.millions, "kilowatts": r.kilowatts, "slower": r.slower,
                  "shuffled": r.shuffled, "note": r.note} for r in (*meshes, *usual, *picked, *robust)]  # fmt: skip
        print(json.dumps({"rows": plain, "cpu_s": time.process_time() - began, "machine": machine()}, indent=2))
        return
    print(text)
    print(machine_line())
    if asked.write:
        write(text, timed, usual, picked, timed[0].ideal_s[0])


def usual_row(family: str, kind: str, hosts: int, books: list[PriceBook], traffics: list[Traffic], q: Question) -> Row:
    more = {"planes": 8} if kind == "mpft" else {}
    design = propose(kind, hosts, scale_up=NVLINK, **more)
    if kind in ("torus", "nd-full-mesh"):  # a full port a cable
        cables = 2 * len(design.shape) if kind == "torus" else sum(side - 1 for side in design.shape)
        design = propose(kind, hosts, scale_up=NVLINK, shape=design.shape, nics_per_host=8 * cables)
    straight, shuffled = steps(design, traffics)
    return row(family, named(design, q), design, books, straight, shuffled)


def mesh_rows(hosts: int, books: list[PriceBook], traffics: list[Traffic]) -> list[Row]:
    """What the question was about: a port of a NIC's full speed to each of the others; and one NIC, cut over as many cables."""
    found = []
    for words, ports, kind in (("a full port to each other card", hosts * 8 - 1, "spray"),
                               ("one port cut over all other cards, UGAL", 1, "ugal")):  # fmt: skip
        design = Design(kind="full-mesh", hosts=hosts, nics_per_host=8 * ports, scale_up=NVLINK)
        at = place_mesh(mesh(design), Routing(kind=kind), DEFAULT)
        best = [ideal_s(hosts, t) for t in traffics]
        straight = tuple(step(at, t).seconds / least for t, least in zip(traffics, best, strict=True))
        mixed = [step(at, t, hosts_shuffled(at.wiring, t.ranks)).seconds for t in traffics]
        shuffled = tuple(s / least for s, least in zip(mixed, best, strict=True))
        found.append(row("full mesh", words, design, books, straight, shuffled))
    return found


IDEAL: dict[str, float] = {}


def ideal_s(hosts: int, traffic: Traffic) -> float:
    if traffic.name not in IDEAL:
        plain = Design(kind="crossbar", hosts=hosts, scale_up=NVLINK)
        IDEAL[traffic.name] = step(place(crossbar(plain), physics=DEFAULT), traffic).seconds
    return IDEAL[traffic.name]


def steps(design: Design, traffics: list[Traffic]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Seconds of each traffic, in order and with hosts shuffled, over the ideal's."""
    at = place(build(design), routing_for(design), DEFAULT)
    for t in traffics:
        ideal_s(design.hosts, t)
    straight = tuple(best_step(at, t)[0].seconds / IDEAL[t.name] for t in traffics)
    shuffled = tuple(best_step(at, t, shuffled=True)[0].seconds / IDEAL[t.name] for t in traffics)
    return straight, shuffled


def picked_row(family: str, found: Choice, books: list[PriceBook], traffics: list[Traffic]) -> Row:
    best = found.families[0].best
    if best is None:
        raise SystemExit(f"{family}: {found.families[0].why}")
    straight, shuffled = steps(best.candidate.design, traffics)
    note = "" if found.families[0].reaches else "its fastest: it doesn't reach the target"
    return row(family, best.candidate.name, best.candidate.design, books, straight, shuffled, note)


def row(
    family: str,
    words: str,
    design: Design,
    books: list[PriceBook],
    slower: tuple[float, ...],
    shuffled: tuple[float, ...],
    note: str = "",
) -> Row:
    needed = quantities(design)
    drawn = power(needed, load("default"))
    return Row(
        family=family,
        build=words,
        counted=counts(design),
        millions=tuple(price(needed, book).total_micro / MICRO_PER_UNIT / 1e6 for book in books),
        kilowatts=sum(line.n * line.each_watts for line in drawn.lines if line.item != "card") / 1e3,
        slower=slower,
        shuffled=shuffled,
        note=note,
    )


def tables(
    usual: list[Row],
    picked: list[Row],
    robust: list[Row],
    q: Question,
    traffics: list[Traffic],
    ideal: tuple[float, ...],
    cpu_s: float,
) -> str:
    command = f"`python benchmarks/fabric_question.py --cards {q.cards} --within {q.within:.0%} --write`"
    steps_said = ", ".join(f"{t.name}: {s:.2f} s" for t, s in zip(traffics, ideal, strict=True))
    head = (
        "| fabric | build | switches | between switches or cards | to NICs | M$ A | M$ B | network kW | dense 405B | MoE 671B "
        "| shuffled |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
    )
    return "\n".join(
        [
            f"Steps are multiples of an ideal crossbar's ({steps_said}). Made by {command}, {cpu_s:.0f} CPU s.\n",
            f"**At equal step targets**: the cheapest of each family whose two steps are within {q.within:.0%} of the ideal.\n",
            head + "".join(line(r) for r in picked),
            "**The same with hosts in random order**: the cheapest that needs no scheduler to know the fabric.\n",
            head + "".join(line(r) for r in robust),
            "**As they are usually built**, at full bandwidth for as many cards:\n",
            head + "".join(line(r) for r in usual),
        ]
    )


def line(r: Row) -> str:
    c = r.counted
    over = [f"{x:.3f}" if x < 100 else "-" for x in r.slower]
    mixed = " / ".join(f"{x:.2f}" if x < 100 else "-" for x in r.shuffled)
    money = [f"{m:,.1f}" for m in r.millions]
    note = f" ({r.note})" if r.note else ""
    cells = [r.family, r.build + note, f"{c.switches:,}", f"{c.switch_cables + c.card_cables:,}", f"{c.access_cables:,}"]
    return "| " + " | ".join([*cells, *money, f"{r.kilowatts:,.0f}", *over, mixed]) + " |\n"


def write(text: str, timed: list[Choice], usual: list[Row], picked: list[Row], ideal_s: float) -> None:
    page = DOCS / "fabric.md"
    before, _, rest = page.read_text(encoding="utf-8").partition("<!-- made by benchmarks/fabric_question.py -->\n")
    _, _, after = rest.partition("<!-- end -->\n")
    mark = "<!-- made by benchmarks/fabric_question.py -->\n"
    page.write_text(f"{before}{mark}{text}\n<!-- end -->\n{after}", encoding="utf-8")
    costs = [(r, round(r.millions[0] * 1e6 * MICRO_PER_UNIT), r.slower[0] * ideal_s) for r in (*usual, *picked)]
    points = {
        (cost, step_s): Point(
            name=r.build,
            cost_micro=cost,
            step_s=step_s,
            power_w=r.kilowatts * 1e3,
            on_front=not any(c <= cost and s <= step_s and (c, s) != (cost, step_s) for _, c, s in costs),
        )
        for r, cost, step_s in costs
    }
    (DOCS / "pictures" / "fabric-question.svg").write_text(
        scatter(list(points.values()), title="10,240 cards: cost against the dense model's step", currency="USD"),
        encoding="utf-8",
    )
    shown: list[Any] = [
        Bar(name=s.candidate.design.kind, compute_s=s.steps[1].compute_s, exposed_s=s.steps[1].exposed)
        for found in timed
        if (s := found.families[0].best)
    ]
    (DOCS / "pictures" / "fabric-question-moe.svg").write_text(
        bars(shown, title="A step of the 671B mixture of experts, in seconds"), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
