"""`forebay port`: its reports, its exits, and that it leaves everything as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forebay.cli import port
from forebay.errors import BadInput, Conflict, Unknown

KERNEL = '#include <cub/cub.cuh>\n__global__ void k(float* x) {\n  __shared__ float s[32];\n  asm("bar.sync 0;");\n}\n'


@pytest.fixture
def project(tmp_path) -> Path:
    folder = tmp_path / "project"
    (folder / "csrc").mkdir(parents=True)
    (folder / "train.py").write_text("import torch\nx = torch.ones(3).cuda()\n")
    (folder / "csrc" / "k.cu").write_text(KERNEL)
    (folder / "requirements.txt").write_text("torch==2.1.0+cu118\nnumpy\n")
    (folder / "conf.yaml").write_text("device: cuda\n")
    return folder


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(port.app, [str(word) for word in words], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def test_a_folder_is_read_with_all_that_is_beside_python(project):
    _, printed = run(project, "--json", "--to", "cpu", "--to", "mi300x")
    told = json.loads(printed)
    found = {(one["file"], one["line"], one["rule"]) for one in told["findings"]["findings"]}
    assert {
        ("train.py", 2, "cuda-move"),
        ("csrc/k.cu", 1, "cu-file"),
        ("csrc/k.cu", 1, "cu-cub"),
        ("csrc/k.cu", 2, "cu-kernel"),
        ("csrc/k.cu", 3, "cu-shared"),
        ("csrc/k.cu", 4, "cu-asm"),
        ("requirements.txt", 1, "req-cuda-torch"),
        ("conf.yaml", 1, "device-string"),
    } <= found


def test_json_says_what_to_do_and_what_becomes_of_it_by_kind_of_chip(project):
    _, printed = run(project, "--json", "--to", "cpu", "--to", "mi300x", "--to", "mi210", "--to", "h100-sxm")
    told = json.loads(printed)
    assert told["kinds"] == {
        "processor cores": ["cpu"],
        "its torch says cuda, warps of 64 lanes": ["mi300x", "mi210"],
        "NVIDIA": ["h100-sxm"],
    }
    (asm,) = [one for one in told["findings"]["findings"] if one["rule"] == "cu-asm"]
    assert asm["chips"] == {"processor cores": "rewrite", "its torch says cuda, warps of 64 lanes": "rewrite", "NVIDIA": "runs"}
    assert asm["todo"] == "use the intrinsic, or the plain C++, that does the same"
    assert [one["chip"] for one in told["effort"]] == ["any chip", "cpu", "mi300x", "mi210", "h100-sxm"]
    assert told["effort"][-1]["hours"] == 0


@pytest.mark.parametrize("option, name, begin", [("--sarif", "x.sarif", "{"), ("--html", "x.html", "<!doctype html>")])
def test_a_report_goes_into_its_file_or_is_printed(project, tmp_path, option, name, begin):
    code, printed = run(project, option, tmp_path / name)
    assert (code, (tmp_path / name).read_text()[: len(begin)]) == (0, begin)
    assert "findings" in printed
    assert run(project, option, "-")[1].startswith(begin)


def test_sarif_that_is_printed_is_json(project):
    assert json.loads(run(project, "--sarif", "-", "--to", "cpu")[1])["version"] == "2.1.0"


def test_a_report_is_written_even_where_the_gate_fails(project, tmp_path):
    code, _ = run(project, "--to", "cpu", "--fail-on", "rewrite", "--html", tmp_path / "r.html")
    assert (code, (tmp_path / "r.html").exists()) == (1, True)


def test_a_report_takes_the_place_of_an_older_report_only(project, tmp_path):
    (tmp_path / "r.html").write_text("old")
    run(project, "--html", tmp_path / "r.html", "--to", "cpu")
    assert (tmp_path / "r.html").read_text() != "old"
    with pytest.raises(Conflict, match="isn't a report"):
        run(project, "--html", project / "train.py")


def test_where_a_report_cannot_go_is_said_before_anything_is_read(tmp_path):
    for option in ("--html", "--sarif"):
        with pytest.raises(BadInput, match="is a folder"):
            run(tmp_path / "not-there", option, tmp_path)
        with pytest.raises(Unknown, match="no such folder for the report"):
            run(tmp_path / "not-there", option, tmp_path / "no" / "x")


@pytest.mark.parametrize(
    "words",
    [("--json", "--sarif", "-"), ("--json", "--html", "-"), ("--html", "-", "--sarif", "-")],
    ids=lambda words: " ".join(words),
)
def test_one_report_at_a_time(project, words):
    with pytest.raises(BadInput, match="One report at a time"):
        run(project, *words)


def test_an_unknown_chip_is_told_with_the_nearest_names(project):
    with pytest.raises(Unknown, match=r"mi300x"):
        run(project, "--to", "mi300")


def test_a_file_that_is_not_there_is_told_with_the_nearest_names(project):
    with pytest.raises(Unknown, match=r"train\.py"):
        run(project / "trian.py")


def test_an_empty_folder_has_nothing_in_it(tmp_path):
    (tmp_path / "empty").mkdir()
    code, printed = run(tmp_path / "empty", "--to", "cpu")
    assert (code, "Nothing in it speaks of CUDA." in printed) == (0, True)


def test_many_findings_are_told_by_rule_and_file_and_all_of_them_on_request(project):
    (project / "many.sh").write_text("nvidia-smi\n" * 100)
    short, long = run(project, "--to", "cpu")[1], run(project, "--to", "cpu", "--all")[1]
    assert "many.sh:77" not in short and "many.sh:77" in long
    assert "many.sh" in short and "--all prints every line" in short


def test_the_users_files_are_left_as_they_were(project):
    before = contents(project)
    for words in ((), ("--json",), ("--sarif", "-"), ("--html", "-"), ("--all",)):
        run(project, "--to", "cpu", *words)
    assert contents(project) == before


def test_odd_names_and_bytes_are_read(project):
    (project / "<script>alert(1)<script>.sh").write_text("nvidia-smi\n")
    (project / "bytes.yaml").write_bytes(b"device: cuda\n\xff\xfe\0\n")
    (project / "empty.cu").write_text("")
    printed = run(project, "--html", "-", "--to", "cpu")[1]
    assert "<script>alert(1)" not in printed
    assert "&lt;script&gt;alert(1)" in printed


def test_the_help_names_the_exits():
    printed = " ".join(run("--help")[1].split())
    assert "Exits with 0" in printed and "--fail-on says so" in printed


def test_a_folder_with_too_many_files_is_refused(project):
    with pytest.raises(BadInput, match="more than 3"):
        run(project, "--limit-files", 3)


def test_a_file_that_is_no_text_is_told_and_the_rest_is_read(project):
    (project / "broken.py").write_text("x = torch.cuda.Event(")
    (project / "data.yaml").write_bytes(b"device: cuda\n\0\0")
    code, printed = run(project, "--to", "cpu")
    assert code == 0
    assert "not read: broken.py" in printed and "not read: data.yaml" in printed
    assert "train.py:2" in printed


@pytest.mark.parametrize("words", [("--html", "-"), ("--sarif", "-"), ("--fail-on", "blocked")], ids=lambda words: words[0])
def test_a_rewrite_makes_no_report(project, words):
    for option in ("--diff", "--write"):
        with pytest.raises(BadInput, match="makes no report"):
            run(project, option, *words)
    assert (project / "train.py").read_text() == "import torch\nx = torch.ones(3).cuda()\n"


@pytest.mark.parametrize(
    "name, rules",
    [("csrc/k.cu", ["cu-file", "cu-cub", "cu-kernel", "cu-shared", "cu-asm"]), ("requirements.txt", ["req-cuda-torch"])],
)
def test_one_file_beside_python_is_read_too(project, name, rules):
    told = json.loads(run(project / name, "--json", "--to", "cpu")[1])
    assert [one["rule"] for one in told["findings"]["findings"]] == rules


def test_the_page_tells_what_the_rewrite_takes_off(project):
    told = run(project, "--html", "-", "--to", "tpu-v4")[1]
    assert "after forebay port --write" in told
    assert "<title>project</title>" in told
