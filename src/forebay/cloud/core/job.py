"""What tenants ask for: Job with its menu, and Run, one attempt at it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from forebay.cloud.core.pool import Allocation


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A line of a job's menu: so many cards of this chip, and how long the job takes on them.

    A planner's menu says more of each line (plan, seconds a step); those fields come with the planner.
    """

    chip: str
    cards: int
    expected_s: float | None = None  # as the job's owner or a planner says; None: nobody knows
    plan: str = ""  # the planner's name for how the work is cut over these cards


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Any program of the tenant. It knows nothing of Forebay."""

    bundle: str  # sha256 of the packed code
    entry: str
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, str] = field(
        default_factory=dict
    )  # where in the working folder -> "data:stdlib@3f2a…" or "output:j4k7q2"
    output: str = "out"
    requirements: str | None = None
    sealed: bool = False  # `env` has the names only; the values lie beside the journal until the job is over


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A built-in runtime that obeys a plan. No recipe is offered yet: the train room brings the first."""

    name: str
    plan: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a tenant asks for: a script or a recipe, a menu of options (best first), and its limits."""

    id: str
    organisation: str
    project: str
    name: str
    menu: tuple[Option, ...]
    script: Script | None = None
    recipe: Recipe | None = None
    time_limit_s: float | None = None
    retries: int = 3  # attempts after the first
    grace_s: float = 10.0
    priority: int = 0  # inside its organisation; more comes first
    resumable: bool = False  # it goes on from a checkpoint of its own when it is started again
    elastic: bool = False  # it may go over to another option of its menu while it runs, through a checkpoint
    restart_s: float = 60.0  # what stopping and starting it again costs, beside the work after its last checkpoint
    prefer: str = "balanced"  # what matters where options differ: "fastest", "cheapest", "balanced"
    deadline_ns: int = 0  # by when it is to have ended; 0: no matter
    budget_micro: int | None = None  # what all of its runs may cost


class Phase(enum.Enum):
    """Where a job is."""

    WAITING = "waiting"  # in the queue
    STARTING = "starting"  # holds cards; its centre lays out code, data and environment
    QUEUED = "queued"  # its centre's own queue (Slurm's, Ray's) hasn't let it start yet
    RUNNING = "running"
    STOPPING = "stopping"  # asked to end
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        return self in (Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A job and how it stands now."""

    job: Job
    order: int  # place in the order of submission; a job that is tried again keeps it
    submitted_at_ns: int
    submitted_by: str
    phase: Phase = Phase.WAITING
    runs: tuple[str, ...] = ()
    not_before_ns: int = 0  # a job that failed waits until then
    ended_at_ns: int = 0
    reason: str = ""
    forgiven: int = 0  # attempts that ended through no fault of the job and used up no retry
    served_ns: int = 0  # card-nanoseconds that its ended runs held
    done: float = 0.0  # share of the whole that its ended runs did and kept, by its options' expected times


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a run left, as the cloud keeps it: its newest sending."""

    version: str  # the manifest's hash
    size_bytes: int
    files: int
    at_ns: int
    whole: bool  # sent after the run had ended, so that nothing is missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One attempt at a job: the cards it holds, since when, and how it ended."""

    id: str
    job: str
    attempt: int
    allocation: Allocation
    price_micro_per_card_s: int
    launched_at_ns: int
    running_at_ns: int = 0
    carrier: str = ""
    stop: str = ""  # why it was asked to end; empty: it wasn't
    stop_for: str = ""  # the job that it makes way for; told to those only who see that job
    grace_s: float = 0.0
    ended_at_ns: int = 0  # when the cloud learned of it
    outcome: str = ""  # the engine's word; empty while it goes on
    exit_code: int | None = None
    reason: str = ""
    held_ns: int = 0
    lost_ns: int = 0
    artefacts: int = 0
    artefact_bytes: int = -1  # -1: not told
    requeue: bool = False  # asked to end for the pool's sake: its job is to be tried again
    expected_s: float | None = None  # of the option that it was launched with
    queue_reason: str = ""  # why its centre's queue holds it back; empty: it doesn't
    admitted_at_ns: int = 0  # when that queue let it start; 0: at once
    bound: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # node -> cards, where the engine picks them itself
    checked: tuple[str, ...] = ()  # looks at its cards that are journaled: "before h3"
    lasts_s: float = 0.0  # forecast, by the cloud
    transfer_s: float = 0.0  # forecast: how long its data is on the way before it starts
    checkpoint_at_ns: int = 0  # when it was last heard to have completed a checkpoint; 0: never
    kept: Kept | None = None
