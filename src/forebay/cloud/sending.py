"""Which outputs a centre is asked to send.

Asked:  what jobs left lies at their centres. What of it has to come to the cloud, and when?
Answer: what somebody waits for: a run that goes on elsewhere, or a person. And, unasked, what is small: when its run has ended,
        and while it goes on after each new checkpoint, at most once a minute, so that the job can go on elsewhere if its centre
        is lost.
Limits: what is asked for is kept in memory only: whoever waits asks again, after a restart of the cloud too. At most four runs a
        centre are asked for unasked, the newest first, so that a fetch for a new run isn't kept waiting by them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from forebay.centre.spec import Seen
from forebay.cloud.core.job import Run
from forebay.cloud.core.state import State
from forebay.units import MIB, NS_PER_S

SMALL_BYTES = 64 * MIB
BETWEEN_S = 60.0  # two sendings of what a run that goes on has left so far
MOST_UNASKED = 4
WISH_S = 600.0  # how long a wish stands that nobody repeats


class Sending:
    """What is known of outputs that aren't here yet."""

    def __init__(self) -> None:
        self._wishes: dict[str, dict[str, float]] = {}  # centre -> run -> when it was last wished for, in monotonic seconds
        self._fresh: dict[str, int] = {}  # run -> when it was heard, by the cloud's clock, that it has a new checkpoint
        self._checkpoints: dict[str, int] = {}  # run -> its newest checkpoint, by its centre's clock
        self._surveyed: dict[str, bool] = {}  # run -> whether it had ended when its centre last asked what is missing

    def wish(self, run: Run) -> bool:
        """Somebody waits for what this run left. True when that is new."""
        wishes = self._wishes.setdefault(run.allocation.centre, {})
        is_new = run.id not in wishes
        wishes[run.id] = time.monotonic()
        return is_new

    def saw(self, seen: Seen, now_ns: int) -> None:
        """An agent told how a run stands."""
        if seen.ended_at_ns or seen.outcome:
            self._fresh.pop(seen.name, None)
            self._checkpoints.pop(seen.name, None)
        elif seen.checkpoint_at_ns > max(self._checkpoints.get(seen.name, 0), seen.started_at_ns) and is_small(seen):
            self._checkpoints[seen.name] = seen.checkpoint_at_ns
            self._fresh[seen.name] = now_ns

    def surveyed(self, run: Run) -> None:
        """Its centre has looked at what the run left, and asks which chunks are missing."""
        self._surveyed[run.id] = bool(run.outcome)

    def is_whole(self, run: Run) -> bool:
        """Whether what arrives now was looked at after the run had ended."""
        return self._surveyed.get(run.id, False)

    def kept(self, run: Run) -> None:
        self._wishes.get(run.allocation.centre, {}).pop(run.id, None)
        self._surveyed.pop(run.id, None)

    def wanted(self, state: State, centre: str, now_ns: int) -> list[str]:
        """The runs whose output a centre is to send, those that somebody waits for first."""
        soon = time.monotonic() - WISH_S
        wishes = self._wishes.get(centre, {})
        for run in [run for run, at in wishes.items() if at < soon]:
            del wishes[run]
        return list(dict.fromkeys([*wishes, *self._unasked(state, centre, now_ns)]))

    def _unasked(self, state: State, centre: str, now_ns: int) -> Sequence[str]:
        due = [run for run in self._fresh if run in state.live_at.get(centre, {}) and self._is_due(state.t.runs[run], now_ns)]
        ended = [run for run in reversed(state.unsent.get(centre, {})) if state.t.runs[run].artefact_bytes <= SMALL_BYTES]
        return [*ended, *due][:MOST_UNASKED]

    def _is_due(self, run: Run, now_ns: int) -> bool:
        if run.kept is None:
            return True
        return self._fresh[run.id] > run.kept.at_ns and now_ns - run.kept.at_ns > BETWEEN_S * NS_PER_S


def is_small(seen: Seen) -> bool:
    return sum(artefact.size_bytes for artefact in seen.artefacts) <= SMALL_BYTES
