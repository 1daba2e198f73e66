"""Everything that can happen, as facts from outside and as decisions of the core. Both go into the journal, in order.

A fact is told to the core; a decision is what the core makes of it. History is folded, never decided again, so a newer policy
changes no past and no bill. Every event says when (the cloud's own clock, which never goes back) and by whom: a key's id,
"centre NAME", or "forebay" for decisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from forebay.chips.node import Node, NodeState
from forebay.cloud.core.foresee import Outlook
from forebay.cloud.core.job import Job
from forebay.cloud.core.pool import Allocation, Window
from forebay.cloud.core.tenant import Budget, IdleLimits, Key, Member
from forebay.codec import decode, encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The root of all events."""

    at_ns: int
    by: str


# Facts: what operators and tenants asked for.


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudMade(Event):
    """The first line of every journal."""

    currency: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationMade(Event):
    name: str
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationSet(Event):
    """With whom an organisation lends and borrows, and its share of what is wanted by more than one."""

    organisation: str
    cohort: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectMade(Event):
    organisation: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSet(Event):
    organisation: str
    project: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSet(Event):
    """Somebody is a member, or has another role now."""

    member: Member


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRemoved(Event):
    """They are no member any more, and no key of theirs is good."""

    organisation: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSet(Event):
    """From now on; in the place of what was set before."""

    budget: Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLifted(Event):
    organisation: str
    project: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMade(Event):
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRevoked(Event):
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSet(Event):
    """What a card-second costs in runs that are launched from `from_ns` on; 0: from now on."""

    chip: str
    micro_per_card_s: int
    from_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaSet(Event):
    """`cards` None: guarantee and limit are lifted."""

    organisation: str
    chip: str
    cards: int | None
    borrow: int | None = 0
    reclaim_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CentreMade(Event):
    """A centre may join, with a token of which only the hash is kept."""

    name: str
    token_sha256: str
    expires_at_ns: int | None = None  # of the token


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMade(Event):
    """A centre may join again. The key that it has is good until it does."""

    centre: str
    token_sha256: str
    expires_at_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CentreRevoked(Event):
    """A centre's key, and its token, are no good any more. `give_up`: its runs are taken for lost."""

    centre: str
    give_up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleLimitsSet(Event):
    """When idle holders of cards are warned, and when they are stopped; from now on."""

    limits: IdleLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class CentreOwned(Event):
    """An organisation brought this centre, and is credited with a share of what others pay for its cards from now on."""

    centre: str
    organisation: str  # empty: nobody's any more
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CentreRateSet(Event):
    """How fast data comes to a centre, as an operator says. It counts until it is measured."""

    centre: str
    bytes_per_s: float  # 0: nobody says any more


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSet(Event):
    """How much one card of a chip counts for, in cards of the reference chip: speed times coverage, by its scorecard."""

    chip: str
    compute: float
    source: str = ""  # which scorecard says so


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained(Event):
    """A centre, a node (`node`), or one card of it is to get no new runs."""

    centre: str
    node: str = ""
    card: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undrained(Event):
    """It may get runs again; a card, also when it was quarantined."""

    centre: str
    node: str = ""
    card: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceSet(Event):
    window: Window


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceLifted(Event):
    window: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionMade(Event):
    """A version of a data set is complete in the store."""

    organisation: str
    dataset: str
    version: str
    manifest: str
    size_bytes: int
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted(Event):
    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(Event):
    job: str


# Facts: what centres saw.


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesSeen(Event):
    """A centre's agent reported its nodes, and they differ from what it said before."""

    centre: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CentreJoined(Event):
    """An agent has exchanged its centre's token for a key of its own, of which only the hash is kept."""

    centre: str
    key_sha256: str
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSeen(Event):
    """A centre's agent said which engine it has and which Forebay it is, and that is new."""

    centre: str
    engine: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatesSeen(Event):
    """How nodes stand now. Those that aren't named stand as before."""

    centre: str
    states: tuple[NodeState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CentreAway(Event):
    """Nothing has been heard of a centre's agent for a while. Its runs go on; it gets no new ones."""

    centre: str
    silent_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CentreBack(Event):
    centre: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued(Event):
    """A run waits in its centre's own queue. `reason` is that queue's own."""

    run: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted(Event):
    """Its centre's queue has let a run start."""

    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """The ranks of a run have been started."""

    run: str
    carrier: str = ""
    bound: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # node -> cards, where its engine picked them itself
    fetched_bytes: int = 0  # of its data and earlier output, that its agent had to bring to the centre first
    fetched_ns: int = 0  # how long that took


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSeen(Event):
    """A run has completed a checkpoint. Told at most once a minute a run: what stopping it would lose is reckoned from it."""

    run: str
    stamp_ns: int = 0  # when, by its centre's clock; tells one checkpoint from the next


@dataclass(frozen=True, slots=True, kw_only=True)
class UseSeen(Event):
    """How much of what a run held since it was last told was active (by the vendor's monitor) and productive (steps that count).

    Card-nanoseconds. `active_ns` -1: the monitor can't tell. `productive_ns` is negative where more steps were lost, at the end
    of a run, than were made since it was last told.
    """

    run: str
    held_ns: int
    active_ns: int = -1
    productive_ns: int = 0
    measured_ns: int = -1  # of `held_ns`: while the monitor could tell; -1: all of it, if it tells anything


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSeen(Event):
    """A look at the health of a run's cards on one node."""

    centre: str
    run: str
    node: str
    cards: tuple[int, ...]
    when: str  # "before" its ranks were started, or "after" they failed
    took_s: float = 0.0
    bad: Mapping[str, str] = field(default_factory=dict)  # card -> what is wrong with it; empty: all are well

    @property
    def name(self) -> str:
        """Which of a run's checks it is."""
        return f"{self.when} {self.node}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputKept(Event):
    """What a run left has arrived in the cloud's store."""

    job: str
    run: str
    version: str  # the manifest's hash
    size_bytes: int
    files: int
    whole: bool = True  # sent after the run had ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Event):
    """No process of a run is left. `held_ns` was measured by its engine; `lost_ns` is the part after the newest checkpoint."""

    run: str
    outcome: str
    held_ns: int
    lost_ns: int = 0
    exit_code: int | None = None
    reason: str = ""
    checkpointed: bool = False  # a checkpoint was completed during this run
    artefacts: int = 0
    artefact_bytes: int = -1  # -1: not told


# Decisions.


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched(Event):
    """A job gets cards. From here on the run holds them."""

    run: str
    job: str
    attempt: int
    allocation: Allocation
    price_micro_per_card_s: int
    free_cards: int  # of that chip in the pool, before this run took its own
    waiting: int  # jobs in the queue at that moment
    expected_s: float | None = None  # of the option that was taken
    lasts_s: float = 0.0  # forecast of how long the run lasts; 0: none was made
    outlooks: tuple[Outlook, ...] = ()  # what each option promised, where the job said how long it takes on them
    transfer_s: float = 0.0  # forecast of how long its data is on the way before it starts


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAsked(Event):
    run: str
    reason: str
    grace_s: float
    requeue: bool = False  # its job is to be tried again, without using up a retry
    for_job: str = ""  # which goes first; told to those only who see that job


@dataclass(frozen=True, slots=True, kw_only=True)
class Reckoned(Event):
    """A run lasts longer than was forecast, and this is what is forecast now: for the run, and for the size of its job."""

    run: str
    lasts_s: float
    size: float  # of the job, in card-seconds of effective compute


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved(Event):
    """Cards are kept for a job that can't start yet: free ones, and those that the named runs are asked to leave."""

    job: str
    allocation: Allocation
    expected_s: float | None = None
    runs: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released(Event):
    """What was kept for a job is free again: it was cancelled, or one of the cards is out of use."""

    job: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetWarned(Event):
    """A budget has reached the share at which a warning is due."""

    organisation: str
    project: str
    spent_micro: int
    limit_micro: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Credited(Event):
    """Money goes back for what a run held and the pool lost: a credit note."""

    run: str
    card_ns: int
    micro: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleWarned(Event):
    """A run holds cards and does nothing with them."""

    run: str
    idle_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeued(Event):
    """A run failed and its job is to be tried again."""

    job: str
    run: str
    not_before_ns: int
    left: int  # retries left
    reason: str
    forgiven: bool = False  # it used up no retry


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined(Event):
    """A card failed a check, or runs of several jobs failed on a card or node: it gets no runs until an operator undrains it."""

    centre: str
    node: str
    card: int | None  # None: the whole node
    reason: str
    run: str = ""  # whose check it was
    runs: tuple[str, ...] = ()  # that failed there, one of each job


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceBegan(Event):
    """A window has begun: from here on its cards are down, as soon as runs have left them."""

    window: str
    centre: str
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceOver(Event):
    """A window has ended by itself."""

    window: str
    centre: str
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Event):
    """A job is over. `phase` is one of succeeded, failed, cancelled."""

    job: str
    phase: str
    reason: str = ""


# Not an event of the journal: the shell says what time it is, so that limits and back-offs can fall due.


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick(Event):
    began_ns: int = 0  # since when the shell has listened: what centres couldn't tell before isn't held against their runs


KINDS: Mapping[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        CloudMade,
        OrganisationMade,
        OrganisationSet,
        ProjectMade,
        ProjectSet,
        MemberSet,
        MemberRemoved,
        BudgetSet,
        BudgetLifted,
        CentreOwned,
        CentreRateSet,
        IdleLimitsSet,
        IndexSet,
        KeyMade,
        KeyRevoked,
        PriceSet,
        QuotaSet,
        CentreMade,
        TokenMade,
        CentreJoined,
        CentreRevoked,
        AgentSeen,
        CentreAway,
        CentreBack,
        Drained,
        Undrained,
        MaintenanceSet,
        MaintenanceLifted,
        VersionMade,
        Submitted,
        Cancelled,
        NodesSeen,
        NodeStatesSeen,
        Queued,
        Admitted,
        Started,
        CheckpointSeen,
        UseSeen,
        CheckSeen,
        Ended,
        OutputKept,
        Launched,
        StopAsked,
        Reckoned,
        Reserved,
        Released,
        BudgetWarned,
        Credited,
        IdleWarned,
        Requeued,
        Quarantined,
        MaintenanceBegan,
        MaintenanceOver,
        Finished,
    )
}


def to_json(event: Event) -> dict[str, Any]:
    body: dict[str, Any] = encode(event)
    return body


def from_json(kind: str, body: Mapping[str, Any]) -> Event:
    """The event of a journal line. Raises BadInput for a kind or field that only a newer Forebay knows."""
    from forebay.errors import BadInput

    if kind not in KINDS:
        raise BadInput(
            "The journal has an event that this Forebay doesn't know.", found=kind, hint="use the newer Forebay that wrote it"
        )
    return decode(KINDS[kind], dict(body))
