"""The nouns of a Slurm site, as Slurm tells of them: Gres, Machine, Partition, Site, Job. Nothing here is Forebay's view.

Asked:  what does a site have, and what does it do with a job?
Answer: these, made by `tell.py` out of commands' text and by `tell_json.py` out of slurmrestd's JSON: the rest of this package
        can't tell which way they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Gres:
    """So many of one kind of generic resource on a machine."""

    name: str  # "gpu"
    model: str = ""  # Slurm's "type": "h100"; empty where the site gives none
    count: int = 0

    @property
    def key(self) -> str:
        """As the operator's file names it: "gpu:h100"."""
        return f"{self.name}:{self.model}" if self.model else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What Slurm calls a node."""

    name: str
    address: str = ""
    cpus: int = 0
    memory_mb: int = 0
    gres: tuple[Gres, ...] = ()
    used: tuple[Gres, ...] = ()  # of those, by whatever jobs
    cpus_used: int = 0
    features: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    state: tuple[str, ...] = ()  # "IDLE", "DRAIN": base state and flags, upper case
    silent: bool = False  # slurmctld waits for its slurmd: the "*" behind a state
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A queue of the site."""

    name: str
    up: bool = True
    default: bool = False
    root_only: bool = False
    hidden: bool = False
    most_minutes: int | None = None  # None: no limit
    default_memory: bool = False  # the site says how much memory a job gets that doesn't ask for any


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Everything of a site that changes rarely."""

    machines: tuple[Machine, ...]
    partitions: tuple[Partition, ...] = ()
    above: Mapping[str, str] = field(default_factory=dict)  # node or switch -> the switch that it hangs below
    accounting: bool = False  # sacct knows jobs that slurmctld has forgotten
    default_memory: bool = False  # for all partitions


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job, as slurmctld sees it now."""

    id: str
    name: str
    state: str  # "PENDING", upper case
    reason: str = ""
    nodes: str = ""  # a host list; empty until it has some
    restarts: int = 0
    started_at_s: float | None = None
    ended_at_s: float | None = None


WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD", "CONFIGURING"})
HOLDING = frozenset({"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "STAGE_OUT", "SIGNALING", "RESIZING"})


def waits(job: Job) -> bool:
    return job.state in WAITING


def only_waits(job: Job) -> bool:
    """Whether it waits, and has no cards."""
    return waits(job) and not holds(job)


def holds(job: Job) -> bool:
    """Whether it has cards. A job that is being configured has them too."""
    return job.state in HOLDING or job.state == "CONFIGURING"


def is_over(job: Job) -> bool:
    return not waits(job) and not holds(job)
