"""Tiers of knowledge, which calibration is taken, and the one scalar's fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import BadInput
from forebay.plan.calibration import Calibration
from forebay.plan.fit import HIGH, LOW, UNCALIBRATED, factor, likeliest
from forebay.plan.framework import framework, usual
from forebay.plan.knowledge import BENCHMARK, DATA_SHEET, RUN, known, shipped, within
from forebay.plan.pool_read import pool

MEGATRON = framework("megatron")
H100, MI300X = (pool(f"{name}:8").cards[0] for name in ("h100-sxm", "mi300x"))


def made(day, slower, **more):
    figures = {"slower_bf16": slower, **more}
    return Calibration(subject="h100-sxm", measured=day, software={"release": day}, figures=figures, command="by hand")


def test_a_chip_that_nobody_timed_rests_on_its_data_sheet():
    found = known(MI300X, "bf16", MEGATRON)
    assert (found.tier, found.site.slower) == (DATA_SHEET, UNCALIBRATED)


def test_of_two_runs_the_newer_one_counts_and_a_layer_benchmark_before_both():
    old, new = made("2098-01-01", 1.1), made("2099-01-01", 1.3)
    assert known(H100, "bf16", MEGATRON, [old, new]).site.slower == 1.3
    assert known(H100, "bf16", MEGATRON, [new, old]).tier == RUN
    bench = made("2020-01-01", 1.7, layer_benchmark=1.0)
    found = known(H100, "bf16", MEGATRON, [new, bench])
    assert (found.tier, found.site.slower) == (BENCHMARK, 1.7)
    assert "2020-01-01" in found.said


def test_shipped_calibrations_say_their_release_and_command():
    assert all(one.software["release"] and "plan_accuracy.py" in one.command for one in shipped())


def test_the_more_is_known_the_narrower_the_interval_and_experts_widen_it():
    widths = [within(name, False)[1] - within(name, False)[0] for name in (DATA_SHEET, RUN, BENCHMARK)]
    assert widths == sorted(widths, reverse=True)
    assert within(RUN, True)[0] < within(RUN, False)[0] < 1 < within(RUN, False)[1] < within(RUN, True)[1]


def test_a_format_that_the_chip_lacks_is_refused():
    with pytest.raises(BadInput):
        known(pool("a100-sxm-80gb:8").cards[0], "fp8", MEGATRON)


@given(st.floats(LOW * 1.05, HIGH * 0.95), st.lists(st.floats(0.1, 10), min_size=1, max_size=9))
def test_the_factor_that_made_the_runs_is_found(true, kernels):
    def predicted(slower):
        return [one * slower + 0.2 for one in kernels]

    assert factor(predicted, predicted(true)) == pytest.approx(true, rel=1e-3)


def test_the_likeliest_factor_lies_between_the_usual_one_and_what_the_runs_say():
    def predicted(slower):
        return [slower]

    one, ten = likeliest(predicted, [1.5]), likeliest(lambda slower: [slower] * 10, [1.5] * 10)
    assert UNCALIBRATED < one < ten < 1.5
    assert likeliest(predicted, [UNCALIBRATED]) == pytest.approx(UNCALIBRATED, rel=1e-3)


def test_a_run_that_feels_nothing_of_the_factor_says_nothing_of_it():
    assert likeliest(lambda slower: [1.0 + 1e-9 * slower], [2.0]) == pytest.approx(UNCALIBRATED, rel=1e-3)


def test_one_run_far_off_moves_the_likeliest_factor_no_further_than_one_a_little_off():
    def with_last(seconds):
        return likeliest(lambda slower: [slower] * 9, [1.3] * 8 + [seconds])

    assert with_last(130.0) == pytest.approx(with_last(1.6), rel=0.01)


def test_megatron_on_blackwell_is_as_its_recipes_set_it():
    gb200, b200 = pool("gb200:72").cards[0], pool("b200:64").cards[0]
    assert known(b200, "fp8", MEGATRON).site.framework.name == "megatron-fused"
    assert known(b200, "bf16", MEGATRON).site.framework.name == "megatron"
    assert known(gb200, "fp8", MEGATRON).site.framework.name == "megatron-fused"
    assert known(gb200, "bf16", MEGATRON).site.framework.name == "megatron-graphs"
    assert known(H100, "bf16", MEGATRON).site.framework.name == "megatron"
    assert usual(framework("torchtitan"), "gb200", "fp8").name == "torchtitan"
