"""The acceptance suite: its engine on areas of our own, and its words on the simulated device."""

import importlib.util
import json
import os
import select
import subprocess
import sys

import pytest

from forebay.errors import Unknown
from forebay.porting.accept.suite import AREAS, Limits, Verdict, run, sentences, share, table

BAD_LUCK = """
import os, time

def the_first_holds():
    assert 1 + 1 == 2

def the_second_fails():
    assert 1 + 1 == 3, "no"

def the_third_ends_the_process():
    os._exit(7)

def the_fourth_hangs():
    time.sleep(600)

def the_fifth_cannot_tell():
    from forebay.porting.accept.claims import Skip
    raise Skip("no card")

def the_sixth_holds():
    pass

def _help(): ...
def of_something(x): ...
"""


@pytest.fixture
def areas_of_my_own(tmp_path):
    (tmp_path / "luck.py").write_text(BAD_LUCK)
    (tmp_path / "broken.py").write_text("import no_such_module\ndef one(): ...\ndef two(): ...\n")
    (tmp_path / "once.py").write_text(
        "import os\ndef ends_the_first_process_only():\n"
        f"    place = {str(tmp_path / 'seen')!r}\n    if not os.path.exists(place):\n"
        "        open(place, 'w').close()\n        os.abort()\n"
    )
    return tmp_path


def test_a_crash_and_a_hang_cost_one_check_each(areas_of_my_own):
    found = run(areas=["luck"], folder=areas_of_my_own, limits=Limits(start_s=30, check_s=1.5))
    assert [verdict.verdict for verdict in found] == ["pass", "fail", "fail", "fail", "skipped", "pass"]
    details = [verdict.detail for verdict in found]
    assert "AssertionError: no" in details[1]
    assert details[2] == "the process ended: exit code 7"
    assert "no answer" in details[3]
    assert details[4] == "no card"


def test_a_check_that_crashed_is_tried_once_more_alone(areas_of_my_own):
    (verdict,) = run(areas=["once"], folder=areas_of_my_own)
    assert verdict.verdict == "pass"


def test_an_area_that_cannot_be_imported_fails_whole(areas_of_my_own):
    found = run(areas=["broken"], folder=areas_of_my_own)
    assert [(verdict.sentence, verdict.verdict) for verdict in found] == [("one", "fail"), ("two", "fail")]
    assert "no_such_module" in found[0].detail


def test_no_process_of_a_check_outlives_it(tmp_path):
    (tmp_path / "orphans.py").write_text(
        "import subprocess, sys\ndef leaves_a_child():\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"    open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
    )
    run(areas=["orphans"], folder=tmp_path)
    try:
        child = os.pidfd_open(int((tmp_path / "pid").read_text()))
    except ProcessLookupError:
        return
    assert select.select([child], [], [], 10) == ([child], [], [])


def test_an_area_that_is_not_there_is_named():
    with pytest.raises(Unknown, match="no such area"):
        sentences("sparks")


def test_there_are_at_least_150_checks_and_no_sentence_twice():
    names = [name for area in AREAS for name in sentences(area)]
    assert len(names) == len(set(names)) >= 150


def test_verdicts_are_counted_by_area_and_skips_are_not_held_against_it():
    verdicts = [Verdict("a", "x", "pass", "", 0.1), Verdict("a", "y", "fail", "no", 0.1), Verdict("b", "z", "skipped", "", 0.0)]
    assert share(verdicts) == 0.5
    assert [line.split() for line in table(verdicts).splitlines()[1:]] == [
        ["a", "1", "1", "0", "50.0%"],
        ["b", "0", "0", "1", "0.0%"],
        ["all", "1", "1", "1", "50.0%"],
    ]
    assert [Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) for verdict in verdicts] == verdicts


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")
def test_the_command_says_what_failed_and_ends_with_1_where_there_is_no_card():
    words = [sys.executable, "-m", "forebay.porting.accept", "--only", "amp", "--json"]
    ended = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    body = json.loads(ended.stdout)
    assert (ended.returncode, body["share"]) == (1, 0.0)
    assert "amp: 16 checks" in ended.stderr
