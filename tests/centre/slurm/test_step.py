"""Our part on the machines, as far as it can be seen without Slurm."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from forebay.centre.order import Order, Place
from forebay.centre.slurm import accounts, sources, step
from forebay.centre.slurm.step import Lead
from forebay.centre.spec import Share, Spec

SPEC = Spec(
    name="j-1", job="j", organisation="acme", chip="h100-sxm", shares=(Share(node="h1", cards=(0, 1)),), bundle="0", entry="a.py"
)
ORDER = Order(
    spec=SPEC, home="/h", base="python", visible_env="CUDA_VISIBLE_DEVICES", torch="none", shim="", can_fork=True, cookie="c",
    places=tuple(Place(rank=i, local_rank=i, local_ranks=2, group=0, groups=1, cores=(), cards=(4, 5)) for i in range(2)),
)  # fmt: skip


@pytest.mark.parametrize(
    "told, cards",
    [
        ({}, (4, 5)),  # Slurm says nothing: those of the allocation
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, (0, 1)),  # a device cgroup counts anew
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, (0, 1)),  # more than the share wants
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, (4, 5)),
    ],
)
def test_what_slurm_set_for_the_chip_counts(told: dict[str, str], cards: tuple[int, ...]) -> None:
    assert {place.cards for place in step._as_slurm_says(ORDER, 2, told).places} == {cards}


def test_amd_cards_are_numbered_as_slurm_names_them_for_rocm() -> None:
    amd = replace(ORDER, visible_env="HIP_VISIBLE_DEVICES")
    assert {place.cards for place in step._as_slurm_says(amd, 2, {"ROCR_VISIBLE_DEVICES": "6,7"}).places} == {(6, 7)}


def test_names_of_parts_of_cards_are_handed_on_as_they_are() -> None:
    found = step._as_slurm_says(ORDER, 2, {"CUDA_VISIBLE_DEVICES": "MIG-a,MIG-b,MIG-c"})
    assert (found.visible_env, found.spec.env) == (None, {"CUDA_VISIBLE_DEVICES": "MIG-a,MIG-b"})


@pytest.fixture
def lead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lead:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    (tmp_path / "exchange").mkdir()
    return Lead(tmp_path)


def test_the_first_lead_has_the_run_and_a_duplicate_leaves(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lead._claim()
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    assert not Lead(lead.run_dir)._claim()
    assert not (lead.exchange / step.REQUEUED).exists()


def test_the_same_job_started_again_says_so_and_leaves(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lead._claim()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    again = Lead(lead.run_dir)
    assert not again._claim()
    assert json.loads((again.exchange / step.REQUEUED).read_text())["restarts"] == 1


def test_a_run_that_was_forgotten_isnt_started(lead: Lead) -> None:
    (lead.exchange).rmdir()
    assert not lead._claim()


def test_the_exit_code_for_slurms_accounting_is_that_of_the_run(tmp_path: Path) -> None:
    folders = []
    for number, (outcome, code) in enumerate([("succeeded", 0), ("failed", -9), ("stopped", None)]):
        folder = tmp_path / f"share-{number}"
        folder.mkdir()
        (folder / "status.json").write_text(json.dumps({"phase": "ended", "outcome": outcome, "exit_code": code}))
        folders.append(folder)
    assert [step._exit_code(folders[:1], False), step._exit_code(folders, False), step._exit_code(folders, True)] == [0, 137, 124]
    assert step._exit_code(folders[2:], False) == 1
    assert [step._ended_badly(folder) for folder in folders] == [False, True, True]


def test_the_package_is_copied_once_for_each_state_of_it(tmp_path: Path) -> None:
    package = tmp_path / "package"
    for room in ("centre", "chips", "data", "job", "porting"):
        (package / room).mkdir(parents=True)
        (package / room / "__init__.py").write_text("")
    (package / "errors.py").write_text("x = 1\n")
    home = tmp_path / "home"
    (home / "code").mkdir(parents=True)
    first = sources.bring(home, package)
    assert sources.bring(home, package) == first
    (package / "errors.py").write_text("x = 2\n")
    second = sources.bring(home, package)
    assert (home / "code" / "forebay" / "errors.py").read_text() == "x = 2\n"
    assert (first.exists(), first != second) == (True, True)
    sources.tidy(home)
    assert (first.exists(), second.exists()) == (False, True)


def test_touching_files_as_another_user_counts_for_the_block_alone(tmp_path: Path) -> None:
    import os

    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    closed = tmp_path / "closed"
    closed.write_text("secret")
    closed.chmod(0o600)
    with accounts.acting_as(accounts.User("nobody", 65534, 65534)), pytest.raises(PermissionError):
        closed.read_text()
    assert closed.read_text() == "secret"
