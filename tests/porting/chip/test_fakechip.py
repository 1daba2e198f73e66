"""Scripts written for CUDA run on a chip with a name of its own. Each check is a function in checks/, named as a sentence."""

from pathlib import Path

import pytest

from ..shim.conftest import answers, run, sentences

HERE = Path(__file__).parent
RUNNER = HERE.parent / "shim" / "run_checks.py"
EXAMPLE = HERE.parents[2] / "examples" / "train_gpt.py"


@pytest.fixture(scope="module")
def said(fakechip):
    known = {}

    def of(file, ranks=0):
        if file not in known:
            ended = run(fakechip, RUNNER, HERE / "checks" / f"{file}.py", ranks=ranks)
            known[file] = [answers(one) for one in (ended if ranks else [ended])]
        return known[file]

    return of


@pytest.mark.parametrize("check", sentences(HERE / "checks" / "identity.py"))
def test_the_identity_layer(said, check):
    (answer,) = said("identity")
    assert answer[check] == "", answer[check]


@pytest.mark.parametrize("check", sentences(HERE / "checks" / "groups.py"))
def test_two_ranks(said, check):
    for answer in said("groups", ranks=2):
        assert answer[check] == "", answer[check]


def test_the_example_trains_on_two_cards_and_goes_on_from_its_checkpoint(fakechip, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 800)
    words = [EXAMPLE, "--data", tmp_path / "data", "--out", tmp_path / "out", "--batch", "2"]
    first = run(fakechip, *words, "--steps", "4", ranks=2)
    assert [one.returncode for one in first] == [0, 0], first[0].stderr
    second = run(fakechip, *words, "--steps", "6", ranks=2)
    assert "going on from step 4" in second[0].stdout, second[0].stderr


def test_cards_are_hidden_by_cudas_variable(fakechip):
    seen = run(fakechip, "-c", "import torch; print(torch.cuda.device_count())", CUDA_VISIBLE_DEVICES="1")
    assert seen.stdout.split() == ["1"], seen.stderr


def test_the_report_names_the_chip(fakechip, tmp_path):
    place = tmp_path / "report.json"
    run(fakechip, "-c", "import torch; torch.ones(1).cuda(); torch.cuda.synchronize()", FOREBAY_SHIM_REPORT=str(place))
    assert '"carrier": "chip"' in place.read_text()
