"""`forebay doctor`: each check on its own, and the whole on the machine that runs the tests."""

import json
import socket
import sys

import pytest
from typer.testing import CliRunner

from forebay.chips import catalogue
from forebay.chips.detect import Found
from forebay.chips.node import Card, Node
from forebay.cli import doctor
from forebay.cli.doctor import Check, State, Torch, torch_of
from forebay.cli.main import VERBS
from forebay.codec import decode

VERSION_FILE = """\
from typing import Optional

__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip', 'rocm', 'xpu']
__version__ = {version!r}
debug = False
cuda: Optional[str] = {cuda!r}
git_version = 'cf30153c4c131c8164ee7798e5022d810682e2cb'
hip: Optional[str] = {hip!r}
xpu: Optional[str] = None
"""


@pytest.mark.parametrize(
    ("version", "cuda", "hip", "build"),
    [
        ("2.13.0+cpu", None, None, "cpu"),
        ("2.13.0+cu130", "13.0", None, "nvidia"),
        ("2.4.0", "12.1", None, "nvidia"),
        ("2.9.0+rocm6.4", None, "6.4.43482", "amd"),
        ("2.6.0+metax3.0.0.4", "11.6", None, "metax"),
        ("2.1.2+maca2.29", "11.6", None, "metax"),
        ("2.4.1+das.opt2.dtk2504", None, "6.3", "hygon"),
        ("2.1.1+corex.4.1.0", "10.2", None, "iluvatar"),
        ("2.6.0+torch.2.6.0.gcu.3.4", None, None, "enflame"),
        ("2.7.0+xpu", None, None, "intel"),
        ("2.5.0a0+gitunknown", None, None, ""),
    ],
)
def test_a_build_of_torch_is_known_by_its_version_file(version, cuda, hip, build):
    assert torch_of(VERSION_FILE.format(version=version, cuda=cuda, hip=hip)) == Torch(version=version, build=build)


def test_the_torch_of_this_environment_is_found_without_importing_it():
    before = "torch" in sys.modules
    doctor.read_torch()
    assert ("torch" in sys.modules) == before


@pytest.mark.parametrize(
    ("chip", "version", "build", "state"),
    [
        ("h100-sxm", "2.13.0+cu130", "nvidia", State.OK),
        ("h100-sxm", "2.13.0+cpu", "cpu", State.MISSING),
        ("metax-c500", "2.13.0+cu130", "nvidia", State.MISSING),  # the vendor's torch was overwritten
        ("metax-c500", "2.6.0+metax3.0", "metax", State.OK),
        ("mi300x", "2.9.0+rocm6.4", "amd", State.OK),
        ("kunlunxin-p800", "2.5.1+cu121", "nvidia", State.WARNING),  # nobody knows how its build names itself
        ("ascend-910b", "2.6.0+cpu", "cpu", State.MISSING),  # torch_npu isn't here
    ],
)
def test_a_torch_that_cannot_drive_the_cards_is_told(chip, version, build, state):
    assert doctor.plug_in(catalogue.find(chip), Torch(version=version, build=build)).state == state


def test_without_torch_no_job_can_run():
    assert doctor.torch_itself(None).state is State.MISSING


def test_an_old_python_is_refused_and_a_new_one_is_fine():
    assert doctor.python((3, 10, 12)).state is State.MISSING
    assert doctor.python((3, 11, 0)).state is State.OK


def test_without_a_compiler_cpu_cards_are_lost_and_gpus_are_not(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert doctor.compiler([catalogue.find("cpu")]).state is State.MISSING
    assert doctor.compiler([catalogue.find("h100-sxm")]).state is State.WARNING


def test_what_detection_noted_becomes_a_warning():
    node = Node(name="box", chip="cpu", cards=(Card(index=0, cores=(0, 1)), Card(index=1, cores=(2, 3))))
    checks = list(doctor.cards(Found(nodes=(node,), notes=("Something is odd.",))))
    assert [check.state for check in checks] == [State.OK, State.WARNING]
    assert checks[0].found == "2 CPU cards, on cores 0,1; 2,3"
    assert checks[1].found == "Something is odd."


def test_a_data_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").touch()
    assert doctor.disk(tmp_path / "file").state is State.MISSING
    assert doctor.disk(tmp_path / "to" / "be" / "made").state is not State.MISSING


def test_a_port_that_is_taken_is_told_unless_our_own_cloud_took_it(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert doctor.loopback(port, tmp_path).state is State.WARNING
        (tmp_path / "address").write_text(f"http://127.0.0.1:{port}\n")
        assert doctor.loopback(port, tmp_path).state is State.OK


def test_a_clock_in_the_past_is_told():
    assert doctor.clock(0.0).state is State.WARNING
    assert doctor.clock(4e9).state is State.OK


def run(*args):
    return CliRunner().invoke(doctor.app, args, prog_name="forebay doctor", env={"COLUMNS": "120"})


def test_the_whole_as_json_says_whether_jobs_can_run_and_so_does_the_exit_code(tmp_path):
    done = run("--json", "--data", str(tmp_path))
    told = json.loads(done.stdout)
    checks = [decode(Check, check) for check in told["checks"]]
    assert told["ready"] == all(check.state is not State.MISSING for check in checks)
    assert done.exit_code == (0 if told["ready"] else 1)
    assert {"Python", "torch", "C++ compiler", "cards", "cores", "memory", "data folder", "ports", "isolation", "clock"} <= {
        check.name for check in checks
    }
    assert [decode(Node, node) for node in told["nodes"]]
    assert all(check.todo for check in checks if check.state is State.MISSING)


def test_what_is_missing_makes_the_exit_code_1(tmp_path):
    (tmp_path / "file").touch()
    done = run("--data", str(tmp_path / "file"))
    assert done.exit_code == 1
    assert "missing" in done.stdout
    assert "Jobs can't run here yet" in done.stdout


def test_the_help_says_what_the_list_of_verbs_says():
    assert VERBS["doctor"] in " ".join(run("--help").stdout.split())
