"""Clouds live by their seeds, and keep their promises. `make test` has 10,000 steps of it, the slow test 120,000."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .plan import draw
from .world import Failed, World, live

ROOT = Path(__file__).parents[2]
FAST, FAST_STEPS = (3, 4, 5, 6), 2_500  # 10,000 steps together, of lives that are lived quickly
LIVES, STEPS = 10, 2_000  # of one slow test
SLOW_TESTS = 6  # x LIVES x STEPS = 120,000 steps: a million is 50 minutes of CPU, more than CI has


@pytest.mark.parametrize("seed", FAST)
def test_a_cloud_keeps_its_promises(seed):
    life = live(seed, FAST_STEPS)
    assert life.steps >= FAST_STEPS and life.jobs > 100


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", range(SLOW_TESTS))
def test_a_cloud_keeps_its_promises_for_long(number):
    for seed in range(1000 + number * LIVES, 1000 + (number + 1) * LIVES):
        assert live(seed, STEPS).steps >= STEPS


def test_the_same_seed_gives_the_same_journal_in_any_process():
    lives = [_process("--seed", "7", "--steps", "600", hash_seed=seed) for seed in ("1", "2")]
    digests = [told.split()[-1] for told in lives]
    assert digests[0] == digests[1] != ""


def test_another_seed_gives_another_life():
    assert draw(1) != draw(2)
    assert live(1, 300).digest != live(2, 300).digest


def test_a_broken_promise_is_told_with_its_seed_its_step_and_the_last_events(monkeypatch):
    def look(world: World, state: object) -> None:
        if world.steps > 200:
            world.fail("a promise that nobody can keep")

    monkeypatch.setattr(World, "look", look)
    with pytest.raises(Failed, match="a promise that nobody can keep") as failed:
        live(5, 1000)
    told = str(failed.value)
    assert "seed 5, step 2" in told and "the last 30 events:" in told
    assert "again: python -m tests.simulation --seed 5 --steps 1000" in told


def _process(*asked: str, hash_seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *asked],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
