"""Which stand-ins a run has, and nvidia-smi's words without a process of its own."""

import json

import pytest

from forebay.errors import BadInput
from forebay.porting.shim.standins import smi
from forebay.porting.shim.standins.board import boards_of
from forebay.porting.shim.standins.finder import STANDINS, Finder, chosen

from .conftest import run

CARRIED = {"FOREBAY_SHIM": json.dumps({"carrier": {"kind": "simulated"}, "cards": 3, "memory_limit": 2**30})}


def test_all_stand_in_unless_told_otherwise():
    assert chosen(None) == chosen("all") == STANDINS
    assert chosen("none") == chosen("") == ()
    assert [one.distribution for one in chosen("flash-attn, pynvml")] == ["flash_attn", "nvidia-ml-py"]


def test_a_stand_in_that_is_not_there_is_named():
    with pytest.raises(BadInput, match="no stand-in of that name") as caught:
        chosen("flash_attn,tensorflow")
    assert caught.value.found == "tensorflow"


def test_the_finder_answers_for_its_own_names_only():
    finder = Finder(chosen("apex"))
    assert finder.find_spec("apex.optimizers").submodule_search_locations
    assert finder.find_spec("flash_attn") is None
    assert finder.find_spec("apexes") is None
    assert [one.metadata["Name"] for one in finder.find_distributions()] == ["apex"]


def test_stand_ins_can_be_left_out(simulated):
    words = "import importlib.util; print([importlib.util.find_spec(name) is None for name in ('flash_attn', 'apex')])"
    ended = run(simulated, "-c", words, FOREBAY_SHIM_STANDINS="apex")
    assert ended.stdout.strip() == "[True, False]", ended.stderr


def test_the_board_has_the_launchers_cards_and_limit():
    boards = boards_of(CARRIED)
    assert [(board.index, board.total) for board in boards] == [(card, 2**30) for card in range(3)]
    assert boards_of({}) == []


def test_nvidia_smi_outside_a_run_fails_as_without_a_driver(capsys):
    assert smi.main([], {}) == 9
    assert "couldn't communicate with the NVIDIA driver" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, said",
    [
        (["--query-gpu=count", "--format=csv,noheader", "-i", "0"], "3\n"),
        (["--query-gpu=memory.total,gpu_name", "--format=csv,nounits", "--id=2"], "memory.total [MiB], gpu_name\n1024, "),
        (["--query-gpu=power.draw", "--format=csv,noheader", "-i", "1"], "[N/A]\n"),
    ],
)
def test_nvidia_smi_answers_queries(capsys, words, said):
    assert smi.main(words, CARRIED) == 0
    assert capsys.readouterr().out.startswith(said)
