"""One run out of the shares that machines carry out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forebay.centre.gang import combine
from forebay.centre.spec import Artefact, Check, Outcome, Phase, Seen

S = 10**9


def ended(start_s: int, held_s: int, outcome: Outcome, **more: object) -> Seen:
    return Seen(
        name="share",
        phase=Phase.ENDED,
        started_at_ns=start_s * S,
        running_at_ns=(start_s + 1) * S,
        ended_at_ns=(start_s + held_s) * S,
        held_ns=held_s * S,
        outcome=outcome,
        **more,  # type: ignore[arg-type]
    )


def test_a_run_runs_when_its_last_share_does() -> None:
    running = Seen(name="0", phase=Phase.RUNNING, started_at_ns=1, running_at_ns=5)
    laying = Seen(name="1", phase=Phase.PREPARING, started_at_ns=2)
    assert combine("j-1", [running, laying]).phase is Phase.PREPARING
    assert combine("j-1", [running, None]).phase is Phase.PREPARING
    both = combine("j-1", [running, Seen(name="1", phase=Phase.RUNNING, started_at_ns=2, running_at_ns=9)])
    assert (both.phase, both.started_at_ns, both.running_at_ns) == (Phase.RUNNING, 1, 9)


def test_the_share_that_failed_by_itself_explains_those_that_were_told_to_stop() -> None:
    seen = combine(
        "j-1",
        [
            ended(0, 9, Outcome.PREEMPTED, reason="Its centre ended it (SIGTERM)."),
            ended(0, 10, Outcome.FAILED, exit_code=3, failed_rank=9, reason="Rank 9 ended with exit code 3."),
        ],
    )
    assert (seen.outcome, seen.exit_code, seen.failed_rank) == (Outcome.FAILED, 3, 9)


def test_one_share_alone_is_the_run() -> None:
    seen = ended(3, 4, Outcome.SUCCEEDED)
    assert combine("share", [seen]) == seen


def test_nothing_is_known_yet() -> None:
    assert combine("j-1", [None, None]) == Seen(name="j-1", phase=Phase.PREPARING)


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(0, 100), st.sampled_from(Outcome)), min_size=2, max_size=6))
def test_cards_are_held_from_the_first_start_to_the_last_end(shares: list[tuple[int, int, Outcome]]) -> None:
    seen = combine("j-1", [ended(*share) for share in shares])
    assert seen.held_ns == (max(s + h for s, h, _ in shares) - min(s for s, _, _ in shares)) * S
    assert seen.outcome in [outcome for _, _, outcome in shares]
    assert (seen.outcome is Outcome.SUCCEEDED) == all(outcome is Outcome.SUCCEEDED for _, _, outcome in shares)


def test_what_shares_found_is_told_of_the_run() -> None:
    file = Artefact(path="a.pt", size_bytes=1, modified_ns=1)
    checks = [Check(node=node, cards=(0,), when="before") for node in ("a", "b")]
    seen = combine(
        "j-1",
        [
            ended(0, 1, Outcome.SUCCEEDED, artefacts=(file,), bound={"a": (3,)}, checks=(checks[0],)),
            ended(0, 1, Outcome.SUCCEEDED, artefacts=(file,), bound={"b": (7,)}, checks=(checks[1],)),
        ],
    )
    assert (seen.artefacts, seen.bound, seen.checks) == ((file,), {"a": (3,), "b": (7,)}, tuple(checks))
