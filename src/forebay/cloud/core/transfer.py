"""Say how long it takes until what a run needs lies at a centre. Pure.

    far(state, standing)         # {"north": 0.0, "south": 96.0}; empty for a job that needs nothing but its code

Asked:  cards are free at two centres. At one of them the job's data lies already; to the other it must be brought. What does that
        cost?
Answer: versions of data sets that the job mounts, what its own earlier runs left, and what jobs left whose output it mounts,
        minus what a centre holds, over that centre's rate. A centre holds what runs of the same organisation found there when
        they started, and what was left there. Its rate is how fast data came there lately, as its agent measured
        (`fold_pool.py`); until then what an operator says, or a gigabit a second. What only another centre has goes to the cloud
        first, at that one's rate.
Limits: code is small and isn't counted, nor building an environment. Pieces that two versions share count twice. What is on its
        way for another run counts as if it weren't. A centre whose disks were emptied is taken to hold what it held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forebay.cloud.core.job import Job, Run, Standing
from forebay.cloud.core.outputs import last_started, mounted, newest
from forebay.cloud.core.place import NOWHERE_FAR
from forebay.cloud.core.pool import Centre
from forebay.cloud.core.state import State
from forebay.units import BITS_PER_BYTE, GB, NS_PER_S

DEFAULT_BYTES_PER_S = GB / BITS_PER_BYTE
"""Of a centre of which nobody has said or measured anything: one gigabit a second."""


def far(state: State, standing: Standing) -> Mapping[str, float]:
    """By centre, in how many seconds all that a job's next run needs could be there. Empty: it needs nothing."""
    loads = to_bring(state, standing)
    return {name: seconds(state, loads, name) for name in state.t.centres} if loads else NOWHERE_FAR


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Something that must lie at a run's centre before it starts."""

    size_bytes: int
    at: frozenset[str]  # the centres that hold it
    sender: str = ""  # the centre that sends it to the cloud first; empty: the cloud has it


def to_bring(state: State, standing: Standing) -> tuple[Load, ...]:
    """What a job's next run needs, wherever some of it may lie. Of unknown size is nothing."""
    job = standing.job
    has_mounts = job.script is not None and bool(job.script.mounts)
    if not has_mounts and not standing.runs:
        return ()
    loads = [_version(state, name) for name in versions(job)] if has_mounts else []
    if len(state.t.centres) > 1:  # else it lies where it is wanted
        loads += [_output(state, standing)]
        loads += [_output(state, state.t.jobs[name]) for name in mounted(standing) if name in state.t.jobs]
    return tuple([load for load in loads if load and load.size_bytes])


def versions(job: Job) -> list[str]:
    """The versions of data sets that a job mounts, as the tables name them."""
    mounts = job.script.mounts.values() if job.script else ()
    return [f"{job.organisation}/{source[5:]}" for source in mounts if source.startswith("data:")]


def seconds(state: State, loads: Sequence[Load], centre: str) -> float:
    """How long bringing all of it to a centre takes."""
    rate = bytes_per_s(state.t.centres[centre])
    took = 0.0
    for load in loads:
        if centre not in load.at:
            took += load.size_bytes / rate
            if load.sender:
                took += load.size_bytes / bytes_per_s(state.t.centres[load.sender])
    return took


def bytes_per_s(centre: Centre) -> float:
    """How fast data comes to a centre."""
    return measured_bytes_per_s(centre) or centre.said_bytes_per_s or DEFAULT_BYTES_PER_S


def measured_bytes_per_s(centre: Centre) -> float:
    """0: nothing was measured."""
    return centre.pulled_bytes * NS_PER_S / centre.pulled_ns if centre.pulled_bytes and centre.pulled_ns else 0.0


def _version(state: State, name: str) -> Load | None:
    known = state.t.versions.get(name)
    return Load(size_bytes=known.size_bytes, at=frozenset(state.lies.get(name, ()))) if known else None


def _output(state: State, standing: Standing) -> Load | None:
    """What a job has left: as `outputs.py` has it brought."""
    left = newest(state, standing) if standing.runs else None
    if left is None:
        return None
    last = last_started(state, standing)
    here = left.allocation.centre
    at = frozenset((here, last.allocation.centre)) if last else frozenset((here,))
    is_sent = left.kept is not None and (left.kept.whole or not state.reachable(here))
    return Load(size_bytes=_size(left), at=at, sender="" if is_sent else here)


def _size(left: Run) -> int:
    if left.kept is not None and left.kept.whole:
        return left.kept.size_bytes
    return max(left.artefact_bytes, left.kept.size_bytes if left.kept else 0, 0)
