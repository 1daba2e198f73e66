"""The state proper: what a snapshot keeps. State holds it, with the indexes that are derived from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from forebay.chips.node import NodeState
from forebay.cloud.core.evidence import Suspect
from forebay.cloud.core.job import Run, Standing
from forebay.cloud.core.ledger import Life, Reading, Tally
from forebay.cloud.core.money import Credit, Owned
from forebay.cloud.core.pool import Allocation, Centre, Mark, Window
from forebay.cloud.core.share import Share
from forebay.cloud.core.tenant import Budget, IdleLimits, Key, Member, Organisation, Price, Project, Quota
from forebay.cloud.core.use import Used


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionKept:
    """A version of a data set, as far as the core must know it."""

    organisation: str
    dataset: str
    version: str
    manifest: str
    size_bytes: int
    files: int
    made_at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Cards that are kept for a job: what is free of them now, and what the named runs still hold."""

    job: str
    allocation: Allocation
    expected_s: float | None = None
    runs: tuple[str, ...] = ()
    at_ns: int = 0
    reason: str = ""


@dataclass(slots=True, kw_only=True)
class Tables:
    """Frozen nouns by their names. A newer Forebay may add tables; those of an older one are read as they are."""

    currency: str = ""
    last_at_ns: int = 0
    orders: int = 0
    organisations: dict[str, Organisation] = field(default_factory=dict)
    projects: dict[str, Project] = field(default_factory=dict)  # by "organisation/project"
    members: dict[str, Member] = field(default_factory=dict)  # by "organisation/name"
    keys: dict[str, Key] = field(default_factory=dict)
    budgets: dict[str, Budget] = field(default_factory=dict)  # by "organisation/project", "organisation/" for the whole
    indexes: dict[str, float] = field(default_factory=dict)  # chip -> effective compute of a card
    prices: dict[str, Price] = field(default_factory=dict)
    quotas: dict[str, Quota] = field(default_factory=dict)  # by "organisation/chip"
    centres: dict[str, Centre] = field(default_factory=dict)
    versions: dict[str, VersionKept] = field(default_factory=dict)  # by "organisation/version"
    jobs: dict[str, Standing] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    node_states: dict[str, dict[str, NodeState]] = field(
        default_factory=dict
    )  # centre -> node -> how it stands, if not plainly up
    down: dict[str, int] = field(default_factory=dict)  # "centre/node" -> since when it has been told to be down
    suspects: dict[str, Suspect] = field(default_factory=dict)  # "centre/node" where runs failed lately
    marks: dict[str, Mark] = field(default_factory=dict)  # by place: "centre", "centre/node", "centre/node/card"
    windows: dict[str, Window] = field(default_factory=dict)
    reservations: dict[str, Reservation] = field(default_factory=dict)  # by job
    shares: dict[str, Share] = field(default_factory=dict)  # "" (the pool), "organisation", "organisation/project"
    entered: dict[str, float] = field(default_factory=dict)  # job that isn't over -> its project's clock when it came
    sizes: dict[str, float] = field(default_factory=dict)  # of the same jobs: how large they are, in effective card-seconds
    history: dict[str, tuple[int, ...]] = field(default_factory=dict)  # kind of job -> how many lasted how long
    good_checks: dict[str, int] = field(default_factory=dict)  # "centre/node/card" -> when it was last found to be well
    # What metering keeps (fold_use.py).
    price_history: dict[str, tuple[Price, ...]] = field(default_factory=dict)  # chip -> as they came, or come, into force
    owners: dict[str, tuple[Owned, ...]] = field(default_factory=dict)  # centre -> who brought it, from when on
    credits: dict[str, Credit] = field(default_factory=dict)  # by run
    uses: dict[str, Used] = field(default_factory=dict)  # by run: what was told of how busy its cards are
    idle_limits: IdleLimits = field(default_factory=IdleLimits)
    lives: dict[str, dict[str, dict[str, Life]]] = field(default_factory=dict)  # centre -> node -> card
    tallies: dict[str, Tally] = field(default_factory=dict)
    readings: tuple[Reading, ...] = ()  # of the tallies, oldest first
    read_at_ns: int = 0  # the full hour up to which readings were taken
