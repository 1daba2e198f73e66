"""Pictures of plans: well-formed, no text upon another, and what they say is so. Those of docs/plan-memory.md are drawn here."""

import os
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from forebay.errors import BadInput
from forebay.fabric.draw.svg import place
from forebay.plan import draw
from forebay.plan.chart import charted
from forebay.plan.memory import memory
from forebay.plan.model import Model, Workload
from forebay.plan.plan import Choice, Memory, Plan
from forebay.plan.timeline import timeline
from forebay.units import GB

DOCS = Path(__file__).parents[2] / "docs"
WRITE = bool(os.environ.get("FOREBAY_WRITE_PICTURES"))
NS = "{http://www.w3.org/2000/svg}"


def run(schedule, stages, micro_batches, chunks=1, last=0.0):
    rows = [[[0.1 / chunks] * chunks for _ in range(stages)] for _ in range(3)]
    for row in rows:
        row[-1][-1] += last
    return timeline(schedule, micro_batches, *rows)


def words(svg):
    """All texts, after checking that each is on the sheet and none upon another."""
    root = ET.fromstring(svg)
    wide, high = (float(root.attrib[name]) for name in ("width", "height"))
    found = []
    for one in root.iter(f"{NS}text"):
        x, y, size = (float(one.attrib[name]) for name in ("x", "y", "font-size"))
        found.append((one.text or "", place(x, y, one.text or "", size, one.attrib["text-anchor"])))
    assert [text for text, (x, y, w, h) in found if x < 0 or y < 0 or x + w > wide or y + h > high] == []
    x, y, w, h = np.array([box for _, box in found]).T
    upon = (x[:, None] < (x + w)) & ((x + w)[:, None] > x) & (y[:, None] < (y + h)) & ((y + h)[:, None] > y)
    np.fill_diagonal(upon, False)
    assert [(found[i][0], found[j][0]) for i, j in np.argwhere(upon)] == []
    return [text for text, _ in found]


def boxes(svg):
    return [one for one in ET.fromstring(svg).iter(f"{NS}rect") if "fill" in one.attrib and one.find(f"{NS}title") is not None]


@pytest.mark.parametrize("schedule, chunks", [("1f1b", 1), ("interleaved", 2), ("zb-1p", 1), ("zb-v", 2), ("v-min", 2)])
def test_a_short_step_is_drawn_pass_by_pass(schedule, chunks):
    found = run(schedule, 4, 4, chunks)
    svg = draw.timeline(found)
    assert len(boxes(svg)) == len(found.start_s)
    said = words(svg)
    assert "stage 3" in said and f"idle {found.idle[3]:.0%}" in said and "…" not in said


def test_a_long_step_is_cut_and_says_by_how_much():
    found = run("1f1b", 4, 200)
    svg = draw.timeline(found)
    said = words(svg)
    assert "…" in said and any(one.endswith("more of the same") for one in said)
    assert len(boxes(svg)) < 4 * (draw.PASSES + 6)


def test_a_deep_pipeline_is_drawn_from_both_ends():
    said = words(draw.timeline(run("1f1b", 64, 128)))
    assert "stage 0" in said and "stage 63" in said and "stage 31" not in said
    assert "stages 16 to 47 are left out here" in said


def test_a_box_is_as_long_as_its_pass():
    found = run("1f1b", 2, 2)
    drawn = boxes(draw.timeline(found))
    each = [float(one.attrib["width"]) / (end - start) for one, start, end in zip(drawn, found.start_s, found.end_s, strict=True)]
    assert max(each) / min(each) == pytest.approx(1, abs=0.02)


def test_seconds_and_memory_are_bars_of_parts_with_their_sums():
    said = words(draw.seconds([("a", {"products": 3.0, "bubble": 1.0}), ("b", {"products": 5.0})]))
    assert "4.00 s" in said and "bubble" in said
    one = Memory(weights=10 * GB, gradients=20 * GB, optimizer=5 * GB, activations=30 * GB, buffers=2 * GB, reserve=GB)
    said = words(draw.memory([one, one], card_bytes=80 * GB))
    assert "68 GB" in said and "the card has 80 GB" in said and "stage 1" in said


def test_a_negative_part_is_refused():
    with pytest.raises(BadInput):
        draw.seconds([("a", {"products": -1.0})])


LLAMA = Model(name="Llama 3.1 405B", layers=126, width=16384, heads=128, kv_heads=8, mlp_width=53248, vocabulary=128256)


def llama():
    cut = Plan(replicas=1, shards=8, tensor=8, stages=("h100-sxm",) * 8, context=2, ends=True)
    return memory(Workload(model=LLAMA, sequences=128, tokens=8192), cut)


PICTURES = {
    "plan-1f1b": lambda: draw.timeline(run("1f1b", 4, 8, last=0.02)),
    "plan-interleaved": lambda: draw.timeline(run("interleaved", 8, 64, 4)),
    "plan-zb-v": lambda: draw.timeline(run("zb-v", 8, 12, 2)),
    "plan-memory": lambda: draw.memory(
        llama(), card_bytes=80 * GB, title="Llama 3.1 405B, tensor 8, context 2, 8 stages, 8 shards"
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_of_the_page_are_those_that_are_drawn_now(name):
    path, svg = DOCS / "pictures" / f"{name}.svg", PICTURES[name]()
    words(svg)
    if WRITE:
        path.write_text(svg)
    assert path.read_text() == svg
    assert f"pictures/{name}.svg" in (DOCS / "plan-memory.md").read_text()


def test_a_pipeline_whose_ranks_are_shared_out_is_drawn_as_long_as_its_micro_batches():
    """What isn't told apart for such plans is all of the micro-batches; what a step does once isn't drawn."""
    plan = Plan(replicas=1, shards=2, tensor=1, stages=("h100-sxm",) * 2, data_chips=("h100-sxm", "a100-sxm-80gb"), shares=(6, 2))
    parts = {"micro-batches": 6.0, "fill, drain, data and optimizer": 3.0}
    model = Model(name="two", layers=4, width=64, heads=4, kv_heads=4, mlp_width=256, vocabulary=100)
    choice = Choice(plan=plan, seconds_a_step=9.0, memory_bytes=0, parts=parts)
    drawn = charted(Workload(model=model, sequences=8, tokens=64), choice)
    assert drawn.seconds == pytest.approx(7.0)  # six, and a pass through the other stage
