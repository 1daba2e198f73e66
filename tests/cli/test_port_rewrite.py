"""`forebay port --diff` and `--write`, as a person types them."""

import json
import subprocess
import sys

import pytest

BODY = b"import torch\n\nx = x.cuda()\ng = torch.cuda.CUDAGraph()\n"


def forebay(folder, *words):
    return subprocess.run([sys.executable, "-m", "forebay.cli", "port", *words], cwd=folder, capture_output=True)


@pytest.fixture
def script(tmp_path):
    (tmp_path / "train.py").write_bytes(BODY)
    return tmp_path / "train.py"


def test_the_diff_goes_to_stdout_and_the_summary_beside_it(script):
    done = forebay(script.parent, ".", "--diff")
    assert done.returncode == 0
    assert done.stdout.startswith(b"diff --git a/train.py b/train.py\n--- a/train.py\n+++ b/train.py\n@@ ")
    assert b"+x = x.to(DEVICE)\n" in done.stdout
    assert b"\x1b" not in done.stdout
    said = done.stderr.decode()
    assert said.startswith("1 of 2 findings settled in 1 file.\n  left 1: CUDA graphs have no counterpart")
    assert "The new text needs torch 2.6 or newer." in said
    assert script.read_bytes() == BODY


def test_git_takes_what_the_command_prints(script):
    patch = forebay(script.parent, "train.py", "--diff").stdout
    subprocess.run(["git", "apply", "-"], cwd=script.parent, input=patch, check=True)
    assert b"x = x.to(DEVICE)\n" in script.read_bytes()


def test_write_says_where_the_originals_are(script):
    done = forebay(script.parent, "train.py", "--write")
    assert b"The original of 1 file is beside it: train.py.orig" in done.stdout
    assert (script.parent / "train.py.orig").read_bytes() == BODY
    again = forebay(script.parent, "train.py", "--write")
    assert b"0 of 1 findings settled in 0 files." in again.stdout
    assert b"Nothing was written." in again.stdout


def test_json_has_every_edit_and_what_is_left(script):
    told = json.loads(forebay(script.parent, "train.py", "--diff", "--json").stdout)
    assert (told["settled"], told["findings"], told["torch"], told["written"]) == (1, 2, "2.6", None)
    assert told["files"][0]["edits"] == [{"line": 3, "rule": "cuda-move", "before": "x.cuda()", "after": "x.to(DEVICE)"}]
    assert [one["rule"] for one in told["files"][0]["left"]] == ["graphs"]


def test_rewriting_and_judging_are_two_runs(script):
    done = forebay(script.parent, "train.py", "--diff", "--fail-on", "blocked")
    assert done.returncode == 2
    assert b"The rewrite makes no report." in done.stderr
