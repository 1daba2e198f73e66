"""`forebay chips` as a person or a program meets it."""

import json

import pytest
from typer.testing import CliRunner

from forebay.chips import catalogue
from forebay.chips.chip import Chip
from forebay.cli.chips import app, in_words, unknown
from forebay.cli.main import VERBS
from forebay.codec import decode
from forebay.errors import Unknown


def chips(*args):
    done = CliRunner().invoke(app, args, prog_name="forebay chips", env={"COLUMNS": "120"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0
    return done.stdout


def test_the_list_names_every_chip_once():
    first_words = [line.split()[0] for line in chips().splitlines() if line.strip()]
    assert [word for word in first_words if word in catalogue.load()] == list(catalogue.load())


def test_the_list_as_json_is_the_catalogue():
    assert [decode(Chip, entry) for entry in json.loads(chips("--json"))] == list(catalogue.load().values())


def test_the_list_of_one_vendor_holds_no_other():
    listed = json.loads(chips("--vendor", "Huawei", "--json"))
    assert {entry["vendor"] for entry in listed} == {"huawei"}
    assert "ascend-910b" in {entry["name"] for entry in listed}


def test_an_unknown_vendor_is_answered_with_the_nearest():
    with pytest.raises(Unknown) as caught:
        chips("--vendor", "nvida")
    assert "nvidia" in caught.value.hint


def test_a_chip_is_explained_with_its_sources_and_ridge():
    told = chips("show", "h100-sxm")
    assert "989 TFLOP/s, ridge 295 flop/byte" in told
    assert "NVIDIA H100 Tensor Core GPU data sheet" in told
    assert "CUDA_VISIBLE_DEVICES" in told


def test_what_is_unknown_of_a_chip_is_said():
    assert "Unknown, for want of a trustworthy source: memory, memory bandwidth" in chips("show", "mlu590")
    assert unknown(catalogue.find("h100-sxm")) == []


def test_a_chip_as_json_has_the_noun_its_ridges_and_its_gaps():
    told = json.loads(chips("show", "a100-sxm-80gb", "--json"))
    assert decode(Chip, told["chip"]) == catalogue.find("a100-sxm-80gb")
    assert round(told["ridge_flop_per_byte"]["bf16"]) == 153
    assert told["unknown"] == []


def test_an_unknown_chip_is_answered_with_the_nearest_names():
    with pytest.raises(Unknown) as caught:
        chips("show", "ascend910c")
    assert "ascend-910c" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "words"),
    [("mi300x", "keeps the name cuda"), ("ascend-910b", "calls the device npu"), ("cpu", "the shim's own cuda device")],
)
def test_the_first_sentence_says_what_becomes_of_cuda_code(name, words):
    assert words in in_words(catalogue.find(name)).partition(". ")[0]


def test_the_help_says_what_the_list_of_verbs_says():
    assert VERBS["chips"] in " ".join(chips("--help").split())
