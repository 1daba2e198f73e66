"""What becomes of a run on a real Slurm site, whatever happens to it there."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from forebay.centre import layout
from forebay.centre.slurm.facts import Job
from forebay.centre.spec import Outcome, Phase
from forebay.chips.node import Condition

from ..conftest import until
from .conftest import BOTH, SlurmCentre, joined
from .site import Site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
both = pytest.mark.parametrize("centre", BOTH, indirect=True)

SLEEP = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"
CAREFUL = """
import signal, sys, time
def leave(*_):
    time.sleep(1)
    open('out/state', 'w').write('saved')
    print('saved', flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print('up', flush=True)
time.sleep(600)
"""


@both
def test_a_run_over_two_machines_is_one_job_and_ends_well(centre: SlurmCentre) -> None:
    seen = centre.run("import os; print(os.environ['RANK'], os.environ['GROUP_RANK'])", on="a1,a2", cards=2)
    assert (seen.phase, seen.outcome, seen.exit_code) == (Phase.ENDED, Outcome.SUCCEEDED, 0)
    assert sorted(centre.lines()) == ["0 0", "1 0", "2 1", "3 1"]
    assert 0 < seen.started_at_ns <= seen.running_at_ns <= seen.ended_at_ns
    assert 0 < seen.held_ns < 30e9
    about = centre.site.jobs()[centre.job()]
    assert (about["JobName"], about["NodeList"], about["Requeue"]) == (f"fb-{centre.engine._tag}-j-1", "a[1-2]", "0")


@both
def test_the_same_name_again_is_the_same_job(centre: SlurmCentre) -> None:
    spec = centre.spec("open('out/starts', 'a').write('x')", cards=1)
    assert centre.engine.launch(spec) == centre.engine.launch(spec)
    centre.end(centre.engine.launch(spec))
    assert (layout.output(centre.home, "j") / "starts").read_text() == "x"
    assert len([job for job in centre.site.jobs().values() if job["JobName"].endswith(f"{centre.engine._tag}-j-1")]) == 1


@both
def test_a_run_that_slurm_lets_wait_says_why_and_an_operators_hold_is_seen(centre: SlurmCentre) -> None:
    site = centre.site
    other = site.submit("npu:8", nodes="a1")
    until(lambda: site.jobs()[other]["JobState"] == "RUNNING")
    handle = centre.launch("print('late')", on="a1", cards=1)
    assert "Resources" in centre.seen(handle, lambda seen: "Resources" in seen.reason).reason
    site.hold(centre.job())
    held = centre.seen(handle, lambda seen: "JobHeldAdmin" in seen.reason)
    assert (held.phase, held.held_ns, held.reason) == (Phase.QUEUED, 0, "waiting in the centre: JobHeldAdmin")
    site.release(centre.job())
    centre.seen(handle, lambda seen: "JobHeldAdmin" not in seen.reason)
    site.cancel(other)
    assert centre.end(handle).outcome is Outcome.SUCCEEDED


@both
def test_stopping_a_run_that_waits_cancels_its_job_at_once_and_nothing_was_held(centre: SlurmCentre) -> None:
    other = centre.site.submit("npu:8", nodes="a1")
    until(lambda: centre.site.jobs()[other]["JobState"] == "RUNNING")
    handle = centre.launch(SLEEP, on="a1", cards=1)
    centre.job()
    centre.engine.stop(handle, 30)
    seen = centre.end(handle, 15)
    assert (seen.outcome, seen.held_ns) == (Outcome.STOPPED, 0)
    assert centre.site.jobs()[centre.job_of_ended()]["JobState"] == "CANCELLED"
    assert centre.site.jobs()[other]["JobState"] == "RUNNING"


def test_stopping_a_run_gives_its_ranks_their_grace(centre: SlurmCentre) -> None:
    handle = centre.launch(CAREFUL, on="a1,a2", cards=1)
    until(lambda: centre.lines() == ["up", "up"])
    centre.engine.stop(handle, 20)
    seen = centre.end(handle)
    assert (seen.outcome, seen.reason) == (Outcome.STOPPED, "It was asked to stop.")
    assert centre.lines().count("saved") == 2


def test_a_run_that_ignores_the_wish_is_killed_after_the_grace(centre: SlurmCentre) -> None:
    handle = centre.launch("import signal\nsignal.signal(15, signal.SIG_IGN)\n" + SLEEP, cards=1)
    until(lambda: centre.lines())
    centre.engine.stop(handle, 1)
    seen = centre.end(handle, 20)
    assert seen.outcome is Outcome.STOPPED
    assert "killed after 1 s" in seen.reason


def test_a_failing_rank_on_one_machine_ends_the_others_and_is_named(centre: SlurmCentre) -> None:
    code = "import os, sys, time\nif os.environ['RANK'] == '1': sys.exit(3)\ntime.sleep(600)"
    seen = centre.run(code, on="a1,a2", cards=1)
    assert (seen.outcome, seen.exit_code, seen.failed_rank) == (Outcome.FAILED, 3, 1)
    assert seen.reason == "Rank 1 ended with exit code 3."


@both
def test_somebody_elses_scancel_revokes_the_run_after_a_grace(centre: SlurmCentre) -> None:
    handle = centre.launch(CAREFUL, on="a1,a2", cards=1)
    until(lambda: centre.lines() == ["up", "up"])
    centre.site.cancel(centre.job())
    seen = centre.end(handle)
    assert (seen.outcome, seen.reason) == (Outcome.REVOKED, "Somebody at the centre cancelled its job.")
    assert centre.lines().count("saved") == 2
    assert seen.held_ns > 0


def test_a_preempted_run_has_its_grace_and_may_be_tried_again(centre: SlurmCentre) -> None:
    handle = centre.launch(CAREFUL, on="a1,a2", cards=8)
    until(lambda: centre.lines().count("up") == 16)
    urgent = centre.site.submit("npu:8", nodes="a1", script="sleep 1", more=("--partition=urgent",))
    seen = centre.end(handle)
    assert (seen.outcome, seen.reason) == (
        Outcome.PREEMPTED,
        "Its centre ended it (SIGTERM).",
    )  # it left within Slurm's GraceTime
    assert centre.lines().count("saved") == 16
    until(lambda: centre.site.jobs()[urgent]["JobState"] == "COMPLETED")


def test_a_preempted_run_that_doesnt_leave_is_killed_by_slurm(centre: SlurmCentre) -> None:
    handle = centre.launch("import signal\nsignal.signal(15, signal.SIG_IGN)\n" + SLEEP, on="a1", cards=8, grace_s=300.0)
    until(lambda: centre.lines().count("up") == 8)
    centre.site.submit("npu:8", nodes="a1", script="sleep 1", more=("--partition=urgent",))
    seen = centre.end(handle)
    assert (seen.outcome, seen.reason) == (Outcome.PREEMPTED, "Slurm gave its cards to another job.")
    assert not living(centre)


def test_a_job_that_is_requeued_is_lost_and_runs_only_once(centre: SlurmCentre) -> None:
    handle = centre.launch("open('out/starts', 'a').write('x')\n" + SLEEP, cards=1)
    until(lambda: centre.lines())
    centre.site.requeue(centre.job())
    seen = centre.end(handle, 150)
    assert (seen.outcome, seen.reason) == (Outcome.LOST, "Slurm requeued it; it isn't started a second time there.")
    assert (layout.output(centre.home, "j") / "starts").read_text() == "x"
    assert centre.site.jobs()[centre.job_of_ended()]["JobState"] == "CANCELLED"


def test_a_machine_that_dies_under_a_run_is_named(centre: SlurmCentre) -> None:
    handle = centre.launch(SLEEP, on="m1,m2", cards=2)
    until(lambda: centre.lines().count("up") == 4)
    centre.site.kill_node("m2")
    try:
        seen = centre.end(handle)
        assert (seen.outcome, seen.reason) == (Outcome.LOST, "Its machine m2 failed, as Slurm says.")
        assert seen.held_ns > 0
        (state,) = until(lambda: [state for state in centre.engine.states() if state.name == "m2"])
        assert state.condition is Condition.DOWN
    finally:
        centre.site.start_node("m2")
        centre.site.until(lambda: centre.site.state("m2") == "IDLE", 60)
    until(lambda: not [state for state in centre.engine.states() if state.name == "m2"])


def test_the_first_machine_of_a_run_dies(centre: SlurmCentre) -> None:
    handle = centre.launch(SLEEP, on="m1,m2", cards=2)
    until(lambda: centre.lines().count("up") == 4)
    centre.site.kill_node("m1")
    try:
        seen = centre.end(handle)
        assert (seen.outcome, seen.reason) == (Outcome.LOST, "Its machine m1 failed, as Slurm says.")
    finally:
        centre.site.start_node("m1")
        centre.site.until(lambda: centre.site.state("m1") == "IDLE", 60)


def test_a_supervisor_that_is_killed_takes_its_run_with_it(centre: SlurmCentre) -> None:
    handle = centre.launch(SLEEP, on="a1,a2", cards=1)
    until(lambda: centre.lines().count("up") == 2)
    os.kill(supervisor_of(centre, "a2"), signal.SIGKILL)
    seen = centre.end(handle)
    assert (seen.outcome, seen.reason) == (Outcome.LOST, "A supervisor of it vanished, and its ranks with it.")
    assert seen.held_ns > 0
    assert not living(centre)


def test_a_run_whose_time_at_the_centre_is_over_has_timed_out(site: Site) -> None:
    with joined(site, slurm={"extra": ("--time=1",)}) as centre:
        handle = centre.launch(CAREFUL, cards=1, grace_s=5.0)
        until(lambda: centre.lines())
        seen = centre.end(handle, 120)
        assert (seen.outcome, seen.exit_code, seen.reason) == (Outcome.FAILED, 124, "The time that the centre gave it was over.")
        assert "saved" in centre.lines()


@both
def test_runs_go_on_and_end_while_slurmctld_is_away(centre: SlurmCentre) -> None:
    handle = centre.launch(
        "import os, time\nprint('up', flush=True)\nwhile not os.path.exists('out/go'): time.sleep(0.1)", cards=1
    )
    until(lambda: centre.lines())
    centre.seen(handle, lambda seen: seen.phase is Phase.RUNNING)
    centre.site.stop_slurmctld(signal.SIGKILL)
    try:
        time.sleep(2)  # long enough to ask in vain
        assert centre.engine.look(handle).phase is Phase.RUNNING
        later = centre.launch("print('later')", name="k-1", on="a2", cards=1)
        assert centre.engine.look(later).phase is Phase.QUEUED
        (layout.output(centre.home, "j") / "go").touch()
        assert centre.end(handle, 10).outcome is Outcome.SUCCEEDED
    finally:
        centre.site.start_slurmctld()
    assert centre.end(later).outcome is Outcome.SUCCEEDED
    assert centre.lines("k-1") == ["later"]


def test_jobs_of_others_are_seen_as_busy_cards_and_never_touched(centre: SlurmCentre) -> None:
    other = centre.site.submit("gpu:h100:3", nodes="h1")
    until(lambda: centre.site.jobs()[other]["JobState"] == "RUNNING")
    (state,) = until(centre.engine.states)
    assert (state.name, state.condition, len(state.busy)) == ("h1", Condition.UP, 3)
    handle = centre.launch(SLEEP, on="h1", cards=4)
    until(lambda: centre.lines())
    time.sleep(2.5)  # a look at the machines and two at our jobs
    (state,) = centre.engine.states()
    assert (len(state.busy), {0, 1, 2, 3} & set(state.busy)) == (3, set())
    centre.engine.stop(handle, 0)
    centre.end(handle)
    assert centre.site.jobs()[other]["JobState"] == "RUNNING"


def test_a_drained_machine_says_so_with_the_operators_words(centre: SlurmCentre) -> None:
    centre.site.drain("h2")
    try:
        (state,) = until(centre.engine.states)
        assert (state.name, state.condition, state.reason) == ("h2", Condition.DRAINED, "a fan is loud")
    finally:
        centre.site.undrain("h2")


def supervisor_of(centre: SlurmCentre, machine: str, name: str = "j-1") -> int:
    """The process that carries a run's share out on a machine."""
    run_dir = str(layout.run(centre.home, name)).encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-3:-1] != [b"share", run_dir]:
                continue
            if f"SLURMD_NODENAME={machine}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return int(pid)
        except OSError:
            continue
    raise AssertionError(f"no supervisor of {name} on {machine}")


def living(centre: SlurmCentre) -> list[str]:
    """Command lines of what is left of the centre's runs."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            where = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            continue
        if str(centre.home / "runs") in line or where.startswith(str(centre.home / "runs")):
            found.append(line)
    return found


def test_a_run_that_is_forgotten_at_once_is_still_well_in_slurms_books(centre: SlurmCentre) -> None:
    handle = centre.launch("print('x')", on="a1,a2", cards=1)
    job = centre.job()
    assert centre.end(handle).outcome is Outcome.SUCCEEDED
    centre.engine.forget(handle)
    assert not centre.engine.handles()
    assert not Path(handle).exists()
    until(lambda: centre.site.jobs()[job]["JobState"] == "COMPLETED")


@both
def test_a_number_that_slurm_gave_to_somebody_else_meanwhile_isnt_cancelled(centre: SlurmCentre) -> None:
    other = centre.site.submit("npu:1", nodes="a1", more=("--job-name=theirs",))
    until(lambda: centre.site.jobs()[other]["JobState"] == "RUNNING")
    transport = centre.engine._watch.transport
    transport.cancel(Job(id=other, name="fb-abc-j-1", state="RUNNING"))
    transport.cancel(Job(id="999999", name="fb-abc-j-1", state="RUNNING"))
    time.sleep(1)
    assert centre.site.jobs()[other]["JobState"] == "RUNNING"
    transport.cancel(Job(id=other, name="theirs", state="RUNNING"))
    until(lambda: centre.site.jobs()[other]["JobState"] == "CANCELLED")
