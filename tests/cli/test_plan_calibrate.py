"""`forebay plan calibrate`: what is kept moves the next plan; what makes no sense is refused, and nothing is kept."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from forebay.cli.plan import app

ASK = ["choose", "llama-3-8b", "--on", "h100-sxm:8", "--batch", "64"]
UNEVEN = ["choose", "llama-3-70b", "--on", "h100-sxm:64", "--batch", "512"]  # its best plan has stages of unequal layers


def said(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(("ask", "uneven"), [(ASK, False), (UNEVEN, True)], ids=["even", "uneven"])
def test_a_measured_step_moves_the_next_plan(ask, uneven, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    menu = str(tmp_path / "menu.json")
    before = json.loads(said(*ask, "--write", menu, "--json"))["choices"][0]
    assert bool(before["plan"]["layers"]) == uneven
    slow = before["seconds_a_step"] * 1.1
    words = ("calibrate", "--menu", menu, "--seconds", f"{slow}", "--release", "ours-1")
    (written,) = json.loads(said(*words, "--json"))["written"]
    assert written.startswith(str(tmp_path)) and written.endswith("h100-sxm.bf16.release-ours-1.json")
    after = json.loads(said(*ask, "--json"))["choices"]
    same = [one for one in after if one["plan"] == before["plan"]]
    assert same[0]["seconds_a_step"] == pytest.approx(slow, rel=1e-3)
    assert "ours-1" in same[0]["tier"]


def test_what_makes_no_sense_is_refused_and_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    menu = str(tmp_path / "menu.json")
    said(*ASK, "--write", menu)
    for words in (
        [],
        ["--menu", menu],
        ["--menu", menu, "--seconds", "-1", "--release", "x", "--on", "h100-sxm:8"],
        ["--menu", menu, "--seconds", "0.001", "--release", "x", "--on", "h100-sxm:8"],
        ["--menu", menu, "--seconds", "7", "--release", "x", "--on", "h100-sxm:4"],
    ):
        assert CliRunner().invoke(app, ["calibrate", *words]).exit_code != 0
    assert not (tmp_path / "forebay").exists()
