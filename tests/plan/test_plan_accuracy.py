"""The accuracy table on a few public rows: figures, no model calibrates itself, and sabotage is noticed."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from forebay.plan import measured

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).parent / "data" / "runs.json"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("plan_accuracy", ROOT / "benchmarks" / "plan_accuracy.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["plan_accuracy"] = module
    spec.loader.exec_module(module)
    return module


def error(bench, runs):
    return bench.figures(bench.judge(bench.Table(list(runs)), bench.model, lambda run: True))["mean_absolute_error"]


@pytest.fixture(scope="module")
def runs():
    return measured.read(FILE)[0]


def test_rows_are_predicted_within_a_tenth_by_other_models_runs(bench, runs):
    assert len(runs) >= 4 and len({run.model_name for run in runs}) >= 2
    assert error(bench, runs) < 0.10


def test_a_models_own_rows_never_calibrate_it(bench, runs):
    """Its measured seconds doubled, its predictions stay."""
    own = runs[0].model_name
    changed = [replace(run, seconds=run.seconds * 2) if run.model_name == own else run for run in runs]
    before, after = (
        [one.seconds for one in bench.judge(bench.Table(list(some)), bench.model, lambda run: run.model_name == own)]
        for some in (runs, changed)
    )
    assert before == after


def test_a_constant_in_the_place_of_the_model_is_noticed(bench, runs, monkeypatch):
    monkeypatch.setattr(bench, "step", lambda work, site, plans: SimpleNamespace(total=np.full(len(plans), 1.0)))
    assert error(bench, runs) > 0.3


@pytest.mark.parametrize(
    "change, why",
    [
        ({"tp": None}, "no parallel degrees"),
        ({"chip_class": "Abacus 9"}, "a chip without a data sheet here"),
        ({"precision": None}, "no number format"),
        ({"measured": {}}, "no step time"),
    ],
)
def test_a_row_that_lacks_something_says_what(runs, change, why):
    assert measured.run({**runs[0].row, **change}) == why


@pytest.mark.parametrize(
    "written, chip",
    [
        ("H100", "h100-sxm"),
        ("h100-sxm", "h100-sxm"),
        ("A100-SXM-80GB", "a100-sxm-80gb"),
        ("NVIDIA H20", "h20"),
        ("AMD Instinct MI300X", "mi300x"),
        ("Intel(R) Gaudi(R) 2 AI Accelerator", "gaudi2"),
        ("Ascend 910B", "ascend-910b"),
        ("TPU v5p", "tpu-v5p"),
        ("TPU-trillium", "tpu-v6e"),
        ("MLU590", ""),  # in the catalogue, without figures
        ("A100", ""),  # which one?
    ],
)
def test_chips_are_known_by_the_names_of_tables_and_by_the_catalogues(written, chip):
    assert measured.chip_named(written) == chip


@pytest.mark.parametrize(
    "chip, precision, release, software",
    [
        ("B300", "MXFP8", "26.06", "megatron"),
        ("B300", "MXFP8", "26.06.01", "megatron-fused"),
        ("GB300", "MXFP8", "26.04.01", "megatron-graphs"),
        ("GB300", "MXFP8", "26.06", "megatron-fused"),
        ("GB300", "BF16", "26.08", "megatron-graphs"),
        ("H100", "FP8-CS", "26.08", "megatron"),
    ],
)
def test_a_rows_software_is_as_its_releases_recipes_set_it(chip, precision, release, software):
    row = {"family": "megatron-bridge", "chip_class": chip, "precision": precision, "release": f"megatron-bridge-{release}"}
    assert measured.software(row) == software
