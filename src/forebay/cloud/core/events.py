"""Everything that can happen, as facts from outside and as decisions of the core. Both go into the journal, in order.

A fact is told to the core; a decision is what the core makes of it. History is folded, never decided again, so a newer policy
changes no past and no bill. Every event says when (the cloud's own clock, which never goes back) and by whom: a key's id,
"centre NAME", or "forebay" for decisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forebay.chips.node import Node
from forebay.cloud.core.job import Job
from forebay.cloud.core.pool import Allocation
from forebay.cloud.core.tenant import Key
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
class ProjectMade(Event):
    organisation: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMade(Event):
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRevoked(Event):
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSet(Event):
    chip: str
    micro_per_card_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaSet(Event):
    """`cards` None: the limit is lifted."""

    organisation: str
    chip: str
    cards: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CentreMade(Event):
    name: str
    token_sha256: str


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
class Started(Event):
    """The ranks of a run have been started."""

    run: str
    carrier: str = ""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAsked(Event):
    run: str
    reason: str
    grace_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeued(Event):
    """A run failed and its job is to be tried again."""

    job: str
    run: str
    not_before_ns: int
    left: int  # retries left
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Event):
    """A job is over. `phase` is one of succeeded, failed, cancelled."""

    job: str
    phase: str
    reason: str = ""


# Not an event of the journal: the shell says what time it is, so that limits and back-offs can fall due.


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick(Event):
    pass


KINDS: Mapping[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        CloudMade,
        OrganisationMade,
        ProjectMade,
        KeyMade,
        KeyRevoked,
        PriceSet,
        QuotaSet,
        CentreMade,
        VersionMade,
        Submitted,
        Cancelled,
        NodesSeen,
        Started,
        Ended,
        Launched,
        StopAsked,
        Requeued,
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
