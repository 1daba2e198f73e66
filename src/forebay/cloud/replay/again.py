"""Tell a journal's facts to the core once more, and see whether it decides the same.

    differences(events)      # [] where live and simulated time agree

Asked:  is what ran live what a replay says?
Answer: each fact of the journal is told to a fresh core at its own time. The decisions that follow must be the journal's next
        lines, one by one. A decision that no fact led to was made at a tick, which isn't journaled: a tick is told at its time.
Limits: a journal that another version wrote may differ, and rightly so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from forebay.cloud.core import events as e
from forebay.cloud.replay.decider import Core

DECISIONS = (
    e.Launched,
    e.StopAsked,
    e.Reserved,
    e.Released,
    e.BudgetWarned,
    e.Credited,
    e.IdleWarned,
    e.Requeued,
    e.Quarantined,
    e.Finished,
)


def differences(events: Iterable[e.Event], most: int = 10) -> list[str]:
    """What was decided otherwise, in words; after the first difference the states drift apart, so that it counts most."""
    core = Core()
    due: deque[e.Event] = deque()
    found: list[str] = []
    for number, line in enumerate(events, 1):
        if len(found) >= most:
            break
        if not isinstance(line, DECISIONS) and not (isinstance(line, e.Ended) and line.by == "forebay"):  # it gave a run up
            found += [f"line {number}: only the replay decided {one}" for one in due]
            due = deque(core.tell(line))
            continue
        if not due:
            due = deque(core.tell(e.Tick(at_ns=line.at_ns, by="forebay")))
        if not due or due[0] != line:
            found.append(f"line {number}: {line}, where the replay decided {due[0] if due else 'nothing'}")
        if due:
            due.popleft()
    return [*found, *(f"at the end only the replay decided {one}" for one in due)][:most]
