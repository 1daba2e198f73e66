"""Clouds live by their seeds, and keep their promises: 10,000 steps of it. `make test-slow` has a million, and the long lives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .many import together
from .plan import draw
from .world import Failed, World, live

ROOT = Path(__file__).parents[2]
SEEDS, STEPS = range(3, 13), 1_000  # 10,000 steps together; the life of seed 10 is on SQLite
LONG, LONG_STEPS = (5, 6, 7, 8), 5_000


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cloud_keeps_its_promises(seed):
    life = live(seed, STEPS)
    assert life.steps >= STEPS and life.jobs > 50


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", LONG)
def test_a_cloud_keeps_its_promises_for_long(seed):
    assert live(seed, LONG_STEPS, on_sqlite=True).steps >= LONG_STEPS


def test_a_life_is_the_same_on_sqlite_and_in_memory():
    on_sqlite, in_memory = live(1, 500, on_sqlite=True), live(1, 500, on_sqlite=False)
    assert on_sqlite == in_memory
    assert on_sqlite.crashes, "over restarts too"


def test_lives_on_several_processes_are_those_on_one():
    lives = ("--seed", "21", "--lives", "2", "--steps", "150")
    one, two = (_process(*lives, "--processes", number, hash_seed="1") for number in ("1", "2"))
    digests = [sorted(line.split()[-1] for line in told.splitlines() if line.startswith("seed")) for told in (one, two)]
    assert digests[0] == digests[1] and len(digests[0]) == 2
    assert "every promise was kept" in two


def test_a_million_steps_are_as_many_lives_as_make_them():
    lives = together(1000, 1_000_000)
    assert sum(one.steps for one in lives) >= 1_000_000 > sum(one.steps for one in lives[:-1])
    assert [one.seed for one in lives] == list(range(1000, 1000 + len(lives)))


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
