"""`forebay centre` at the centre itself: what is said, asked, refused and written down, before any cloud or cluster is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forebay.centre import settings
from forebay.centre.settings import Account
from forebay.cli import centre, centre_look, centre_said
from forebay.errors import BadInput, Conflict, Unknown

CLOUD = "http://127.0.0.1:1"


def ask(*words: object) -> str:
    told = CliRunner().invoke(centre.app, [str(word) for word in words], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    return told.output


def test_a_cluster_is_printed_as_one_command_for_each_machine() -> None:
    told = ask("start", "a1@10.0.0.5=ascend-910b:8", "a2=ascend-910b:4")
    commands = [line for line in told.splitlines() if "ray start" in line]
    assert ["--head" in command for command in commands] == [True, False]
    assert "--address=10.0.0.5:6379" in commands[1] and '{"NPU": 4}' in commands[1]
    assert "forebay centre join CLOUD --token T --engine ray --address 10.0.0.5:6379" in told


def test_the_same_as_json_says_that_nothing_was_started() -> None:
    told = json.loads(ask("start", "a1=h100-sxm:8", "--json"))
    assert (list(told["commands"]), told["started"], told["address"]) == (["a1"], False, "a1:6379")


@pytest.mark.parametrize(
    "words, what",
    [
        (["a1"], "can't see what cards"),
        (["a1=h100-sxm:many"], "no number of cards"),
        (["a1=h100-sxm:8", "--engine", "slurm"], "no such cluster"),
    ],
)
def test_a_cluster_that_can_not_be_made_is_refused_in_words(words: list[str], what: str) -> None:
    with pytest.raises(BadInput, match=what):
        ask("start", *words)


def test_a_first_join_needs_a_token_and_leaves_no_key_without_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="needs a token"):
        ask("join", CLOUD, "--home", tmp_path / "centre", "--no-start")
    assert not (tmp_path / "centre" / settings.KEY).exists()


def test_a_centre_that_has_a_key_is_taken_up_without_a_token_and_keeps_what_was_decided(tmp_path: Path) -> None:
    (tmp_path / settings.KEY).write_text("fk_x")
    ask("join", CLOUD, "--home", tmp_path, "--no-start", "--check", "30m", "--wheels", "/wheels")
    ask("join", CLOUD, "--home", tmp_path, "--no-start", "--pretend")
    told = settings.read(tmp_path)
    assert (told.cloud, told.check, told.wheels, told.pretend, told.engine) == (CLOUD, "30m", "/wheels", True, "local")


@pytest.mark.parametrize(
    "words, what",
    [
        (["--engine", "pbs"], "no such engine"),
        (["--base", "ascend-910b=/nowhere/python"], "no Python there"),
        (["--base", "h2000=/bin/sh"], "no such chip"),
        (["--gres", "gpu"], "says nothing"),
        (["--engine", "ray"], "Which Ray cluster"),
    ],
)
def test_what_can_not_be_meant_is_refused_before_anything_is_written(words: list[str], what: str, tmp_path: Path) -> None:
    with pytest.raises((BadInput, Unknown), match=what):
        ask("join", CLOUD, "--token", "t", "--home", tmp_path / "centre", *words)
    assert not (tmp_path / "centre").exists()


def test_accounts_are_told_in_one_word_each() -> None:
    told = centre_said.accounts(["acme=alice:proj:gpu:high", "*=guest"])
    assert told == {"acme": Account(user="alice", account="proj", partition="gpu", qos="high"), "*": Account(user="guest")}


def test_a_base_may_be_in_the_words_of_a_site() -> None:
    assert centre_said.bases(["module:torch", "ascend-910b=apptainer:/i.sif"]) == {
        "*": "module:torch",
        "ascend-910b": "apptainer:/i.sif",
    }


def test_all_that_is_unclear_is_said_at_once_with_the_words_that_answer_it() -> None:
    problem = centre_look._nobody_to_ask({"gpu:h100": ("h100-pcie", "h100-sxm"), "fpga": ()}, "--gres")
    assert (problem.asked, problem.hint) == (
        "gpu:h100, fpga",
        "--gres gpu:h100=h100-pcie --gres fpga=CHIP; --gres NAME= leaves one alone",
    )


def test_a_folder_without_a_centre_has_no_status_and_can_not_be_left(tmp_path: Path) -> None:
    for verb in ("status", "leave"):
        with pytest.raises(Unknown, match="no centre in this folder"):
            ask(verb, "--home", tmp_path)


def test_one_agent_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from forebay.cli import daemons

    (tmp_path / "agent.pid").write_text(json.dumps({"pid": os.getpid(), "started": daemons._started(os.getpid())}))
    with pytest.raises(Conflict, match="at work already"):
        ask("join", CLOUD, "--home", tmp_path)
