"""A run of a project: nothing of it may be edited, and what becomes of it is told apart."""

import dataclasses
import sys

import pytest
from porting_attempt import attempt, changed, fingerprint
from porting_recipe import read

LEARNS = """
import os, sys
if "learns" not in os.environ:
    sys.exit("SomeError: there is no card")
for step in range(5):
    print("loss", 5 - step)
open("checkpoint", "w").write("new files are the run's own business")
"""

RECIPE = """
project = "somebody/thing"
version = "1234567"
[[entry]]
name = "train"
command = "python train.py"
progress = 'loss ([\\d.]+)'
limit_s = 60
"""


@pytest.fixture
def entry(tmp_path):
    project = tmp_path / "thing"
    project.mkdir()
    (project / "train.py").write_text(LEARNS)
    (project / "note").symlink_to("nowhere")
    (tmp_path / "thing.toml").write_text(RECIPE)
    return read(tmp_path / "thing.toml", project)[0]


@pytest.fixture
def room(tmp_path):
    (tmp_path / "room").mkdir()
    return tmp_path / "room"


CARRIED = {"learns": "yes"}  # stands for the variables of a carrier


def test_a_run_that_learns_has_passed(entry, room):
    outcome = attempt(entry, "simulated", CARRIED, room)
    assert (outcome.verdict, outcome.first, outcome.last, outcome.points) == ("passed", 5.0, 1.0, 5)
    assert outcome.edited == ()
    assert not (entry.folder / "checkpoint").exists(), "it ran in the project itself, not in a copy"


def test_without_a_carrier_the_same_command_is_expected_to_fail(entry, room):
    outcome = attempt(entry, "plain", {}, room)
    assert (outcome.verdict, outcome.why) == ("passed", "fails without a carrier; ended with 1: SomeError: there is no card")


def test_a_command_that_runs_without_a_carrier_does_so_against_the_recipe(entry, room):
    assert attempt(entry, "plain", CARRIED, room).verdict == "failed"


def test_a_known_plain_runner_is_no_failure(entry, room):
    assert attempt(dataclasses.replace(entry, plain="runs"), "plain", CARRIED, room).verdict == "passed"


def test_a_failed_run_tells_its_last_error(entry, room):
    outcome = attempt(entry, "simulated", {}, room)
    assert (outcome.verdict, outcome.why) == ("failed", "ended with 1: SomeError: there is no card")


def test_a_run_that_edits_the_project_has_failed(entry, room):
    (entry.folder / "train.py").write_text(LEARNS + "open(__file__, 'a').write('#')\n")
    outcome = attempt(entry, "simulated", CARRIED, room)
    assert (outcome.verdict, outcome.edited) == ("failed", ("train.py",))


def test_a_data_maker_that_edits_the_project_is_found_before_the_run(entry, room):
    outcome = attempt(dataclasses.replace(entry, data="open('train.py', 'a').write('#')"), "simulated", CARRIED, room)
    assert (outcome.verdict, outcome.why, outcome.points) == ("failed", "the data maker edits the project", 0)


def test_a_data_maker_that_fails_says_so(entry, room):
    outcome = attempt(dataclasses.replace(entry, data="raise ValueError('no data')"), "simulated", CARRIED, room)
    assert outcome.why == "the data could not be made: ValueError: no data"


def test_a_missing_package_is_skipped_not_failed(entry, room):
    outcome = attempt(dataclasses.replace(entry, needs={"no_such_module": "no-such-package==1"}), "simulated", CARRIED, room)
    assert (outcome.verdict, outcome.why) == ("skipped", "needs no-such-package==1")


def test_a_run_over_its_limit_is_stopped_with_all_that_it_started(entry, room):
    (entry.folder / "train.py").write_text(
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(50)'], start_new_session=True)\n"
        "time.sleep(50)\n"
    )
    outcome = attempt(dataclasses.replace(entry, limit_s=1.0), "simulated", CARRIED, room)
    assert (outcome.verdict, outcome.why) == ("failed", "over its limit of 1 s")
    assert outcome.wall_s < 45  # each of them would take 50 s
    assert outcome.peak_bytes > 0


def test_a_stand_in_is_imported_and_named(entry, room):
    (entry.folder / "train.py").write_text("import far.away\nprint('loss', far.away.first)\nprint('loss', 1)\n")
    outcome = attempt(dataclasses.replace(entry, stand_ins={"far.away": "first = 9"}), "simulated", CARRIED, room)
    assert (outcome.verdict, outcome.first, outcome.stand_ins) == ("passed", 9.0, ("far.away",))


def test_each_command_runs_in_order_and_progress_is_the_last_ones(entry, room):
    first = ("python", "-c", "print('loss 9')")
    outcome = attempt(dataclasses.replace(entry, commands=(first, *entry.commands)), "simulated", CARRIED, room)
    assert (outcome.verdict, outcome.first) == ("passed", 5.0)


def test_an_edit_a_deletion_and_another_link_are_changes_and_a_new_file_is_none(tmp_path):
    for name in ("kept", "edited", "gone"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("kept")
    text = fingerprint(tmp_path)
    (tmp_path / "edited").write_text("other")
    (tmp_path / "gone").unlink()
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("edited")
    (tmp_path / "new").write_text("new")
    assert changed(text, tmp_path) == ("edited", "gone", "link")


def test_a_run_has_this_interpreter(entry, room):
    (entry.folder / "train.py").write_text(f"import sys\nprint('loss 2', 'loss', int(sys.executable != {sys.executable!r}))")
    assert attempt(entry, "simulated", CARRIED, room).last == 0.0
