"""The local engine with real processes: what starts, what is seen, what ends, and that nothing is left."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from forebay.centre import layout
from forebay.centre.spec import Handle, Mount, Outcome, Phase, Share
from forebay.errors import BadInput, Conflict, Unknown

from .conftest import TWO, Centre, until

SLEEP = "import time\nprint('up')\ntime.sleep(600)\n"


def test_a_plain_script_runs_and_is_seen_to_succeed(centre: Centre) -> None:
    seen = centre.run("import sys\nprint('hello', *sys.argv)", argv=("--steps", "3"))
    assert (seen.phase, seen.outcome, seen.exit_code) == (Phase.ENDED, Outcome.SUCCEEDED, 0)
    assert centre.lines() == ["hello main.py --steps 3"]
    assert 0 < seen.started_at_ns <= seen.running_at_ns <= seen.ended_at_ns
    assert seen.held_ns > 0
    assert centre.processes() == set()


def test_a_shell_script_and_a_program_with_a_shebang_run(centre: Centre) -> None:
    centre.run({"go.sh": "echo from sh $1"}, name="a-1", entry="go.sh", argv=("x",))
    centre.run({"go": "#!/bin/sh\necho from $(basename $0)"}, name="b-1", entry="go")
    assert (centre.lines("a-1"), centre.lines("b-1")) == (["from sh x"], ["from go"])


def test_a_file_that_nobody_knows_how_to_start_says_so(centre: Centre) -> None:
    seen = centre.run({"data.txt": "no program"}, entry="data.txt")
    assert seen.outcome is Outcome.UNPREPARED
    assert "I don't know how to start this file" in seen.reason


def test_the_same_name_again_gives_the_same_handle_and_starts_nothing(centre: Centre) -> None:
    spec = centre.spec("import os\nopen('out/starts', 'a').write('x')")
    first, second = centre.engine.launch(spec), centre.engine.launch(spec)
    centre.end(first)
    assert first == second == centre.engine.launch(spec)
    assert (layout.output(centre.home, "j") / "starts").read_text() == "x"


def test_two_engines_over_one_home_start_a_run_once(centre: Centre) -> None:
    handle = centre.launch("import time\nopen('out/starts', 'a').write('x')\ntime.sleep(1)")
    other = centre.open()
    other.look(handle)
    other._start(handle)  # as if it had found the run written down and not begun
    assert centre.end(handle).outcome is Outcome.SUCCEEDED
    assert (layout.output(centre.home, "j") / "starts").read_text() == "x"


def test_what_an_earlier_attempt_left_in_the_output_folder_is_there_again(centre: Centre) -> None:
    centre.run("open('out/state', 'w').write('step 7')", name="j-1")
    seen = centre.run("import os\nprint(open('out/state').read(), os.environ['TORCHELASTIC_RESTART_COUNT'])", name="j-2")
    assert centre.lines("j-2") == ["step 7 1"]
    assert [artefact.path for artefact in seen.artefacts] == ["state"]


def test_data_and_the_output_of_an_earlier_job_are_mounted_where_the_script_wants_them(centre: Centre) -> None:
    tree = centre.engine.data_folder("acme") / "words@1"
    tree.mkdir()
    (tree / "a.txt").write_text("forebay")
    centre.run("open('out/model', 'w').write('weights')", name="first-1")
    mounts = (Mount(kind="data", source="words@1", at="data/words"), Mount(kind="output", source="first", at="before"))
    code = """
        import os
        print(open("data/words/a.txt").read(), open("before/model").read(), os.path.relpath(os.environ["FOREBAY_DATA"]))
    """
    centre.run(clean(code), name="second-1", mounts=mounts)
    assert centre.lines("second-1") == ["forebay weights data"]


def test_the_first_rank_that_fails_ends_the_others(centre: Centre) -> None:
    code = "import os, sys, time\nif os.environ['RANK'] == '1': sys.exit(3)\ntime.sleep(600)"
    seen = centre.run(code, shares=TWO)
    assert (seen.outcome, seen.exit_code, seen.failed_rank) == (Outcome.FAILED, 3, 1)
    assert seen.reason == "Rank 1 ended with exit code 3."


def test_a_rank_that_is_killed_is_named_with_the_signal(centre: Centre) -> None:
    handle = centre.launch("import os, time\nprint(os.getpid())\ntime.sleep(600)")
    until(centre.lines)
    os.kill(int(centre.lines()[0]), signal.SIGKILL)
    seen = centre.end(handle)
    assert (seen.exit_code, seen.reason) == (-9, "Rank 0 was killed by signal 9 (SIGKILL).")


def test_a_daemon_that_a_script_leaves_behind_is_ended_with_the_run(centre: Centre) -> None:
    code = """
        import os, sys, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.environ.clear()
                os.execve("/bin/sleep", ["sleep", sys.argv[1]], {})
            os._exit(0)
        os.wait()
        time.sleep(0.3)
        print(open("/proc/self/stat").read().split()[3])
    """
    seconds = f"600.{os.getpid()}"  # no other suite's on this machine
    seen = centre.run(clean(code), argv=(seconds,))
    assert seen.outcome is Outcome.SUCCEEDED
    assert centre.processes() == set()
    assert seconds.encode() not in [line.split(b"\0")[1] for line in commands("sleep")]


def test_a_stopped_run_may_save_its_work_first(centre: Centre) -> None:
    code = """
        import signal, sys, time
        def save(*_):
            open("out/saved", "w").write("in time")
            sys.exit(0)
        signal.signal(signal.SIGTERM, save)
        print("up")
        while True: time.sleep(0.1)
    """
    handle = centre.launch(clean(code))
    centre.until_printed("up")
    centre.engine.stop(handle, 20)
    centre.engine.stop(handle, 20)
    seen = centre.end(handle)
    assert (seen.outcome, seen.reason) == (Outcome.STOPPED, "It was asked to stop.")
    assert (layout.output(centre.home, "j") / "saved").read_text() == "in time"


def test_a_run_that_does_not_listen_is_killed_after_the_grace(centre: Centre) -> None:
    handle = centre.launch("import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up')\ntime.sleep(600)")
    centre.until_printed("up")
    centre.engine.stop(handle, 0.3)
    assert centre.end(handle).reason == "It was asked to stop and was killed after 0.3 s."


def test_a_rank_that_is_suspended_is_stopped_too(centre: Centre) -> None:
    handle = centre.launch("import os, signal\nprint('up', flush=True)\nos.kill(os.getpid(), signal.SIGSTOP)")
    centre.until_printed("up")
    centre.engine.stop(handle, 0.3)
    assert centre.end(handle).outcome is Outcome.STOPPED


def test_a_new_engine_finds_the_runs_of_one_that_died_and_can_stop_them(centre: Centre) -> None:
    spec = centre.spec(SLEEP)
    program = f"""
        import os, pickle, sys
        from pathlib import Path
        from forebay.centre.local import Local
        nodes, spec = pickle.loads({pickle.dumps((centre.engine.nodes(), spec))!r})
        Local(Path({str(centre.home)!r}), nodes=nodes, base={{"*": Path(sys.executable)}}, standby=True).launch(spec)
        os.kill(os.getpid(), 9)
    """
    subprocess.run([sys.executable, "-c", clean(program)], check=False)
    centre.engine.close()
    centre.engine = centre.open()
    (handle,) = centre.engine.handles().values()
    centre.until_printed("up")
    assert centre.engine.look(handle).phase is Phase.RUNNING
    centre.engine.stop(handle, 5)
    assert centre.end(handle).outcome is Outcome.STOPPED
    until(
        lambda: not [line for line in commands("python") if str(centre.home).encode() in line]
    )  # the dead engine's standby left too


def test_a_run_that_was_written_down_and_not_begun_is_begun_by_the_next_engine(centre: Centre) -> None:
    centre.run("print('late')")
    done, written = layout.run(centre.home, "j-1"), layout.run(centre.home, "k-1")
    written.mkdir()
    order = json.loads(layout.spec(done).read_text())
    layout.spec(written).write_text(json.dumps({**order, "spec": {**order["spec"], "name": "k-1", "job": "k"}}))
    centre.engine = centre.open()
    assert centre.end(Handle(str(written))).outcome is Outcome.SUCCEEDED
    assert centre.lines("k-1") == ["late"]


def test_when_the_supervisor_is_killed_the_run_is_lost_and_nothing_is_left(centre: Centre) -> None:
    code = """
        import signal, subprocess
        subprocess.Popen(["setsid", "sleep", "600"])
        print("up", flush=True)
        signal.pause()
    """
    handle = centre.launch(clean(code))
    centre.until_printed("up")
    os.kill(centre.supervisor(), signal.SIGKILL)
    seen = centre.end(handle)
    assert (seen.outcome, seen.reason) == (Outcome.LOST, "Its supervisor vanished, and its ranks with it.")
    assert seen.held_ns > 0
    assert centre.processes() == set()


def test_when_the_parent_of_the_ranks_is_killed_the_run_fails_and_nothing_is_left(centre: Centre) -> None:
    handle = centre.launch("import os, time\nprint(os.getppid(), flush=True)\ntime.sleep(600)", shares=TWO)
    until(lambda: len(centre.lines()) == 2)
    os.kill(int(centre.lines()[0]), signal.SIGKILL)
    seen = centre.end(handle)
    assert (seen.outcome, seen.reason) == (
        Outcome.FAILED,
        "The process that had started the ranks was killed by signal 9 (SIGKILL).",
    )
    assert centre.processes() == set()


def test_an_ended_run_can_be_forgotten_and_its_output_stays(centre: Centre) -> None:
    running = centre.launch(SLEEP, name="r-1")
    with pytest.raises(Conflict):
        centre.engine.forget(running)
    centre.run("open('out/kept', 'w').write('1')", name="e-1")
    ended = Handle(str(layout.run(centre.home, "e-1")))
    centre.engine.forget(ended)
    centre.engine.forget(ended)
    assert list(centre.engine.handles().values()) == [running]
    assert (layout.output(centre.home, "e") / "kept").exists()
    with pytest.raises(Unknown):
        centre.engine.look(ended)


def test_a_spec_with_a_card_or_node_that_is_not_there_is_refused_and_leaves_nothing(centre: Centre) -> None:
    with pytest.raises(BadInput, match="no such card"):
        centre.launch("", shares=(Share(node="here", cards=(7,)),))
    with pytest.raises(BadInput, match="doesn't have"):
        centre.launch("", shares=(Share(node="elsewhere", cards=(0,)),))
    with pytest.raises(BadInput, match="name of a folder"):
        centre.launch("", name="../../etc", job="j")
    assert centre.engine.handles() == {}


def test_nothing_of_the_engines_environment_reaches_a_rank(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_TOKEN", "secret-of-the-agent")
    monkeypatch.setenv("SOME_API_KEY", "secret-of-the-agent")
    code = """
        import os
        print(os.environ.get("LR"), os.environ["RANK"])
        print(dict(os.environ), open("/proc/self/environ").read(), open(f"/proc/{os.getppid()}/cmdline").read())
    """
    centre.run(clean(code), env={"LR": "0.1", "RANK": "9", "MASTER_PORT": "1"})
    assert centre.lines()[0] == "0.1 0"
    assert "secret-of-the-agent" not in "".join(centre.lines())
    assert "FOREBAY_TOKEN" not in "".join(centre.lines())


def test_a_rank_is_bound_to_its_cards_cores_and_a_pretend_one_is_not(centre: Centre) -> None:
    code = """
        import os
        print(os.environ["LOCAL_RANK"], os.environ["GROUP_RANK"], len(os.sched_getaffinity(0)), os.environ.get("FOREBAY_PRETEND"))
    """
    code = clean(code)
    centre.run(code, name="real-1", shares=TWO)
    assert sorted(centre.lines("real-1")) == ["0 0 1 None", "1 0 1 None"]
    shares = (Share(node="stand-in", cards=(0, 1)), Share(node="stand-in", cards=(3,)))
    centre.run(code, name="posed-1", shares=shares, pretend=True)
    everywhere = len(os.sched_getaffinity(0))
    assert sorted(centre.lines("posed-1")) == [f"0 0 {everywhere} 1", f"0 1 {everywhere} 1", f"1 0 {everywhere} 1"]


def test_progress_is_read_from_what_a_run_prints(centre: Centre) -> None:
    handle = centre.launch("print('step 120/500 | loss 2.5 | 1,200 tok/s')\nprint('saved')")
    centre.end(handle)
    found = centre.engine.progress(handle)
    assert found is not None
    assert (found.step, found.of, found.loss, found.tokens_per_s) == (120, 500, 2.5, 1200.0)


def test_a_missing_bundle_and_a_damaged_one_are_named(centre: Centre) -> None:
    spec = centre.spec("print(1)")
    missing = centre.end(centre.engine.launch(replace(spec, name="m-1", bundle="0" * 64)))
    assert "isn't in the centre's store" in missing.reason
    layout.bundle(centre.home, spec.bundle).write_bytes(b"garbage")
    assert "is not what was sent" in centre.end(centre.engine.launch(replace(spec, name="d-1"))).reason


@pytest.mark.slow
def test_an_idle_engine_with_a_standby_uses_no_processor(centre: Centre) -> None:
    engine = centre.open(standby=True)
    try:
        until(lambda: quiet(own_python(centre.home)))
        before = spent_s(own_python(centre.home))
        time.sleep(1)
        assert spent_s(own_python(centre.home)) - before <= 0.02
    finally:
        engine.close()
    until(lambda: not own_python(centre.home))


def clean(code: str) -> str:
    return textwrap.dedent(code)


def commands(word: str) -> list[bytes]:
    """Command lines of the living processes that hold this word."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if word.encode() in line.split(b"\0")[0]:
            found.append(line)
    return found


def own_python(home: Path) -> list[int]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if str(home).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def spent_s(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def quiet(pids: list[int]) -> bool:
    before = spent_s(pids)
    time.sleep(0.5)
    return len(pids) == 2 and spent_s(pids) == before and before > 0.5


def test_a_supervisor_whose_folder_is_gone_leaves(centre: Centre) -> None:
    handle = centre.engine.launch(centre.spec("import time; time.sleep(600)"))
    until(lambda: centre.engine.look(handle).phase is Phase.RUNNING)
    supervisor = centre.supervisor()
    shutil.rmtree(handle)
    until(lambda: not Path(f"/proc/{supervisor}/fd/1").is_symlink())  # a zombie, at most
