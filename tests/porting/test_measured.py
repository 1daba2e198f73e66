"""What a script calls by name, and what a scorecard makes of it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forebay.chips import certified
from forebay.chips.scorecard import Scorecard
from forebay.cli import port
from forebay.porting import operators
from forebay.porting.findings import Verdict, Word
from forebay.porting.measured import card_of, failing, worsened
from forebay.porting.operators import base, called, family, of_files

HEAD = "import torch, numpy as np\nimport torch.nn.functional as F\nfrom torch import nn, softmax as soft\n"


def calls(text):
    return called(ast.parse(HEAD + text), "train.py")


def names(text):
    return [one.operator for one in calls(text).called]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("torch.relu(x)", ["nn.functional.relu"]),
        ("F.relu_(x)", ["nn.functional.relu"]),
        ("F.softmax(x, 1); soft(x, 1)", ["softmax", "softmax"]),
        ("torch.linalg.norm(x)", ["linalg.norm"]),
        ("torch.arccos(x)", ["acos"]),
        ("layer = nn.Conv2d(3, 8, 3)", ["nn.functional.conv2d"]),
        ("y = map(F.silu, xs)", ["nn.functional.silu"]),
        ("x.masked_fill_(m, 0)", ["masked_fill"]),
        ("torch.Tensor.unsqueeze(x, 0)", ["unsqueeze"]),
        ("def f(act=nn.GELU): pass", ["nn.functional.gelu"]),
        ("ops = torch.fft\nops.fft(x)", ["fft.fft"]),
        ("def f():\n    def g():\n        return F.gelu(1)", ["nn.functional.gelu"]),
        (
            "import torch.nn as tnn\nclass M(tnn.Module):\n    def __init__(self): self.a = tnn.Linear(1, 2)",
            ["nn.functional.linear"],
        ),
    ],
)
def test_an_operator_is_found_however_it_is_spelled(text, expected):
    assert names(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "np.maximum(a, b); np.linalg.norm(a)",
        "x.sum(); x.reshape(2); items.sort(); text.split()",
        "def relu(x): return x\nrelu(1)",
        "def f(F): return F.conv2d(1)",
        "softmax(x)",
        "'torch.relu'",
        "model.to('cuda'); model.float()",
        "ax.scatter(x, y)",
    ],
)
def test_what_only_looks_like_an_operator_is_left_alone(text):
    assert names(text) == []


def test_a_line_is_told_and_gradients_are_noticed():
    found = calls("\nloss = F.mse_loss(a, b)\nloss.backward()")
    assert [(one.line, one.what) for one in found.called] == [(5, "torch.nn.functional.mse_loss")]
    assert found.gradients and not calls("F.mse_loss(a, b)").gradients


def test_files_that_cannot_be_read_or_parsed_call_nothing(tmp_path):
    (tmp_path / "good.py").write_text("import torch\ntorch.relu(torch.ones(1))")
    (tmp_path / "other.py").write_text("import torch\nloss.backward()")
    (tmp_path / "bad.py").write_text("import torch\nprint 'torch.relu'")
    files = ["good.py", "other.py", "bad.py", "absent.py", "kernel.cu"]
    found = of_files(tmp_path, files, {"nn.functional.relu"})
    assert [(one.operator, one.file) for one in found.called] == [("nn.functional.relu", "good.py")]
    assert found.gradients
    assert of_files(tmp_path, files, frozenset()).called == ()


def test_what_the_scorecard_says_nothing_of_is_not_looked_for():
    assert failing(CARD) == {"fft.fft", "nn.functional.gelu", "einsum", "cumsum", "logsumexp", "div"}


def test_variants_belong_to_their_operator_and_each_operator_to_a_family():
    assert base("div.floor_rounding") == "div" and base("linalg.norm") == "linalg.norm"
    assert family("nn.functional.conv2d") == "convolution" and family("never.heard") == "other"


CARD = Scorecard(
    chip="ascend-910b",
    measured_on="2026-11-22",
    columns=("float32 forward", "float32 backward", "bfloat16 forward"),
    operators={
        "nn.functional.relu": "sss",
        "fft.fft": "ee-",
        "nn.functional.gelu": "scs",
        "einsum": "hhs",
        "cumsum": "nss",
        "logsumexp": "ssw",
        "div.no_rounding_mode": "sss",
        "div.floor_rounding": "wws",
        "multinomial": "u-u",
    },
)
READ = Verdict(chip="ascend-910b", verdict=Word.RUNS, why=("read",), proven="never")


def judged(text, needs=(), read=READ):
    found = worsened(read, calls(text), needs, CARD)
    return found.verdict, found.why


def test_usable_operators_leave_the_verdict_as_it_was_read():
    assert judged("F.relu(x)") == (Word.RUNS, ("read",))


def test_a_missing_operator_is_a_rewrite_with_its_line():
    word, why = judged("F.relu(x)\ntorch.fft.fft(x)\ntorch.fft.fft(y)")
    assert word is Word.REWRITE
    assert why == ("fft.fft (train.py:5 and 1 more): raised an error in some call (measured on 2026-11-22)", "read")


def test_a_fault_in_backward_counts_only_where_gradients_are_asked_for():
    assert judged("F.gelu(x)")[0] is Word.RUNS
    assert judged("F.gelu(x).backward()")[0] is Word.REWRITE


def test_a_fault_in_a_format_counts_only_where_the_script_computes_in_it():
    assert judged("torch.logsumexp(x, 0)")[0] is Word.RUNS
    word, why = judged("torch.logsumexp(x, 0)", ("a device", "bf16"))
    assert (word, why[0]) == (Word.REWRITE, "logsumexp (train.py:4): gave wrong values in some call (measured on 2026-11-22)")


def test_a_silent_fallback_is_emulated_and_slow():
    word, why = judged("torch.einsum('ij', x)")
    assert (word, why[0]) == (Word.EMULATED, "einsum (train.py:4): slow: computed on the host (measured on 2026-11-22)")


def test_what_is_only_nondeterministic_is_told_and_what_was_not_tested_says_nothing():
    assert judged("torch.cumsum(x, 0)")[0] is Word.RUNS
    assert judged("torch.cumsum(x, 0)")[1][1].startswith("cumsum (train.py:4): wasn't the same twice")
    assert judged("torch.multinomial(x, 1)") == (Word.RUNS, ("read",))


def test_an_operator_of_several_variants_counts_by_its_best():
    assert judged("torch.div(x, y)")[0] is Word.RUNS


def test_a_measurement_never_betters_what_was_read():
    blocked = Verdict(chip="ascend-910b", verdict=Word.BLOCKED, why=("kernels",), proven="never")
    word, why = judged("torch.fft.fft(x)", read=blocked)
    assert word is Word.BLOCKED and why[0] == "kernels" and "fft.fft" in why[1]


def test_on_cores_the_card_of_the_simulated_device_speaks():
    cards = {"cpu": Scorecard(chip="cpu", measured_on="x"), "simulated": CARD}
    assert card_of("cpu", cards) is CARD and card_of("h100-sxm", cards) is None
    assert card_of("cpu", {"cpu": cards["cpu"]}) is cards["cpu"]


def test_port_says_what_a_kept_scorecard_knows(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    script = tmp_path / "train.py"
    script.write_text("import torch\nx = torch.ones(4, device='cuda')\ny = torch.fft.fft(x)\n")
    words = ["--to", "h100-sxm", "--json", str(script)]
    before = json.loads(CliRunner().invoke(port.app, words).stdout)["verdicts"]
    certified.keep(replace(CARD, chip="h100-sxm"))
    after = json.loads(CliRunner().invoke(port.app, words).stdout)["verdicts"]
    assert (before[0]["verdict"], after[0]["verdict"]) == ("runs", "rewrite")
    assert after[0]["why"][0] == "fft.fft (train.py:3): raised an error in some call (measured on 2026-11-22)"


@pytest.mark.slow
def test_the_table_of_names_is_what_torch_says():
    torch = pytest.importorskip("torch")
    shipped = json.loads((Path(operators.__file__).with_name("operators.json")).read_text())
    if shipped["torch"] != torch.__version__.partition("+")[0]:
        pytest.skip(f"the table is of torch {shipped['torch']}")
    said = subprocess.run([sys.executable, "-m", "forebay.porting.certify.names"], capture_output=True, text=True, timeout=900)
    assert json.loads(said.stdout) == shipped
