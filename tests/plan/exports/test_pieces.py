"""Which layers a piece has."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import BadInput
from forebay.plan.export.pieces import pieces, stage_layers, stage_of
from forebay.plan.memory import even
from forebay.plan.orders import place
from forebay.plan.plan import Plan

PLAN = Plan(replicas=1, shards=1, tensor=1, stages=("a",) * 4)


def test_layers_are_as_even_as_can_be_the_stages_after_the_first_have_one_more():
    assert pieces(PLAN, 10) == (2, 3, 3, 2)
    twice = replace(PLAN, chunks=2, schedule="interleaved")
    assert stage_layers(twice, 10) == (2, 3, 3, 2)
    assert pieces(twice, 10) == (1, 2, 2, 1, 1, 1, 1, 1)


def test_llama_3s_ends_take_a_layers_place():
    ends = replace(PLAN, stages=("a",) * 16, ends=True)
    assert pieces(ends, 126) == (7, *(8,) * 14, 7)
    assert pieces(replace(ends, stages=("a",) * 4, chunks=4, schedule="interleaved"), 126) == (7, *(8,) * 14, 7)


def test_in_a_v_the_first_stage_has_the_last_piece_too():
    v = replace(PLAN, chunks=2, schedule="zb-v")
    assert [stage_of(v, piece) for piece in range(8)] == [0, 1, 2, 3, 3, 2, 1, 0]
    assert pieces(replace(v, layers=(5, 2, 2, 3)), 12) == (3, 1, 1, 2, 1, 1, 1, 2)


@given(st.integers(1, 8), st.integers(1, 4), st.booleans(), st.integers(1, 200), st.sampled_from(["interleaved", "zb-v"]))
def test_no_layer_is_lost_and_none_is_doubled(stages, chunks, ends, layers, schedule):
    plan = replace(PLAN, stages=("a",) * stages, chunks=chunks, ends=ends, schedule=schedule)
    if layers + 2 * ends < stages * chunks:
        with pytest.raises(BadInput, match="more pieces than layers"):
            pieces(plan, layers)
        return
    cut = pieces(plan, layers)
    assert sum(cut) == layers == sum(stage_layers(plan, layers)) and min(cut) >= 0 and len(cut) == stages * chunks
    for stage, n in enumerate(stage_layers(plan, layers)):
        assert sum(one for piece, one in enumerate(cut) if stage_of(plan, piece) == stage) == n


def test_one_piece_with_both_ends_has_all_layers():
    assert pieces(replace(PLAN, stages=("a",), ends=True), 3) == (3,)


@given(st.integers(1, 16), st.booleans(), st.integers(1, 200))
def test_a_stage_has_the_layers_that_its_memory_is_counted_for(stages, ends, layers):
    if layers + 2 * ends >= stages:
        assert stage_layers(replace(PLAN, stages=("a",) * stages, ends=ends), layers) == even(layers, stages, ends)


@given(st.integers(1, 8), st.integers(1, 4), st.sampled_from(["interleaved", "zb-v", "v-half"]))
def test_a_piece_lies_where_the_pipeline_runs_it(stages, chunks, schedule):
    chunks = chunks if schedule == "interleaved" else 2
    plan = replace(PLAN, stages=("a",) * stages, chunks=chunks, schedule=schedule)
    for stage in range(stages):
        assert {stage_of(plan, place(schedule, stages, stage, chunk)) for chunk in range(chunks)} == {stage}
