"""Scripts that run on a (simulated) card run there after the rewrite as before, and on plain torch too, with the same losses."""

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.porting.rewrite.rewrite import rewrite

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch isn't installed")
SCRIPTS = Path(__file__).parent / "scripts"
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_SHIM")}


def ported(name, folder):
    """The script after the rewrite. Nothing of CUDA's is left in it but what is harmless."""
    one = rewrite((SCRIPTS / name).read_bytes(), name)
    assert {item.finding.rule for item in one.left} <= {"backends"}
    (folder / name).write_bytes(one.after)
    return folder / name


def run(script, *words, cards=0):
    """What it prints: on plain torch, or on so many simulated cards."""
    place = os.environ.get("FOREBAY_TEST_SHIM_CACHE") or str(Path.home() / ".cache" / "forebay" / "shim")
    under = ["-m", "forebay.porting.shim", "--cache", place, "--cards", str(cards)] if cards else []
    done = subprocess.run([sys.executable, *under, str(script), *words], capture_output=True, text=True, env=PLAIN)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def test_a_training_script_for_one_card_runs_on_plain_torch_after_the_rewrite(tmp_path):
    losses = run(ported("train.py", tmp_path)).splitlines()[1:-1]
    assert len(losses) == 8
    assert float(losses[-1]) < float(losses[0])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_on_a_card_it_prints_what_it_printed_before_and_on_plain_torch_the_same_losses(tmp_path):
    after = ported("train.py", tmp_path)
    assert run(SCRIPTS / "train.py", cards=1) == run(after, cards=1) == run(after)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_ranks_train_as_before_and_over_gloo_on_the_host(tmp_path):
    after = ported("ranks.py", tmp_path)
    before = run(SCRIPTS / "ranks.py", free_port(), cards=2)
    assert len(before.split()) == 5
    assert run(after, free_port(), cards=2) == before
    assert run(after, free_port()) == before
