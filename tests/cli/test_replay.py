"""`forebay replay` as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest

TRACE = """timestamp,duration,num_gpus,gpu_time,cluster
2026-10-01 10:00:00,100,4,400,a
2026-10-01 10:00:10,100,4,400,a
2026-10-01 10:00:20,10,1,10,b
2026-10-01 10:00:30,10,64,640,b
"""


def forebay(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "forebay.cli", "replay", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return path


def test_a_table_says_how_each_policy_did(trace):
    said = forebay(str(trace), "--cards", "1x5:h100-sxm", "--policy", "first-come", "--policy", "backfill")
    assert said.returncode == 0, said.stderr
    assert "4 jobs of trace.csv (philly)" in said.stdout
    assert "1 jobs can never run on this pool" in said.stdout
    assert "makespan" in said.stdout and "backfill" in said.stdout and "█" in said.stdout


def test_json_has_the_figures_and_what_was_assumed(trace):
    said = forebay(str(trace), "--cards", "1x5:h", "--policy", "all", "--json", "--restart", "2m")
    assert said.returncode == 0, said.stderr
    body = json.loads(said.stdout)
    assert body["trace"] == {"file": str(trace), "part": "", "format": "philly", "jobs": 4, "notes": []}
    assert body["pool"] == {"h": 5} and body["settings"]["restart_s"] == 120
    by = {one["policy"]: one for one in body["policies"]}
    assert list(by) == ["forebay", "first-come", "backfill", "least-attained", "max-min", "max-throughput"]
    assert by["backfill"]["jct_mean_s"] == pytest.approx((100 + 190 + 10) / 3)
    assert by["first-come"]["jct_mean_s"] == pytest.approx((100 + 190 + 90) / 3)
    assert {one["refused"] for one in body["policies"]} == {1}


def test_the_page_is_whole_and_needs_nothing_else(trace, tmp_path):
    page = tmp_path / "replay.html"
    said = forebay(str(trace), "--cards", "1x5:h", "--plot", str(page))
    assert said.returncode == 0, said.stderr
    text = page.read_text()
    pictures = text.split("<svg")[1:]
    assert len(pictures) == 4  # one of how long jobs took, one of the cards in use for each of three policies
    for picture in pictures:
        ElementTree.fromstring("<svg" + picture.partition("</svg>")[0] + "</svg>")
    assert "http" not in text and "<script" not in text


@pytest.mark.parametrize(
    "words, error",
    [
        ([], "needs a pool"),
        (["--cards", "lots"], "no description of a pool"),
        (["--cards", "1x5:h", "--policy", "fist-come"], "no such policy"),
        (["--cards", "1x5:h", "--restart", "soon"], "no length of time"),
    ],
)
def test_what_is_wrong_is_said(trace, words, error):
    said = forebay(str(trace), *words)
    assert said.returncode == 2
    assert error in said.stderr
