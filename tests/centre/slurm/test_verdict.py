"""What is true of a run, when its supervisors and Slurm say different things."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.centre.slurm import facts
from forebay.centre.slurm.facts import Job
from forebay.centre.slurm.verdict import Marks, judge
from forebay.centre.spec import Outcome, Phase, Seen

S = 10**9
RUNNING = Seen(name="j-1", phase=Phase.RUNNING, started_at_ns=100 * S, running_at_ns=101 * S)
WELL = replace(
    RUNNING,
    phase=Phase.ENDED,
    ended_at_ns=110 * S,
    held_ns=10 * S,
    outcome=Outcome.SUCCEEDED,
    exit_code=0,
    reason="Every rank ended well.",
)
BADLY = replace(WELL, outcome=Outcome.FAILED, exit_code=3, failed_rank=1, reason="Rank 1 ended with exit code 3.")
TERMED = replace(WELL, outcome=Outcome.PREEMPTED, exit_code=None, reason="Its centre ended it (SIGTERM).")
KILLED = replace(BADLY, exit_code=-15, reason="Rank 1 was killed by signal 15 (SIGTERM).")
STOPPED = replace(TERMED, outcome=Outcome.STOPPED, reason="It was asked to stop.")
LAST = replace(RUNNING, held_ns=7 * S)


def job(state: str, **fields: Any) -> Job:
    return Job(id="7", name="fb-x-j-1", state=state, **fields)


def say(shares: list[Seen | None], told: Job | None, last: list[Seen | None] | None = None, **marks: Any) -> Seen:
    return judge("j-1", shares, last or [None] * len(shares), told, Marks(now_ns=120 * S, **marks))


@pytest.mark.parametrize(
    "told, phase, reason",
    [
        (None, Phase.QUEUED, "it is being handed to Slurm"),
        (job("PENDING", reason="Resources"), Phase.QUEUED, "waiting in the centre: Resources"),
        (job("PENDING", reason="JobHeldAdmin"), Phase.QUEUED, "waiting in the centre: JobHeldAdmin"),
        (job("CONFIGURING"), Phase.PREPARING, ""),
        (job("RUNNING", started_at_s=99.0), Phase.PREPARING, ""),
    ],
)
def test_before_a_supervisor_has_spoken_slurm_says_where_a_run_is(told: Job | None, phase: Phase, reason: str) -> None:
    seen = say([None, None], told)
    assert (seen.phase, seen.reason, seen.held_ns) == (phase, reason, 0)


@pytest.mark.parametrize("told", [None, job("RUNNING"), job("COMPLETING"), job("COMPLETED"), job("NODE_FAIL"), job("CANCELLED")])
def test_a_run_whose_shares_all_ended_well_has_ended_well_whatever_slurm_says(told: Job | None) -> None:
    seen = say([WELL, replace(WELL, ended_at_ns=112 * S, held_ns=12 * S)], told)
    assert (seen.phase, seen.outcome, seen.held_ns) == (Phase.ENDED, Outcome.SUCCEEDED, 12 * S)


def test_a_rank_that_failed_by_itself_needs_no_word_of_slurm() -> None:
    assert say([BADLY, STOPPED], job("RUNNING")) == replace(BADLY, reason="Rank 1 ended with exit code 3.")


@pytest.mark.parametrize("share", [TERMED, KILLED])
def test_where_somebody_killed_it_slurm_is_waited_for(share: Seen) -> None:
    seen = say([share], job("COMPLETING"))
    assert (seen.phase, seen.outcome) == (Phase.RUNNING, None)


@pytest.mark.parametrize("share", [TERMED, KILLED, RUNNING])
@pytest.mark.parametrize(
    "told, outcome, code, reason",
    [
        (job("CANCELLED"), Outcome.REVOKED, None, "Somebody at the centre cancelled its job."),
        (job("PREEMPTED"), Outcome.PREEMPTED, None, "Slurm gave its cards to another job."),
        (job("TIMEOUT"), Outcome.FAILED, 124, "The time that the centre gave it was over."),
        (job("NODE_FAIL", nodes="a[1-2]"), Outcome.LOST, None, "Its machine a2 failed, as Slurm says."),
        (job("OUT_OF_MEMORY"), Outcome.FAILED, -9, "It wanted more memory than its job has at the centre."),
    ],
)
def test_slurm_says_who_ended_it(share: Seen, told: Job, outcome: Outcome, code: int | None, reason: str) -> None:
    down = ("a2",) if told.state == "NODE_FAIL" else ()
    seen = say([share], told, [LAST], down=down)
    assert (seen.phase, seen.outcome, seen.exit_code, seen.reason) == (Phase.ENDED, outcome, code, reason)


def test_a_share_that_never_said_how_it_ended_held_its_cards_to_its_last_sign_of_life() -> None:
    seen = say([RUNNING, None], job("FAILED"), [LAST, None])
    assert (seen.outcome, seen.held_ns, seen.reason) == (
        Outcome.LOST,
        7 * S,
        "A supervisor of it vanished, and its ranks with it.",
    )


def test_a_job_that_ended_before_any_supervisor_lived_held_nothing() -> None:
    seen = say([None], job("FAILED"))
    assert (seen.phase, seen.outcome, seen.held_ns) == (Phase.ENDED, Outcome.LOST, 0)


def test_what_we_did_ourselves_is_called_so() -> None:
    assert say([TERMED], job("CANCELLED"), stop_asked=True).outcome is Outcome.STOPPED
    assert say([None], job("CANCELLED"), stop_asked=True).outcome is Outcome.STOPPED
    requeued = say([TERMED], job("CANCELLED"), requeued=True)
    assert (requeued.outcome, requeued.reason) == (Outcome.LOST, "Slurm requeued it; it isn't started a second time there.")
    limit = say([STOPPED], job("RUNNING"), limit=True)
    assert (limit.outcome, limit.exit_code) == (Outcome.FAILED, 124)


def test_a_forgotten_job_is_judged_by_what_it_left() -> None:
    assert say([TERMED], job("RUNNING"), gone=True).outcome is Outcome.PREEMPTED
    assert say([RUNNING], job("RUNNING"), [LAST], gone=True).outcome is Outcome.LOST


STATES = sorted(
    facts.WAITING | facts.HOLDING | {"COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT", "PREEMPTED", "DEADLINE"}
)
SHARES = st.sampled_from([None, RUNNING, WELL, BADLY, TERMED, KILLED, STOPPED])


@given(st.lists(SHARES, min_size=1, max_size=3), st.none() | st.sampled_from(STATES), st.booleans(), st.booleans(), st.booleans())
def test_whatever_is_told_a_run_has_one_truth(
    shares: list[Seen | None], state: str | None, stop: bool, requeued: bool, gone: bool
) -> None:
    told = None if state is None else job(state)
    last = [LAST if share is not None else None for share in shares]
    seen = say(shares, told, last, stop_asked=stop, requeued=requeued, gone=gone)
    over = gone or (told is not None and facts.is_over(told))
    assert (seen.phase is Phase.ENDED) == (seen.outcome is not None)
    assert seen.held_ns >= 0
    if over:
        assert seen.phase is Phase.ENDED
    if seen.outcome is Outcome.SUCCEEDED:
        assert all(share == WELL for share in shares)
    if any(share is None or share.phase is not Phase.ENDED for share in shares) and not over:
        assert seen.phase is not Phase.ENDED
