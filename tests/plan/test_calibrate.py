"""Measured steps become one factor, which is kept and read back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forebay.errors import BadInput
from forebay.plan import calibrations
from forebay.plan.calibrate import Measured, fit
from forebay.plan.cuts import cuts
from forebay.plan.framework import framework
from forebay.plan.knowledge import known
from forebay.plan.model import Workload
from forebay.plan.plan import Plan
from forebay.plan.pool_read import pool
from forebay.plan.presets import describe
from forebay.plan.time import step

CARDS = pool("h100-sxm:8").cards[0]
WORK = Workload(model=describe("llama-3-8b").model, sequences=64, tokens=8192)
PLAN = Plan(replicas=1, shards=2, tensor=4, stages=("h100-sxm",))


def took(slower: float) -> Measured:
    site = replace(known(CARDS, "bf16", framework("megatron")).site, slower=slower)
    seconds = float(step(WORK, site, cuts([PLAN])).total[0])
    return Measured(work=WORK, plan=PLAN, cards=CARDS, software="megatron", release="ours-1", seconds=seconds)


def test_a_step_made_with_a_factor_gives_the_factor_back_and_the_next_plan_reads_it(tmp_path):
    ((one,), left) = fit([took(1.37)], "2999-01-01", "made by hand")
    assert one.calibration.figures["slower_bf16"] == pytest.approx(1.37, rel=1e-3)
    assert not left and one.after < 1e-3 < one.before
    path = calibrations.keep(one.calibration, tmp_path)
    assert path.name == "h100-sxm.bf16.release-ours-1.json"
    assert calibrations.read(tmp_path) == (one.calibration,)
    assert known(CARDS, "bf16", framework("megatron"), calibrations.read(tmp_path)).site.slower == pytest.approx(1.37, rel=1e-3)


def test_an_array_of_factors_prices_as_one_factor_after_the_other():
    site, factors = known(CARDS, "bf16", framework("megatron")).site, np.array([0.7, 1.0, 1.3, 1.3, 2.2])
    plans = cuts([PLAN, PLAN, replace(PLAN, tensor=2, shards=4), PLAN, replace(PLAN, micro_batch=2)])
    together = step(WORK, replace(site, slower=factors), plans).total
    alone = [step(WORK, replace(site, slower=float(one)), plans[np.array([i])]).total[0] for i, one in enumerate(factors)]
    assert together == pytest.approx(alone, rel=1e-12)


def test_a_step_of_a_thousandth_is_refused():
    with pytest.raises(BadInput):
        fit([replace(took(1.0), seconds=took(1.0).seconds / 1000)], "2999-01-01", "")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(BadInput) as bad:
        calibrations.read(tmp_path)
    assert "broken.json" in bad.value.asked
    assert calibrations.read(tmp_path / "none") == ()
