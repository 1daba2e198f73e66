"""Pipelines as simulated, their closed forms, and what stages hold."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from forebay.codec import decode, encode
from forebay.errors import BadInput
from forebay.plan.orders import BLOCKS, group, place
from forebay.plan.plan import SCHEDULES
from forebay.plan.schedule import in_flight, seconds
from forebay.plan.timeline import KINDS, Timeline, timeline


def run(schedule, stages, micro_batches, chunks=None, f=1.0, b=1.0, w=1.0, first=0.0, last=0.0, send=0.0):
    chunks = chunks or (2 if schedule in BLOCKS else 1)
    rows = [[[x / chunks] * chunks for _ in range(stages)] for x in (f, b, w)]
    for row in rows:
        row[0][0] += first / 3
        row[0 if schedule in BLOCKS else -1][-1] += last / 3
    return timeline(schedule, micro_batches, *rows, send=[send] * stages)


def closed(schedule, stages, micro_batches, chunks=1, f=1.0, b=1.0, w=1.0, **extra):
    return float(seconds(SCHEDULES.index(schedule), stages, chunks, micro_batches, f, b, w, **extra))


def bubble(found, micro_batches, work=3.0):
    """Idle seconds of a step, in those of 1f1b."""
    return (found - micro_batches * work) / ((found_stages - 1) * work)


found_stages = 8


@pytest.mark.parametrize(
    "schedule, chunks, share",
    [("1f1b", 1, 1), ("interleaved", 2, 1 / 2), ("interleaved", 8, 1 / 8), ("zb-1p", 1, 1 / 3), ("zb-v", 2, 1 / 6)],
)
def test_bubbles_are_those_of_the_papers_where_passes_are_equal(schedule, chunks, share):
    assert bubble(run(schedule, 8, 32, chunks).seconds, 32) == pytest.approx(share)


def test_without_a_common_end_zb_2p_has_no_bubble():
    found = run("zb-2p", 8, 32)
    assert found.period_s == pytest.approx(32 * 3)
    assert found.seconds == pytest.approx(32 * 3 + 7)  # the last stage still starts seven forwards late


@pytest.mark.parametrize("schedule, share", [("v-half", 1 / 2), ("v-min", 2 / 3)])
def test_v_schedules_keep_the_bubble_that_the_paper_gives(schedule, share):
    assert bubble(run(schedule, 8, 64).seconds, 64) == pytest.approx(share, abs=0.06)


@pytest.mark.parametrize(
    "schedule, held",
    [("1f1b", [8, 7, 6, 5, 4, 3, 2, 1]), ("zb-1p", [8] * 8), ("zb-2p", [15] * 8), ("zb-v", [8] * 8), ("v-half", [5.5] * 8)],
)
def test_stages_hold_what_the_papers_say(schedule, held):
    found = run(schedule, 8, 32)
    assert [one / found.chunks for one in found.in_flight] == held


def test_v_min_holds_a_third():
    assert max(run("v-min", 24, 96).in_flight) / 2 == pytest.approx(24 / 3, abs=1)


def test_the_thirteen_passes_of_a_small_pipeline_are_where_one_draws_them():
    found = run("1f1b", 2, 2, f=1, b=1, w=1)
    assert list(zip(found.stage, found.kind, found.micro_batch, found.start_s, found.end_s, strict=True)) == [
        (0, 0, 0, 0, 1), (0, 0, 1, 1, 2), (0, 1, 0, 4, 6), (0, 1, 1, 7, 9),
        (1, 0, 0, 1, 2), (1, 1, 0, 2, 4), (1, 0, 1, 4, 5), (1, 1, 1, 5, 7),
    ]  # fmt: skip
    assert found.idle == pytest.approx((1 / 3, 1 / 3))


shapes = st.tuples(
    st.sampled_from(SCHEDULES), st.integers(1, 7), st.integers(1, 4), st.integers(1, 20), st.floats(0.3, 3), st.floats(0.3, 3)
)


@given(shapes, st.floats(0, 0.5))
def test_a_pass_runs_once_alone_on_its_stage_and_after_what_it_needs(shape, send):
    schedule, p, v, m, b, w = shape
    v = 2 if schedule in BLOCKS else v if schedule == "interleaved" else 1
    assume(schedule != "interleaved" or v == 1 or group(p, m))
    found = run(schedule, p, m, v, b=b, w=w, send=send)
    passes = list(zip(found.stage, found.chunk, found.micro_batch, found.kind, found.start_s, found.end_s, strict=True))
    kinds = 3 if schedule.startswith(("zb", "v")) else 2
    assert len({one[:4] for one in passes}) == len(passes) == p * v * m * kinds
    for one, after in pairwise(passes):
        assert one[0] != after[0] or one[5] <= after[4] + 1e-9
    ends = {(place(schedule, p, i, c), j, kind): end for i, c, j, kind, _, end in passes}
    for i, c, j, kind, start, _ in passes:
        q = place(schedule, p, i, c)
        needs = {0: [(q - 1, j, 0)], 1: [(q, j, 0), (q + 1, j, 1)], 2: [(q, j, 1)]}[kind]
        assert all(ends[one] <= start + 1e-9 for one in needs if one in ends)


@given(shapes, st.floats(0, 0.3), st.floats(0, 1))
def test_the_array_form_is_never_below_what_one_stage_must_do(shape, first, last):
    schedule, p, v, m, b, w = shape
    assume(schedule != "interleaved" or v == 1 or group(p, m))
    assert closed(schedule, p, m, v, b=b, w=w, first_extra=first, last_extra=last) >= m * (1 + b + w + max(first, last)) - 1e-9


@given(shapes)
def test_the_array_form_is_the_simulation_where_stages_are_alike(shape):
    schedule, p, v, m, _, _ = shape
    b, w = 0.8 + shape[4] / 5, 0.6 + shape[5] / 6
    v = 2 if schedule in BLOCKS else v if schedule == "interleaved" else 1
    assume(schedule != "interleaved" or v == 1 or group(p, m))
    assume(schedule not in BLOCKS or m >= p)
    assume(schedule not in ("v-half", "v-min") or (p >= 4 and m >= 2 * p))
    near = 0.05 if schedule in ("v-half", "v-min") else 0.01
    assert closed(schedule, p, m, v, b=b, w=w) == pytest.approx(run(schedule, p, m, v, b=b, w=w).seconds, rel=near)


@given(st.integers(1, 12), st.integers(1, 40), st.floats(0, 0.5), st.floats(0, 2), st.floats(0, 0.1))
def test_1f1b_is_exact_with_an_embedding_a_loss_and_sends(p, m, first, last, send):
    found = run("1f1b", p, m, b=1.2, w=0.9, first=first, last=last, send=send).seconds
    assert closed("1f1b", p, m, b=1.2, w=0.9, first_extra=first, last_extra=last, send=send) == pytest.approx(found, rel=0.01)


@given(
    st.sampled_from(["interleaved", "zb-1p", "zb-2p", "zb-v"]),
    st.integers(2, 8),
    st.integers(2, 5),
    st.floats(0, 0.2),
    st.floats(0, 0.4),
)
def test_the_others_are_near_with_an_embedding_and_a_loss(schedule, p, rounds, first, last):
    v, m = 2 if schedule in ("interleaved", "zb-v") else 1, p * rounds
    found = run(schedule, p, m, v, b=1.1, w=0.9, first=first, last=last).seconds
    assert closed(schedule, p, m, v, b=1.1, w=0.9, first_extra=first, last_extra=last) == pytest.approx(found, rel=0.05)


@pytest.mark.parametrize("schedule, chunks", [("1f1b", 1), ("interleaved", 2), ("interleaved", 5), ("zb-1p", 1), ("zb-2p", 1)])
@pytest.mark.parametrize("stages", [1, 2, 3, 8])
def test_what_a_stage_holds_is_what_the_simulation_counts(schedule, chunks, stages):
    for m in (1, 2, 3, 7, 8, 16, 24):
        if schedule != "interleaved" or group(stages, m):
            counted = [one / chunks for one in run(schedule, stages, m, chunks).in_flight]
            assert list(in_flight(SCHEDULES.index(schedule), stages, chunks, m, range(stages))) == counted


@pytest.mark.parametrize("schedule", ["zb-v", "v-half", "v-min"])
def test_what_the_fullest_stage_of_a_v_holds_is_what_the_simulation_counts(schedule):
    for stages in (1, 2, 3, 5, 8, 16):
        for m in (1, 3, 4, 8, 40):
            assert max(run(schedule, stages, m).in_flight) / 2 == in_flight(SCHEDULES.index(schedule), stages, 2, m, 0)


def test_unequal_stages_take_their_own_time():
    slow = timeline("1f1b", 16, [[1.0], [1.5], [1.0]], [[1.0], [1.5], [1.0]], [[1.0], [1.5], [1.0]])
    assert slow.seconds == pytest.approx(3 + 2 * 3 + 15 * 4.5)
    assert slow.idle[1] == pytest.approx(1 - 72 / slow.seconds)


def test_a_slow_link_between_chips_of_different_kinds_counts_where_it_is():
    rows = [[1.0]] * 3
    assert timeline("1f1b", 1, rows, rows, rows, [0.25, 0.5]).seconds == pytest.approx(9 + 2 * 0.75)


def test_micro_batches_that_make_no_even_rounds_are_refused_with_the_nearest_that_do():
    with pytest.raises(BadInput) as error:
        run("interleaved", 4, 9, 2)
    assert "8 or 10 micro-batches" in str(error.value)
    assert closed("interleaved", 4, 9, 2) == np.inf
    assert closed("interleaved", 4, 10, 2) == pytest.approx(run("interleaved", 4, 10, 2).seconds)


@pytest.mark.parametrize("schedule, chunks, words", [("zb-v", 3, "chunks=2"), ("1f1b", 2, "interleaved"), ("gpipe", 1, "1f1b")])
def test_a_pipeline_that_there_is_not_is_refused(schedule, chunks, words):
    with pytest.raises(BadInput) as error:
        run(schedule, 4, 8, chunks)
    assert words in str(error.value)


def test_a_timeline_survives_a_trip_through_json():
    found = run("zb-v", 3, 4)
    assert decode(Timeline, json.loads(json.dumps(encode(found)))) == found
    assert KINDS[found.kind[0]] == "forward"


def test_a_large_pipeline_has_all_its_passes():
    found = run("interleaved", 16, 128, 8)
    assert len(found.start_s) == 2 * 16 * 8 * 128


def test_a_hundred_thousand_plans_are_priced_at_once():
    n = 100_000
    rng = np.random.default_rng(0)
    kind, p = rng.integers(0, len(SCHEDULES), n), rng.integers(1, 33, n)
    found = seconds(kind, p, 2, p * 4, rng.uniform(0.5, 2, n), 1.0, 1.0, 0.1, 0.2, 0.01)
    held = in_flight(kind, p, 2, p * 4, 0)
    assert np.isfinite(found).all() and (held > 0).all()


def test_interleaving_llama_405b_gains_about_what_torchtitan_measured():
    """100 against 128 tokens a second and card: 8 stages; 405B in 32 micro-batches a data rank at most (batch 256 over 8)."""
    plain, chunked = closed("1f1b", 8, 16), closed("interleaved", 8, 16, 8)
    assert 1.15 < plain / chunked < 1.45
