"""The vendor's work list: card-seconds are shared out once, and the dearest comes first."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import forebay
from forebay.chips import certified, use
from forebay.chips.scorecard import Scorecard
from forebay.cli import chips_card, chips_gaps
from forebay.cli.chips import app
from forebay.errors import BadInput, Unknown
from forebay.porting.gaps import FALLBACK, MISSING, SLOW, WRONG, Account, account, ended_by, losses, work_list
from forebay.porting.gaps_page import as_csv, page
from forebay.porting.operators import of_aten

CARD = Scorecard(
    chip="ascend-910b",
    measured_on="2026-11-22",
    columns=("float32 forward",),
    operators={"add": "s", "cumsum": "h", "gather": "w", "fft.fft": "e", "sort": "s", "mul": "b", "erfinv": "u"},
    reasons={"fft.fft": "float32 forward: no kernel"},
    seconds_a_sample={
        "add": (2e-4, 1e-4),
        "cumsum": (8e-4, 1e-4),
        "sort": (2e-2, 1e-4),
        "mul": (2e-4, 1e-4),
        "gather": (2e-4, 1e-4),
    },
)
USE = use.shipped()


def ran(calls=None, held=100.0, ended="", seconds=None):
    return Account(run="r", card_seconds=held, calls=calls or {}, ended_by=ended, seconds=seconds or {})


@pytest.mark.parametrize(
    "aten, operator",
    [
        ("aten::add_.Tensor", "add"),
        ("aten::convolution_backward", "nn.functional.conv2d"),
        ("aten::native_layer_norm_backward", "nn.functional.layer_norm"),
        ("aten::linalg_eig", "linalg.eig"),
        ("aten::fft_fft", "fft.fft"),
        ("aten::_log_softmax", "log_softmax"),
        ("aten::sum.dim_IntList", "sum"),
        ("vendor::special_op", "vendor::special_op"),
    ],
)
def test_an_operator_of_aten_is_found_in_the_database(aten, operator):
    assert of_aten(aten) == operator


@pytest.mark.parametrize(
    "said, operator",
    [
        ("NotImplementedError: Could not run 'aten::cumsum' with arguments from the 'NPU' backend", "cumsum"),
        ("NotImplementedError: The operator 'aten::linalg_eig' is not currently implemented for the MUSA device", "linalg.eig"),
        ("RuntimeError: \"topk\" not implemented for 'BFloat16'", "topk"),
        ("ValueError: 'aten::add' is a word in the script's own message", ""),
        ("RuntimeError: shapes do not match", ""),
        ("", ""),
    ],
)
def test_an_exception_blames_an_operator_or_none(said, operator):
    assert ended_by(said) == operator


def test_a_run_that_an_operator_ended_is_all_its_loss():
    said = "NotImplementedError: Could not run 'aten::fft_fft' with arguments from the 'NPU' backend"
    assert losses(ran({"add": 5, "gather": 1}, ended=said), CARD) == {"fft.fft": (MISSING, 100.0, said)}


def test_wrong_operators_share_the_run_and_slow_ones_come_after():
    assert losses(ran({"gather": 3, "sort": 1000}), CARD) == {"gather": (WRONG, 100.0, "")}


def test_a_call_costs_what_it_takes_longer_than_the_chips_usual_ratio():
    # The median of here / there is 2: a call of sort ought to take 2e-4, not 2e-2. While cumsum is on the host, the card waits.
    found = losses(ran({"add": 10_000, "sort": 100, "cumsum": 1000}), CARD)
    assert found == {"sort": (SLOW, pytest.approx(100 * 1.98e-2), ""), "cumsum": (FALLBACK, pytest.approx(1000 * 8e-4), "")}


def test_what_the_run_itself_timed_counts_before_the_samples():
    found = losses(ran({"cumsum": 1000}, seconds={"cumsum": 40.0}), CARD)
    assert found == {"cumsum": (FALLBACK, pytest.approx(40.0), "")}
    found = losses(ran({"sort": 1}, seconds={"sort": 40.0}), CARD)
    assert found == {"sort": (SLOW, pytest.approx(40 * (1 - 2e-4 / 2e-2)), "")}


@given(
    st.dictionaries(st.sampled_from(sorted(CARD.operators)), st.integers(0, 10**9)),
    st.floats(0, 1e6),
    st.sampled_from(["", "NotImplementedError: Could not run 'aten::erfinv'", "KeyError: 'x'"]),
)
def test_a_run_never_loses_more_than_it_held(calls, held, said):
    assert sum(spent for _, spent, _ in losses(ran(calls, held, said), CARD).values()) <= held * (1 + 1e-9)


def test_the_list_puts_lost_card_seconds_first_and_then_what_public_projects_call():
    found = work_list([ran({"sort": 100}), ran({"sort": 100})], CARD, USE)
    assert [(gap.operator, gap.kind, gap.runs, gap.calls) for gap in found[:1]] == [("sort", SLOW, 2, 200)]
    rest = [gap.operator for gap in found[1:]]
    assert set(rest) == {"gather", "cumsum", "fft.fft", "mul"}  # what is strict, or wasn't tested, is no work for the vendor
    assert rest == sorted(rest, key=lambda name: [-(1 + gap.projects) * gap.score for gap in found if gap.operator == name])
    assert next(gap.why for gap in found if gap.operator == "fft.fft") == "float32 forward: no kernel"


def test_a_chip_without_a_scorecard_still_has_what_its_runs_stumbled_over():
    found = work_list([ran(ended="NotImplementedError: Could not run 'aten::topk'")], None, USE)
    assert [(gap.operator, gap.kind, gap.card_seconds) for gap in found] == [("topk", MISSING, 100.0)]


def test_a_report_that_is_none_is_a_clear_error():
    with pytest.raises(BadInput, match="no report of the shim"):
        account({"operators": {"of": ["add"]}}, "r")
    with pytest.raises(BadInput, match="more operators than torch has"):
        account({"operators": {"of": {f"aten::x{i}": 1 for i in range(6000)}}}, "r")


def test_the_csv_has_a_line_a_gap_and_no_cell_that_a_spreadsheet_would_run():
    gaps = work_list([ran({"sort": 100})], replace(CARD, reasons={"fft.fft": "=HYPERLINK(1)"}), USE)
    rows = list(csv.DictReader(io.StringIO(as_csv(gaps))))
    assert [row["operator"] for row in rows] == [gap.operator for gap in gaps]
    assert (rows[0]["rank"], rows[0]["card_seconds_lost"]) == ("1", "1.980")
    assert [row["why"] for row in rows if row["operator"] == "fft.fft"] == ["'=HYPERLINK(1)"]


def test_the_page_shows_the_list_and_takes_nothing_for_markup():
    accounts = [ran(ended="NotImplementedError: Could not run 'aten::fft_fft' <script>alert(1)</script>")]
    text = page("ascend-910b", work_list(accounts, CARD, USE), accounts, CARD)
    assert "fft.fft" in text and "<script>alert" not in text and "&lt;script&gt;alert" in text


# ---------------------------------------------------------------- with real runs


def centre(folder: Path, chip: str, report: dict[str, object], **more: object) -> Path:
    run = folder / "runs" / "j1-1"
    (run / "tmp").mkdir(parents=True)
    (run / "spec.json").write_text(json.dumps({"spec": {"chip": chip, "shares": [{"node": "n", "cards": [0, 1]}], **more}}))
    (run / "status.json").write_text(json.dumps({"held_ns": 3_000_000_000}))
    (run / "tmp" / "shim-report.json").write_text(json.dumps(report))
    return folder / "runs"


def report_of(script, folder, *words, environment=None):
    (folder / "script.py").write_text(script)
    place = folder / "report.json"
    ours = {"FOREBAY_SHIM_REPORT": str(place), "FOREBAY_SHIM_COUNT": "1", "OMP_NUM_THREADS": "1"}
    environ = {**os.environ, **ours, "PYTHONPATH": str(Path(forebay.__file__).parents[1]), **(environment or {})}
    if cache := os.environ.get("FOREBAY_TEST_SHIM_CACHE"):
        words = (*words, "--cache", cache)
    command = [sys.executable, "-m", "forebay.porting.shim", *words, "--cards", "1", str(folder / "script.py")]
    done = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, timeout=100)
    assert place.exists(), done.stderr
    return place


def test_a_centres_runs_are_read_with_what_they_held(tmp_path):
    report = {"carrier": "chip", "uses": {}, "operators": {"of": {"aten::sort": 100}}, "seconds": 1.0}
    runs = centre(tmp_path, "ascend-910b", report)
    assert [(one.run, one.card_seconds, one.calls) for one in chips_gaps.of_centre(runs, "ascend-910b")] == [
        ("j1-1", 6.0, {"sort": 100})
    ]
    assert list(chips_gaps.of_centre(runs, "h100-sxm")) == []


def test_a_pretend_run_tells_nothing_of_a_chip(tmp_path):
    report = {"carrier": "chip", "uses": {}, "operators": {"of": {"aten::sort": 100}}}
    assert list(chips_gaps.of_centre(centre(tmp_path, "ascend-910b", report, pretend=True), "ascend-910b")) == []


def test_the_runs_of_this_machines_own_centre_count_where_none_is_named(tmp_path, monkeypatch):
    report = {"carrier": "chip", "uses": {}, "operators": {"of": {"aten::sort": 100}}, "seconds": 1.0}
    centre(tmp_path / "centre", "ascend-910b", report)
    monkeypatch.setenv("FOREBAY_DATA", str(tmp_path))
    certified.keep(CARD, tmp_path)
    found = CliRunner().invoke(app, ["gaps", "ascend-910b", "--folder", str(tmp_path), "--json"])
    assert json.loads(found.stdout)["runs"] == 1


def test_a_run_under_the_shim_leaves_an_account_of_what_it_called_and_what_ended_it(tmp_path):
    pytest.importorskip("torch")
    script = (
        "import torch\nx = torch.ones(4, device='cuda')\nfor _ in range(3): x = torch.cumsum(x, 0)\n"
        "raise NotImplementedError(\"Could not run 'aten::erfinv' with arguments from the 'X' backend\")\n"
    )
    place = report_of(script, tmp_path)
    found = CliRunner().invoke(app, ["gaps", "cpu", "--report", str(place), "--folder", str(tmp_path / "no"), "--json"])
    gaps = {gap["operator"]: gap for gap in json.loads(found.stdout)["gaps"]}
    assert gaps["erfinv"]["kind"] == MISSING and gaps["erfinv"]["card_seconds"] > 0
    assert account(json.loads(place.read_text()), "r").calls["cumsum"] == 3


def test_the_command_writes_a_page_and_a_csv(tmp_path):
    certified.keep(CARD, tmp_path)
    words = [
        "gaps",
        "ascend-910b",
        "--folder",
        str(tmp_path),
        "--csv",
        str(tmp_path / "g.csv"),
        "--html",
        str(tmp_path / "g.html"),
    ]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    assert (
        "fft.fft" in found.stdout
        and "fft.fft" in (tmp_path / "g.csv").read_text()
        and "<svg" not in (tmp_path / "g.html").read_text()
    )


def test_a_chip_of_which_nothing_is_known_is_a_clear_error(tmp_path):
    found = CliRunner().invoke(app, ["gaps", "biren-166", "--folder", str(tmp_path)])
    assert isinstance(found.exception, Unknown) and "neither a scorecard" in found.exception.text


@pytest.mark.slow
def test_a_silent_fallback_planted_in_the_fake_chip_is_found_measured_and_ranked(tmp_path):
    pytest.importorskip("torch")
    fault = {"FOREBAY_FAKECHIP_FAULT": "computed-on-the-host"}
    cache = os.environ.get("FOREBAY_TEST_SHIM_CACHE")
    words = ["--device", "fakechip", "--carrier", "fakechip", "--out", str(tmp_path / "out"), "--smoke", "--jobs", "1"]
    words += ["--only", "erfinv", "--only", "tanh", *(["--cache", cache] if cache else [])]
    source = str(Path(forebay.__file__).parents[1])
    environ = {**os.environ, **fault, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "forebay.porting.certify", *words], env=environ, check=True, timeout=900)
    told = chips_card.finish(tmp_path / "out", folder=tmp_path / "cards", seconds=0)
    assert told.card.letter("erfinv", "float32 forward") == "h" and told.card.letter("tanh", "float32 forward") == "s"
    script = "import torch\nx = torch.rand(64, device='cuda') - 0.5\nfor _ in range(20): torch.erfinv(x); torch.tanh(x)\n"
    place = report_of(script, tmp_path, "--chip", "fakechip", environment=fault)
    found = CliRunner().invoke(app, ["gaps", str(told.file), "--report", str(place), "--json"])
    dearest = json.loads(found.stdout)["gaps"][0]
    assert (dearest["operator"], dearest["kind"], dearest["calls"], dearest["runs"]) == ("erfinv", FALLBACK, 20, 1)
    assert dearest["card_seconds"] > 0
