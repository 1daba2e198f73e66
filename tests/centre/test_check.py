"""The look at a run's cards: what it finds, what it costs, and what becomes of the run. The broken cards are broken by a base
environment whose torch computes wrongly on one of them.
"""

from __future__ import annotations

import os
import sys
import textwrap
import time
from pathlib import Path

import pytest

from forebay.centre import order
from forebay.centre.spec import Outcome, Phase
from forebay.job import check

from .conftest import TWO, Centre

pytest.importorskip("torch")

TRAINS = "import torch\nprint('trained', flush=True)\n"
DIES = "import os, torch\nprint('up', flush=True)\nos.kill(os.getpid(), 9)\n"


BREAKER = """
import importlib.machinery, os, sys

class Breaker:
    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def exec_module(torch):
            execute(torch)
FAULT
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Breaker())
"""


def broken_base(folder: Path, fault: str) -> Path:
    """A base environment whose torch does `fault` once it is imported."""
    (folder / "fault").mkdir()
    (folder / "fault" / "sitecustomize.py").write_text(BREAKER.replace("FAULT", textwrap.indent(fault.strip(), " " * 12)))
    base = folder / "python"
    base.write_text(f'#!/bin/sh\nPYTHONPATH={folder}/fault exec {sys.executable} "$@"\n')
    base.chmod(0o755)
    for above in (folder, *folder.parents[:-1]):
        if above.stat().st_uid == os.geteuid():
            above.chmod(above.stat().st_mode | 0o011)
    return base


WRONG_PRODUCT = """
right = torch.Tensor.__matmul__
def wrong(a, b):
    return right(a, b) + (os.environ.get("FOREBAY_CHECK_CARD") == "1" and a.dtype == torch.float32)
torch.Tensor.__matmul__ = wrong
"""


@pytest.fixture
def broken(centre: Centre, tmp_path: Path, carried: None) -> Centre:
    centre.engine.close()
    centre.engine = centre.open(base={"*": broken_base(tmp_path, WRONG_PRODUCT)})
    return centre


def test_good_cards_are_found_to_be_good_and_the_look_is_not_held(centre: Centre, carried: None) -> None:
    seen = centre.run(TRAINS, shares=TWO)
    (found,) = seen.checks
    assert (seen.outcome, found.node, found.cards, found.when, found.bad, found.skipped) == (
        Outcome.SUCCEEDED,
        "here",
        (0, 1),
        "before",
        {},
        "",
    )
    assert 0 < found.took_s < 10
    assert seen.held_ns <= seen.ended_at_ns - seen.started_at_ns - found.took_s * 10**9 + 10**8


def test_a_card_that_computes_wrongly_is_named_and_the_ranks_are_not_started(broken: Centre) -> None:
    seen = broken.run(TRAINS, shares=TWO)
    assert seen.outcome is Outcome.UNFIT
    assert seen.reason.startswith("A check before the ranks were started failed: card 1 of here: ")
    assert seen.checks[0].bad == {"1": "147456 of 147456 entries of a product of whole numbers in float32 are wrong"}
    assert broken.lines() == []


def test_cards_that_were_looked_at_lately_are_not_looked_at_again(broken: Centre) -> None:
    assert broken.run(TRAINS, shares=TWO, checked_s_ago=60.0).outcome is Outcome.SUCCEEDED
    assert broken.run(TRAINS, name="j-2", shares=TWO, checked_s_ago=7200.0).outcome is Outcome.UNFIT


def test_after_a_rank_died_the_cards_are_looked_at(broken: Centre) -> None:
    seen = broken.run(DIES, shares=TWO, checked_s_ago=60.0)
    assert (seen.outcome, [(found.when, list(found.bad)) for found in seen.checks]) == (Outcome.FAILED, [("after", ["1"])])
    assert "killed by signal 9" in seen.reason


def test_a_program_without_torch_costs_no_look(centre: Centre) -> None:
    assert centre.run("print(1)").checks == ()
    assert centre.run("import sys\nsys.exit(3)", name="j-2").checks == ()


def test_a_base_that_can_not_be_looked_at_says_so_and_the_run_goes_on_to_its_own_end(centre: Centre, tmp_path: Path) -> None:
    base = broken_base(tmp_path, "raise ImportError('libascendcl.so: cannot open shared object file')")
    centre.engine.close()
    centre.engine = centre.open(base={"*": base})
    seen = centre.run(TRAINS)
    assert seen.phase is Phase.ENDED and seen.outcome is Outcome.UNPREPARED


def test_a_card_that_hangs_is_bad_within_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "PATIENCE_S", 1.0)
    monkeypatch.setattr(check, "_alone", lambda mine: time.sleep(600) if mine["card"] == 5 else "")
    found = check.look({"cards": [4, 5], "device": "cpu", "visible": None, "backend": "gloo", "fork": True})
    assert found["bad"] == {"5": "it gave no answer within 1 s"}
    assert found["took_s"] < 5


def test_a_card_that_kills_whoever_touches_it_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_alone", lambda mine: os.kill(os.getpid(), 9))
    found = check.look({"cards": [0], "device": "cpu", "visible": None, "backend": "gloo", "fork": True})
    assert found["bad"] == {"0": "the process that looked at it was killed by signal 9"}


def test_a_collective_that_adds_up_wrongly_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed as dist

    right = dist.all_reduce
    monkeypatch.setattr(dist, "all_reduce", lambda x: (right(x), x.add_(os.environ["FOREBAY_CHECK_CARD"] == "7")))
    found = check.look({"cards": [6, 7], "device": "cpu", "visible": None, "backend": "gloo", "fork": True})
    assert found["bad"] == {"7": "4096 of 4096 sums over its 2 cards are wrong"}


def test_of_a_chip_that_this_torch_does_not_drive_nothing_is_said() -> None:
    found = check.look({"cards": [0, 1], "device": "npu", "visible": None, "backend": "hccl", "fork": True})
    assert (found["bad"], found["skipped"]) == ({}, "the base environment's torch drives no npu card")


@pytest.mark.parametrize(
    "ago, every, due", [(None, "1h", True), (10.0, "1h", False), (3601.0, "1h", True), (None, "never", False), (5.0, "0s", True)]
)
def test_a_look_is_due_when_the_last_good_one_is_too_old(ago: float | None, every: str, due: bool) -> None:
    assert order.check_due(ago, every) is due
