"""The nouns that cloud and centre share: Spec, Handle, Seen, Progress; and the Engine protocol.

Asked:  what may a place to run know of a run, and what may it say about it?
Answer: it gets a Spec, built in full before anything is sent; it gives a Handle at once; it says what it has Seen.
        The same name again gives the same handle. An engine never chooses, retries or looks for another host.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NewType, Protocol

from forebay.chips.node import Node, NodeState


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One node's part in a run: a rank a card, in this order."""

    node: str
    cards: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """Something kept that a run may read: a version of a data set, or the output of an earlier job."""

    kind: str  # "data" or "output"
    source: str  # the version's id, "stdlib@3f2a…", or the job's id
    at: str  # where the script finds it, relative to its working folder: "data/stdlib"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """All that an engine may know of a run. No key, no token, no other organisation's name.

    It says which cards, never why.
    """

    name: str  # the run's id, "j4k7q2-1": job and attempt
    job: str
    organisation: str
    chip: str
    shares: tuple[Share, ...]
    bundle: str  # sha256 of the packed code
    entry: str  # path inside the bundle
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)  # the tenant's own variables; they reach the ranks only
    mounts: tuple[Mount, ...] = ()
    output: str = "out"  # folder, relative to the working folder, whose content outlives the attempt
    checked_s_ago: float | None = None  # since its cards were last found to be well; None: never, or one failed since
    brings: tuple[str, ...] = ()  # runs that ended at other centres and whose output must be fetched first: "j4k7q2-1"
    requirements: str | None = None  # path inside the bundle: requirements.txt, or a folder of wheels
    pretend: bool = False
    grace_s: float = 10.0  # between "please stop" (SIGTERM) and SIGKILL
    time_limit_s: float | None = None  # of the ranks; the cloud ends them, an engine may want to know beforehand

    @property
    def ranks(self) -> int:
        return sum(len(share.cards) for share in self.shares)


Handle = NewType("Handle", str)
"""The engine's name for a run. The local engine's is the path of the run's folder."""


class Phase(enum.Enum):
    """Where a run is, as its engine sees it."""

    QUEUED = "queued"  # in the centre's own queue (Slurm's, Ray's); it holds no card yet
    PREPARING = "preparing"  # code, data and environment are laid out
    RUNNING = "running"  # the ranks have been started
    ENDED = "ended"  # no process of the run is left


class Outcome(enum.Enum):
    """How a run ended, as its engine sees it."""

    SUCCEEDED = "succeeded"  # every rank exited with 0
    FAILED = "failed"  # a rank exited otherwise or was killed
    STOPPED = "stopped"  # it was asked to stop, and did
    UNPREPARED = "unprepared"  # code, data or environment could not be laid out: trying again would not help
    LOST = "lost"  # the supervisor vanished, and with it the ranks; or its node died
    PREEMPTED = "preempted"  # the centre took the cards back: trying again is right
    REVOKED = "revoked"  # somebody of the centre ended it there: trying again would be against their will
    UNFIT = "unfit"  # a card failed its check before the ranks were started: trying again elsewhere is right


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a run last printed about its work, read out of its own lines. A field that it doesn't print is None."""

    step: int | None = None
    of: int | None = None
    loss: float | None = None
    tokens_per_s: float | None = None
    line: str = ""
    at_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How busy a run's cards were, since they were taken. The first three are summed over cards; the last two are of the run."""

    held_ns: int = 0
    measured_ns: int = 0  # of held: while somebody could tell whether the cards were at work
    active_ns: int = 0  # of measured: they were
    productive_ns: int = 0  # covered by steps
    saved_ns: int = 0  # of productive: up to the newest checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """A file that a job left in its output folder."""

    path: str  # relative to the output folder
    size_bytes: int
    modified_ns: int
    is_checkpoint: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a look at the health of a run's cards on one node found (`job/check.py`)."""

    node: str
    cards: tuple[int, ...]
    when: str  # "before" the ranks were started, or "after" they failed
    took_s: float = 0.0
    bad: Mapping[str, str] = field(default_factory=dict)  # card -> what is wrong with it; empty: all are well
    skipped: str = ""  # why it wasn't made; then nothing is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is true of a run now. Times are the centre's wall clock; durations come from its monotonic clock."""

    name: str
    phase: Phase
    started_at_ns: int = 0  # when its cards were taken
    running_at_ns: int = 0  # when the ranks were started; 0 before that
    ended_at_ns: int = 0
    held_ns: int = 0  # started to ended, monotonic; what is billed
    outcome: Outcome | None = None
    exit_code: int | None = None  # of the first rank that ended badly; negative: the signal that killed it
    failed_rank: int | None = None
    reason: str = ""  # one plain sentence for people
    checkpoint_at_ns: int = 0  # when the newest checkpoint was complete; 0: there is none
    carrier: str = ""  # how CUDA's words were carried: "native", "simulated cuda device", "mapped to cpu"
    artefacts: tuple[Artefact, ...] = ()
    bound: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # node -> the cards that its engine really gave it
    checks: tuple[Check, ...] = ()
    use: Use | None = None  # told about once a minute, and at the end; None: nothing is known
    fetched_bytes: int = 0  # of its data and earlier output, that had to be brought to the centre first; as its agent measured
    fetched_ns: int = 0  # how long that took


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Whole lines of a run's log, as one of its shares wrote them. Offsets count that share's bytes."""

    share: str  # which part of the log: "0" for a run of one machine
    start: int  # where the body begins; behind the offset that was asked for if the log was rotated meanwhile
    end: int  # ask from here next
    body: bytes


class Engine(Protocol):
    """A place where a run can be: this machine, Ray, Slurm.

    Nothing here waits for the world: an engine that has to ask somebody does it in a thread or process of its own, and answers
    what it heard last. Every method may be called from any thread.
    """

    def nodes(self) -> tuple[Node, ...]:
        """The cards there are. Empty as long as the engine doesn't know."""

    def states(self) -> tuple[NodeState, ...]:
        """How the nodes stand. One that isn't named is up, and all its cards are ours to use."""

    def launch(self, spec: Spec) -> Handle:
        """Start a run; returns at once. The same spec's name again gives the same handle and starts nothing."""

    def look(self, handle: Handle) -> Seen:
        """What is true of a run now."""

    def progress(self, handle: Handle) -> Progress | None:
        """What the run last printed about its work."""

    def read_log(self, handle: Handle, marks: Mapping[str, int], most: int) -> Piece | None:
        """The next lines that somebody who has read each share up to its mark hasn't, at most about `most` bytes and of one
        share. None: there are none yet. The same marks give lines that begin with the same bytes, so that a reader who was cut
        off can go on in the middle.
        """

    def stop(self, handle: Handle, grace_s: float) -> None:
        """Ask a run to end, by force after `grace_s`. May be said twice."""

    def handles(self) -> Mapping[str, Handle]:
        """Every run that this engine still remembers, by name, ended ones included."""

    def forget(self, handle: Handle) -> None:
        """Drop an ended run's working folder. Its output stays. May be said twice."""

    def dial(self, handle: Handle) -> socket.socket:
        """A connection to the door of a run (`job/door.py`), or the near end of a relay to it. May wait some seconds.

        Unavailable while the run has no door, or can't be reached.
        """

    def output(self, job: str) -> Path:
        """The folder of what a job has left here. May wait while it is brought from a node. Nothing in it is to be trusted."""

    def take_in(self, job: str, organisation: str, folder: Path) -> None:
        """Make this folder the output of a job, in the place of what it left here before. Only while no run of it goes on."""

    def imports_torch(self, sha256: str) -> bool:
        """Whether a bundle that is here speaks of torch."""

    def data_folder(self, organisation: str) -> Path:
        """The folder for an organisation's data, closed to all others."""

    def close(self) -> None:
        """Let go of everything but the runs, which go on."""
