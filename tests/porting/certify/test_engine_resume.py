"""A certification that is cut off goes on: after a kill, and after the chip itself went away."""

import os
import signal
import time
from pathlib import Path

import pytest

from forebay.porting.certify import record
from forebay.porting.certify.verdict import Word

pytestmark = pytest.mark.timeout(150)

FAKE = ("--device", "fakechip", "--carrier", "fakechip", "--jobs", "1", "--formats", "float32")
NAMES = [word for name in ("abs", "ceil", "floor", "neg", "sign", "trunc", "tan") for word in ("--only", name)]


def cases(run):
    return sorted((v.operator, v.format, v.direction) for v in run.verdicts)


def test_a_chip_that_vanishes_stops_the_run_without_a_false_verdict_and_the_same_command_goes_on(certify, tmp_path):
    gone = tmp_path / "gone"
    words = (*FAKE, "--import", "brokenchip", *NAMES)
    run, code, told = certify(tmp_path / "out", *words, BROKENCHIP_GONE=str(gone))
    assert code == 6
    assert "vanished in the middle" in told
    assert "no card answers" in told
    assert "the same command again" in told
    assert not run.whole
    assert {verdict.word for verdict in run.verdicts} == {Word.STRICT}
    assert "trunc" not in {verdict.operator for verdict in run.verdicts}
    before = cases(run)

    gone.write_text("back")
    run, code, told = certify(tmp_path / "out", *words, BROKENCHIP_GONE=str(gone))
    assert code == 0, told
    assert run.whole
    assert len(set(cases(run))) == len(cases(run)) > len(before)
    assert {verdict.word for verdict in run.verdicts} == {Word.STRICT}

    run, code, told = certify(tmp_path / "out", *words, "--only", "exp", BROKENCHIP_GONE=str(gone))
    assert code == 5
    assert "another certification" in told
    assert "only:" in told


def lines(results):
    """Those that are whole."""
    body = results.read_bytes() if results.exists() else b""
    return body[: body.rfind(b"\n") + 1].splitlines()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_verdict_is_lost_or_doubled_by_kills(start, certify, tmp_path):
    words = ("--device", "cpu", "--jobs", "2", "--formats", "float32", *NAMES)
    whole, _, _ = certify(tmp_path / "whole", *words)
    kills = 0
    while kills < 2:
        process = start(tmp_path / "out", *words)
        results = tmp_path / "out" / record.RESULTS
        before = lines(results)
        while process.poll() is None and len(lines(results)) <= len(before):
            time.sleep(0.02)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert lines(results)[: len(before)] == before
        with open(results, "ab") as file:
            file.write(b'{"operator": "to')  # as a power cut leaves it
        kills += 1
    run, code, told = certify(tmp_path / "out", *words)
    assert code == 0, told
    assert cases(run) == cases(whole)
    assert {(v.case, v.word, v.error) for v in run.verdicts} == {(v.case, v.word, v.error) for v in whole.verdicts}


@pytest.mark.slow
def test_workers_end_with_a_killed_parent(start, tmp_path):
    process = start(tmp_path / "out", "--device", "cpu", "--jobs", "2", "--formats", "float32")
    children = []
    while len(children) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{child}") for child in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [child for child in children if os.path.exists(f"/proc/{child}")] == []
