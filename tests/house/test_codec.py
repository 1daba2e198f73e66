"""What is built for speed reads and writes as the plain way does."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay import codec_built
from forebay.cloud.core.events import KINDS
from forebay.cloud.core.job import Job, Option, Run, Standing
from forebay.codec import _reader, decode, encode
from forebay.errors import BadInput

st.register_type_strategy(float, st.floats(allow_nan=False))


def plainly(value: Any) -> Any:
    """`encode`, without anything built."""
    if dataclasses.is_dataclass(value):
        return {field.name: plainly(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plainly(item) for key, item in value.items()}
    return [plainly(item) for item in value] if isinstance(value, (tuple, list)) else value


@pytest.mark.parametrize("kind", [*KINDS.values(), Standing, Run], ids=lambda kind: kind.__name__)
def test_each_noun_of_the_journal_is_written_and_read_as_the_plain_way_does(kind):
    @settings(max_examples=15, deadline=None)
    @given(st.from_type(kind))
    def check(noun: Any) -> None:
        told = json.loads(json.dumps(encode(noun)))
        assert told == json.loads(json.dumps(plainly(noun)))
        assert codec_built.reader(kind, True)(told) == _reader(kind, True)(told, "noun") == noun

    check()


def test_a_field_that_is_not_there_is_what_it_was_before_there_was_one():
    job = Job(id="j", organisation="o", project="p", name="n", menu=(Option(chip="cpu", cards=1),))
    told = {"id": "j", "organisation": "o", "project": "p", "name": "n", "menu": [{"chip": "cpu", "cards": 1}]}
    assert decode(Job, told) == job
    assert decode(Job, told).retries == 3


@pytest.mark.parametrize(
    "change, words",
    [
        ({"retries": "3"}, r"job\.retries: a whole number"),
        ({"retries": True}, r"job\.retries: a whole number"),
        ({"grace_s": "long"}, r"job\.grace_s: a number"),
        ({"menu": [{"chip": "cpu", "cards": 1}, {"chip": "cpu"}]}, r"job\.menu\[1\]\.cards: missing"),
        ({"menu": {}}, r"job\.menu: a list"),
        ({"script": {"bundle": "b", "entry": "e", "env": {"A": 1}}}, r"job\.script\.env\.A: a text"),
        ({"colour": "green"}, r"job: no field of that name"),
    ],
)
def test_what_is_wrong_is_still_named(change, words):
    told = {"id": "j", "organisation": "o", "project": "p", "name": "n", "menu": [{"chip": "cpu", "cards": 1}]}
    with pytest.raises(BadInput, match=words):
        decode(Job, told | change)


def test_a_whole_number_is_a_number_too():
    assert type(decode(Option, {"chip": "cpu", "cards": 1, "expected_s": 60}).expected_s) is float
