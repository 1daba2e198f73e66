"""The accuracy table on a few public rows: figures, no model calibrates itself, and sabotage is noticed."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import BadInput
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


OWN = {
    "model": {
        "layers": 32,
        "hidden": 4096,
        "heads": 32,
        "kv_heads": 8,
        "ffn": 14336,
        "vocab": 128256,
        "seq": 8192,
        "gated": True,
    },
    "chip_class": "ascend-910b2",
    "n_chips": 64,
    "tp": 2,
    "pp": 1,
    "dp": 32,
    "micro_batch": 1,
    "global_batch": 256,
    "precision": "bf16",
    "release": "ours-2.1",
    "measured": {"step_time_s": 9.4},
}


def test_a_run_of_ones_own_needs_no_more_than_the_page_says():
    run = measured.run(OWN)
    assert (run.chip, run.framework, run.release, run.seconds) == ("ascend-910b2", "megatron", "ours-2.1", 9.4)
    assert run.plan.stages == ("ascend-910b2",)
    assert measured.run({**OWN, "framework": "fsdp"}).framework == "fsdp"


@given(st.sets(st.sampled_from([*OWN, *OWN["model"]])), st.sampled_from([None, "", 0, -1, "eight", [], {}, 2.5]))
def test_whatever_a_row_lacks_it_is_a_run_or_words(lost, instead):
    model = {key: value for key, value in OWN["model"].items() if key not in lost}
    row = {key: instead if key in lost else value for key, value in {**OWN, "model": model}.items()}
    found = measured.run(row)
    assert found if isinstance(found, str) else found.seconds > 0


def test_a_file_that_is_no_list_of_runs_is_told(tmp_path):
    for text in ("{}", "[3]", "no json"):
        (tmp_path / "runs.json").write_text(text)
        with pytest.raises(BadInput, match="measured runs"):
            measured.read(tmp_path / "runs.json")


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
