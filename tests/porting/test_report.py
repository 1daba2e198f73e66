"""What becomes of a script on each chip; and the command that says so."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from forebay.chips import catalogue
from forebay.chips.chip import Chip
from forebay.cli import port
from forebay.errors import BadInput, BadScript, Unknown
from forebay.porting import report
from forebay.porting.findings import Findings, Word
from forebay.porting.scan import scan_script, scan_tree
from forebay.porting.shim.names import NAMES

NVIDIA = Chip(name="a100", vendor="nvidia", title="", device_type="cuda", backend="nccl", speaks_cuda=True)
OLD = Chip(
    name="v100", vendor="nvidia", title="", device_type="cuda", backend="nccl", speaks_cuda=True, flop_per_s={"fp16": 1e14}
)
KIN = Chip(name="mi300x", vendor="amd", title="", device_type="cuda", backend="nccl", speaks_cuda=True)
OWN = Chip(name="ascend", vendor="huawei", title="", device_type="npu", backend="hccl")
UNKNOWN = Chip(name="tpu-v4", vendor="google", title="", device_type="xla", plugin="torch_xla")
ALONE = Chip(name="mps", vendor="apple", title="", device_type="mps")
CPU = Chip(name="cpu", vendor="cpu", title="", device_type="cpu", backend="gloo")


@pytest.fixture
def found(tmp_path):
    def of(code: str) -> Findings:
        (tmp_path / "x.py").write_text("import torch\n" + code)
        return scan_script(tmp_path / "x.py")

    return of


def words(findings: Findings, *chips: Chip) -> list[str]:
    return [verdict.verdict.value for verdict in report.verdicts(findings, chips)]


@pytest.mark.parametrize(
    "code, nvidia, kin, cpu, own",
    [
        ("x = x.cuda()", "runs", "runs", "runs", "runs"),
        ("torch.cuda.Event().record()", "runs", "runs", "emulated", "runs"),
        ("import os; os.system('nvidia-smi'); x.cuda()", "runs", "rewrite", "emulated", "emulated"),
        ("import flash_attn", "runs", "rewrite", "emulated", "emulated"),
        ("import transformer_engine", "runs", "rewrite", "blocked", "blocked"),
        ("torch.cuda.CUDAGraph()", "runs", "runs", "emulated", "rewrite"),
        ("torch.cuda.temperature()", "runs", "rewrite", "rewrite", "rewrite"),
        ("try:\n  import flash_attn\nexcept ImportError: pass\nx.cuda()", "runs", "runs", "runs", "runs"),
        ("import triton", "runs", "rewrite", "emulated", "rewrite"),
        ("torch.utils.cpp_extension.load('k', ['k.cu'])", "runs", "rewrite", "emulated", "blocked"),
    ],
)
def test_the_worst_line_decides(found, code, nvidia, kin, cpu, own):
    assert words(found(code), NVIDIA, KIN, CPU, OWN) == [nvidia, kin, cpu, own]


@pytest.mark.parametrize("name", sorted(name for name in NAMES if "." not in name))
def test_the_verdict_on_cores_agrees_with_the_shims_own_table(found, name):
    refused = NAMES[name].fidelity == "refused"
    assert (words(found(f"torch.cuda.{name}"), CPU) == ["rewrite"]) == refused


def test_kernels_are_translated_for_chips_whose_compiler_knows_them(found):
    musa = replace(OWN, name="own-musa", device_type="musa", plugin="torch_musa")
    assert words(found("torch.utils.cpp_extension.load('k', ['k.cu'])"), OWN, musa) == ["blocked", "rewrite"]


def test_what_only_starts_a_program_is_told_beside_its_verdict(tmp_path):
    (tmp_path / "train.py").write_text("import torch\nx = torch.ones(2).cuda()\n")
    (tmp_path / "launch.sh").write_text("#!/bin/sh\ndocker run --gpus all image python train.py\n")
    (verdict,) = report.verdicts(scan_tree(tmp_path), [catalogue.find("cpu")])
    assert verdict.verdict is Word.RUNS
    assert verdict.why == ("beside the program: asks a container or a queue for NVIDIA's cards (launch.sh:2)",)


def test_a_script_that_names_no_device_runs_anywhere_and_uses_no_card(found):
    (verdict,) = report.verdicts(found("print(torch.ones(3), 'results/cuda.json')"), [OWN])
    assert verdict.verdict is Word.RUNS
    assert "leave the card idle" in verdict.why[0]


def test_a_chip_with_a_name_of_its_own_runs_it_where_there_is_an_adapter(found):
    with_one, without = report.verdicts(found("x = x.cuda()"), [OWN, UNKNOWN])
    assert (with_one.verdict, with_one.why) == (Word.RUNS, (report.OWN_NAME,))
    assert (without.verdict, without.why) == (Word.REWRITE, (report.NO_ADAPTER,))


def test_a_run_on_a_card_that_was_kept_is_told(found):
    (verdict,) = report.verdicts(found("x = x.cuda()"), [OWN], {OWN.name: "2026-11-22: torch 2.13.0, 9 of 10 checks"})
    assert verdict.proven == "2026-11-22: torch 2.13.0, 9 of 10 checks"


def test_nothing_is_called_proven_that_was_never_run(found):
    proven = {verdict.chip: verdict.proven for verdict in report.verdicts(found("x.cuda()"), catalogue.load().values())}
    assert {chip for chip, word in proven.items() if word != "never"} == {"cpu"}


def test_a_reason_says_where(found):
    (verdict,) = report.verdicts(found("import spconv\nimport cupy\n"), [CPU])
    assert verdict.why == ("a package with CUDA binaries (x.py:2, x.py:3)",)


def test_a_missing_figure_is_told_and_changes_no_verdict(found):
    (old, unknown) = report.verdicts(found("x = x.cuda().bfloat16()"), [OLD, NVIDIA])
    assert (old.verdict, old.why) == (Word.RUNS, ("the catalogue has no bf16 figure for it: slow there, or missing",))
    assert (unknown.verdict, unknown.why) == (Word.RUNS, ())


def test_several_cards_on_a_chip_without_a_backend_is_told(found):
    (verdict,) = report.verdicts(found("torch.distributed.init_process_group('nccl')"), [ALONE])
    assert "no backend of torch.distributed is known for it: one card a run" in verdict.why


# ---------------------------------------------------------------- the command


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(port.app, [str(word) for word in words], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "train.py"
    path.write_text("import torch\nx = torch.ones(3).cuda()\nimport spconv\n")
    return path


def test_the_command_prints_findings_and_verdicts_as_json(script):
    code, output = run(script, "--to", "cpu", "--to", "h100-sxm", "--json")
    answer = json.loads(output)
    assert code == 0
    assert [(f["line"], f["rule"]) for f in answer["findings"]["findings"]] == [(2, "cuda-move"), (3, "cuda-package")]
    assert [(v["chip"], v["verdict"]) for v in answer["verdicts"]] == [("cpu", "blocked"), ("h100-sxm", "runs")]


def test_the_command_prints_a_line_a_finding(script):
    code, output = run(script, "--to", "cpu")
    assert code == 0
    told = " ".join(output.split())  # as wide as the terminal may be
    assert ".cuda() moves a tensor or module to the current card" in told
    assert "blocked" in told
    assert "no file was changed" in told


@pytest.mark.parametrize(
    "level, chip, code",
    [
        ("blocked", "cpu", 1),
        ("blocked", "h100-sxm", 0),
        ("rewrite", "mi300x", 1),
        ("blocked", "mi300x", 0),
        ("emulated", "cpu", 1),
    ],
)
def test_the_command_fails_at_the_level_it_is_told(script, level, chip, code):
    assert run(script, "--to", chip, "--fail-on", level)[0] == code


def test_bad_words_are_refused_with_what_to_try(script, tmp_path):
    with pytest.raises(BadInput, match="emulated, rewrite or blocked"):
        run(script, "--fail-on", "sometimes")
    with pytest.raises(Unknown, match="h100-sxm"):
        run(script, "--to", "h100")
    with pytest.raises(Unknown, match=r"train\.py"):
        run(tmp_path / "tran.py")
    (tmp_path / "bad.py").write_text("x = (")
    with pytest.raises(BadScript, match="line 1, column 5"):
        run(tmp_path / "bad.py")
