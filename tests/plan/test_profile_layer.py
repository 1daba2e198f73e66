"""Layers are timed on a CPU, where their factor and the calibration can be checked; on a card none was run."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch  # noqa: F401  (its seconds of import are no test's)
from typer.testing import CliRunner

from forebay.chips import catalogue, detect
from forebay.cli.plan import app
from forebay.errors import BadInput
from forebay.plan import calibrations, profile_layer
from forebay.plan.framework import framework
from forebay.plan.kernels.known import Device, device
from forebay.plan.knowledge import BENCHMARK, known
from forebay.plan.model import Model, Workload
from forebay.plan.pool_read import pool
from forebay.plan.profile_layer import PLAIN, Timed, calibration, expected, factor_of, measure, shapes

SLOW = Device(
    name="by-hand",
    flop_per_s={"bf16": 5e10, "fp32": 5e10},
    memory_bytes_per_s=1e10,
    memory_bytes=1 << 30,
    ignored=frozenset(catalogue.load()) - {"h100-sxm"},  # one table is carried over, for speed
)


def tiny(width: int, kv_heads: int) -> Workload:
    model = Model(
        name=f"tiny {width}", layers=1, width=width, heads=4, kv_heads=kv_heads, mlp_width=2 * width, vocabulary=0, positions=1
    )
    return Workload(model=model, sequences=1, tokens=256, number_format="fp32")


TINY = (tiny(128, 4), tiny(256, 2), tiny(256, 1))


@pytest.fixture(scope="module")
def timed():
    return measure("cpu", TINY, 0.3)


def made(slower: float, number_format: str = "bf16") -> tuple[Timed, ...]:
    """Layers that took just what the planner expects at that factor."""
    h100 = device("h100-sxm")
    bare = tuple(Timed(work=work, seconds=1.0, passes=4) for work in shapes(number_format))
    told = expected(bare, h100, PLAIN, slower)
    return tuple(replace(one, seconds=seconds) for one, seconds in zip(bare, told, strict=True))


def test_layers_take_time_on_a_cpu_and_progress_is_told(timed):
    told: list[tuple[str, int, int]] = []
    measure("cpu", TINY[:1], 0.05, lambda *one: told.append(one))
    assert [one.work for one in timed] == list(TINY)
    assert all(one.seconds > 0 and one.passes >= 4 for one in timed)
    assert {one[0] for one in told} == {"layer of tiny 128"}


@pytest.mark.parametrize("number_format", ["bf16", "fp16"])
def test_narrow_formats_run_too(number_format):
    (one,) = measure("cpu", [replace(TINY[0], number_format=number_format)], 0.02)
    assert one.seconds > 0


@pytest.mark.parametrize("work", shapes("bf16"), ids=lambda work: work.model.name)
def test_the_layers_of_a_benchmark_are_as_wide_as_their_models(work):
    """They are too large for a CPU; torch's meta device runs them without values."""
    profile_layer._step("meta", work)()


def test_the_factor_puts_the_median_layer_right(timed):
    """The roofs by hand are scaled to this machine's speed, so that a factor of about 1.5 is due on any."""
    truth = np.array([one.seconds for one in timed])
    away = float(np.median(truth / np.array(expected(timed, SLOW, PLAIN, 1.5))))
    here = replace(
        SLOW,
        flop_per_s={name: peak / away for name, peak in SLOW.flop_per_s.items()},
        memory_bytes_per_s=SLOW.memory_bytes_per_s / away,
    )
    slower = factor_of(timed, here)
    assert float(np.median(truth / np.array(expected(timed, here, PLAIN, slower)))) == pytest.approx(1, rel=0.25)


def test_layers_made_with_a_factor_give_it_back_and_plans_rest_on_it(tmp_path):
    found = calibration(made(1.31), device("h100-sxm"), "2.13.0", "2999-01-01", "by hand")
    assert found.figures == {"slower_bf16": pytest.approx(1.31, rel=1e-3), "layer_benchmark": 3.0}
    assert calibrations.keep(found, tmp_path).name == "h100-sxm.bf16.torch-2-13-0.layer.json"
    told = known(pool("h100-sxm:8").cards[0], "bf16", framework("megatron"), calibrations.read(tmp_path))
    assert (told.tier, told.site.slower) == (BENCHMARK, pytest.approx(1.31, rel=1e-3))
    assert BENCHMARK == "a layer benchmark"


def test_no_sensible_factor_is_no_calibration():
    fast = tuple(replace(one, seconds=one.seconds / 100) for one in made(1.0))
    with pytest.raises(BadInput, match="factor"):
        calibration(fast, device("h100-sxm"), "2.13.0", "2999-01-01", "by hand")


def test_a_device_that_is_not_there_is_one_clear_error():
    with pytest.raises(BadInput, match="can't be run here"):
        measure("meta:99:x", TINY[:1], 0.1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--layer",), "needs the chip"),
        (("--layer", "--on", "h100-sxm:8,h200:8"), "one chip of the pool"),
        (("--layer", "--chip", "h100-sxm", "--on", "h200:8"), "one chip of the pool"),
        (("--layer", "--chip", "metax-c500"), "says its bandwidth"),
        (("--layer", "--chip", "h100-sxm", "--format", "fp8"), "number format"),
        (("--layer", "--chip", "h100-sxm", "--seconds-most", "0"), "no time"),
        (("--layer", "--chip", "h100-sxm", "--runs", "ours.json"), "Either"),
    ],
)
def test_what_cannot_be_timed_is_refused(words, says):
    assert says in str(CliRunner().invoke(app, ["calibrate", *words]).exception)


def test_a_machine_without_the_card_says_what_it_has_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    here = {node.chip for node in detect.detect().nodes}
    chip = next(one for one in ("h100-sxm", "mi300x") if one not in here)
    result = CliRunner().invoke(app, ["calibrate", "--layer", "--chip", chip, "--json"])
    assert isinstance(result.exception, BadInput)
    assert result.exception.asked == chip and result.exception.found and "forebay run" in result.exception.hint
    assert list(tmp_path.rglob("*")) == []


def test_timed_layers_go_through_json():
    from forebay.codec import decode, encode

    one = made(1.0)[0]
    assert decode(Timed, json.loads(json.dumps(encode(one)))) == one
