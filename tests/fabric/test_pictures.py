"""The pictures of docs/fabric-pictures.md are those that are drawn now."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from forebay.fabric import draw
from forebay.fabric.build import build, propose
from forebay.fabric.draw import Bar, Point
from forebay.fabric.graph import graph
from forebay.fabric.rates import load, rates
from forebay.fabric.routes import Routing, routes

DOCS = Path(__file__).parents[2] / "docs"
WRITE = bool(os.environ.get("FOREBAY_WRITE_PICTURES"))


def heat() -> str:
    w = build(propose("clos-2", 16, switch_ports=16))
    order = np.random.default_rng(0).permutation(w.cards)
    way = routes(w, graph(w), order, np.roll(order, 1), Routing(kind="ecmp"))
    capacity = w.capacities()
    carried = load(way.offsets, way.links, rates(way.offsets, way.links, capacity).bytes_per_s, w.links)
    return draw.heat(w, np.divide(carried, capacity, out=np.zeros(w.links), where=capacity > 0))


MADE_UP = (
    ("3-tier tree", 76.6, 10.0, 0.92),
    ("rail-only", 45.0, 10.2, 0.55),
    ("Dragonfly", 80.0, 11.3, 1.1),
    ("Slim Fly", 54.0, 11.9, 0.7),
    ("HyperX", 37.1, 13.2, 0.45),
    ("torus", 31.0, 17.5, 0.1),
    ("HPN", 50.0, 10.1, 0.6),
    ("crossbar", 99.0, 9.8, 1.4),
)


def scatter() -> str:
    better = [[o for o in MADE_UP if o[1] <= one[1] and o[2] <= one[2] and o is not one] for one in MADE_UP]
    points = [
        Point(name=name, cost_micro=int(cost * 1e12), step_s=step, power_w=power * 1e6, on_front=not beaten)
        for (name, cost, step, power), beaten in zip(MADE_UP, better, strict=True)
    ]
    return draw.scatter([*points, Point(name="UB-Mesh", cost_micro=None, step_s=11.0)], title="Cost against step time (made up)")


def bars() -> str:
    rows = [
        Bar(
            name=name,
            compute_s=8.0,
            exposed_s={"data": (step - 8) * 0.3, "expert": (step - 8) * 0.6, "pipeline": (step - 8) * 0.1},
        )
        for name, _, step, _ in MADE_UP
    ]
    return draw.bars(rows, title="A step in its parts (made up)")


PICTURES = {
    "tree": lambda: draw.fabric(build(propose("clos-2", 8, switch_ports=16))),
    "torus": lambda: draw.fabric(build(propose("torus", 8, shape=(4, 4, 4)))),
    "dragonfly": lambda: draw.fabric(build(propose("dragonfly", 8, switch_ports=16))),
    "tree-large": lambda: draw.fabric(build(propose("clos-3", 1280))),
    "planes-large": lambda: draw.fabric(build(propose("mpft", 1280))),
    "dragonfly-large": lambda: draw.fabric(build(propose("dragonfly", 1280))),
    "torus-large": lambda: draw.fabric(build(propose("torus", 1280))),
    "heat": heat,
    "scatter": scatter,
    "bars": bars,
}


@cache
def drawn(name: str) -> str:
    return PICTURES[name]()


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_the_page_is_what_is_drawn(name):
    path = DOCS / "pictures" / f"fabric-{name}.svg"
    if WRITE:
        path.parent.mkdir(exist_ok=True)
        path.write_text(drawn(name))
    assert path.read_text() == drawn(name), "out of date: FOREBAY_WRITE_PICTURES=1 python -m pytest tests/fabric/test_pictures.py"


def test_the_page_shows_them_all():
    page = (DOCS / "fabric-pictures.md").read_text()
    assert [name for name in PICTURES if f"(pictures/fabric-{name}.svg)" not in page] == []
