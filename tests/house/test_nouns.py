"""The nouns of the house: each is where the map says, and survives a trip through JSON."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
from pathlib import Path

import pytest

from forebay.centre.spec import Share, Spec
from forebay.chips.node import Card, Node
from forebay.codec import decode, encode
from forebay.errors import BadInput
from forebay.fabric.link import Link
from forebay.plan.model import Model, Workload
from forebay.plan.plan import Plan

MAP = Path(__file__).parents[2] / "docs" / "architecture.md"
ROWS = re.findall(r"^\| \*\*([A-Z][A-Za-z ]+)\*\* \| `([a-z_./]+\.py)` \| `(\w+)`", MAP.read_text(), re.MULTILINE)


def test_the_map_names_the_nouns():
    assert len(ROWS) >= 30


@pytest.mark.parametrize("noun, file, name", ROWS)
def test_each_noun_is_where_the_map_says(noun, file, name):
    module = importlib.import_module("forebay." + file.removesuffix(".py").replace("/", "."))
    thing = getattr(module, name)
    assert thing.__doc__, f"{name} says what it is"


def frozen_nouns():
    for _, file, name in ROWS:
        thing = getattr(importlib.import_module("forebay." + file.removesuffix(".py").replace("/", ".")), name)
        if dataclasses.is_dataclass(thing):
            yield thing


@pytest.mark.parametrize("noun", list(frozen_nouns()), ids=lambda noun: noun.__name__)
def test_nouns_are_frozen(noun):
    assert noun.__dataclass_params__.frozen


def test_a_spec_survives_a_trip_through_json():
    spec = Spec(
        name="j-1",
        job="j",
        organisation="o",
        chip="cpu",
        shares=(Share(node="n", cards=(0, 1)),),
        bundle="b",
        entry="t.py",
        env={"A": "1"},
    )
    assert decode(Spec, json.loads(json.dumps(encode(spec)))) == spec


def test_a_wrong_field_is_named_with_its_path():
    data = encode(Node(name="n", chip="cpu", cards=(Card(index=0),)))
    data["cards"][0]["index"] = "zero"
    with pytest.raises(BadInput, match=r"node\.cards\[0\]\.index: a whole number"):
        decode(Node, data)


def test_an_unknown_field_is_refused_and_a_reader_may_say_otherwise():
    data = encode(Card(index=0)) | {"colour": "green"}
    with pytest.raises(BadInput, match="no field of that name"):
        decode(Card, data)
    assert decode(Card, data, strict=False) == Card(index=0)


def test_a_message_takes_its_latency_and_its_bytes():
    assert Link(src="a", dst="b", bytes_per_s=1e9, latency_s=1e-6).seconds(1_000_000) == pytest.approx(0.001001)


def test_a_plan_asks_for_cards_by_chip():
    assert Plan(replicas=2, shards=1, tensor=4, stages=("h100-sxm", "h100-sxm", "mi300x")).need() == {"h100-sxm": 16, "mi300x": 8}


def test_llama_3_8b_has_eight_billion_parameters():
    # Shape: Llama 3 report (arXiv 2407.21783), table 3; its own count is 8.03e9.
    llama = Model(name="llama3-8b", layers=32, width=4096, heads=32, kv_heads=8, mlp_width=14336, vocabulary=128256)
    assert llama.parameters == pytest.approx(8.03e9, rel=0.001)
    assert Workload(model=llama, sequences=1, tokens=8192).flop == pytest.approx(6 * 8.03e9 * 8192, rel=0.3)
