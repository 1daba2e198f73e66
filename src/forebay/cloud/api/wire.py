"""What requests may say: Pydantic models at the API's edge. Inside, only nouns of the core are used."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from forebay.cloud.access import SCOPES

MOST_JOBS = 1_000  # in one batch
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
"""Of organisations, projects, data sets and centres: lower case, digits and hyphens, at most 32."""
ChipName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
TakesName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}(:[1-9][0-9]{0,6})?$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("a text with a zero byte can't be handed to a program")
    return text


def _one_line(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    if any(ord(letter) < ord(" ") or 0x7F <= ord(letter) < 0xA0 for letter in text):
        raise ValueError("a line of text, without control characters")
    return text


MemberName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._@+-]{0,63}$")]
"""Of members: as a Name, and an address of mail is one too."""
Title = Annotated[str, StringConstraints(max_length=200), AfterValidator(_one_line)]
Word = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_no_nul)]
"""Of a command line or an environment; the system's own strings end at a zero byte."""


@lru_cache(4_096)
def _inside(path: str) -> str:
    plain = PurePosixPath(path)
    if plain.is_absolute() or not plain.parts or ".." in plain.parts or any(ord(letter) < ord(" ") for letter in path):
        raise ValueError("not a relative path that stays inside its folder")
    return str(plain)


InsidePath = Annotated[str, StringConstraints(min_length=1, max_length=400), AfterValidator(_inside)]
"""A path inside the code folder: relative, never up, and without a detour: "./out/" is "out"."""
Weight = Annotated[float, Field(gt=0, le=10**6)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]


class Asked(BaseModel):
    """The root: a field that nobody knows is refused, so that a typing error is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class OrganisationAsked(Asked):
    name: Name
    title: Title = ""


class OrganisationSetAsked(Asked):
    """What isn't said stays."""

    cohort: Name | Literal[""] | None = None
    weight: Weight | None = None


class ProjectAsked(Asked):
    name: Name


class ProjectSetAsked(Asked):
    weight: Weight


class MemberAsked(Asked):
    role: Annotated[str, StringConstraints(pattern="^(owner|member|viewer)$")] = "member"
    project: Name | None = None  # null: in all of the organisation's


class KeyAsked(Asked):
    """The client makes the secret and sends its SHA-256 only: the cloud never sees a secret before it is used."""

    secret_sha256: Sha256
    role: Annotated[str, StringConstraints(pattern="^(operator|owner|member|viewer)$")] = "member"
    organisation: Name | None = None
    project: Name | None = None  # null: in all of the organisation's
    member: MemberName | None = None  # whose it is, if anybody's
    name: Title = ""
    scopes: Annotated[list[Literal[SCOPES]], Field(max_length=len(SCOPES))] = []  # type: ignore[valid-type]
    expires_in_s: Annotated[float, Field(gt=0, le=10 * 365 * 86400)] | None = None


class PriceAsked(Asked):
    """`from_ns` 0: from now on."""

    micro_per_card_s: Annotated[int, Field(ge=0, le=10**15)]
    from_ns: Annotated[int, Field(ge=0, lt=2**63)] = 0


class IdleAsked(Asked):
    """`reclaim_s` null: idle holders are warned only."""

    warn_s: Annotated[float, Field(ge=60, le=10**8)] = 1800.0
    reclaim_s: Annotated[float, Field(ge=60, le=10**8)] | None = None
    share: Annotated[float, Field(gt=0, lt=1)] = 0.05

    @model_validator(mode="after")
    def _warned_first(self) -> IdleAsked:
        if self.reclaim_s is not None and self.reclaim_s < self.warn_s:
            raise ValueError("holders are warned before their cards are taken back")
        return self


class QuotaAsked(Asked):
    """`cards` null lifts guarantee and limit; `borrow` null: as many as others leave idle."""

    cards: Annotated[int, Field(ge=0, le=10**7)] | None
    borrow: Annotated[int, Field(ge=0, le=10**7)] | None = 0
    reclaim_s: Annotated[float, Field(ge=0, le=86400)] = 60.0


class BudgetAsked(Asked):
    """`from_ns` null: what is held from now on counts."""

    limit_micro: Annotated[int, Field(ge=0, lt=2**63)]
    from_ns: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    warn_share: Annotated[float, Field(gt=0, le=1)] = 0.8


class IndexAsked(Asked):
    """How much a card of the chip counts for, in cards of the reference chip."""

    compute: Annotated[float, Field(gt=0, le=10**6)]
    source: Title = ""


class RateAsked(Asked):
    """How fast data comes to a centre. Null: nobody says, and what is usual counts until it is measured."""

    bytes_per_s: Annotated[float, Field(ge=1, le=10**15)] | None


class OwnerAsked(Asked):
    """Whose a centre is, and which share of what others pay for its cards they are credited with. Null: nobody's."""

    organisation: Name | None
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class TokenAsked(Asked):
    """The client makes the token and sends its SHA-256 only."""

    token_sha256: Sha256
    expires_in_s: Annotated[float, Field(gt=0, le=10 * 365 * 86400)] | None = None


class CentreAsked(TokenAsked):
    name: Name


class PlaceAsked(Asked):
    """A centre, a node of it, or a card of that."""

    centre: Name
    node: Annotated[str, StringConstraints(max_length=200)] = ""
    card: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _a_card_has_a_node(self) -> PlaceAsked:
        if self.card is not None and not self.node:
            raise ValueError("a card is named with its node")
        return self


class DrainAsked(PlaceAsked):
    reason: Title = ""


class MaintenanceAsked(Asked):
    """A centre, or a node of it, from a time on and to a time, in nanoseconds since 1970."""

    centre: Name
    node: Annotated[str, StringConstraints(max_length=200)] = ""
    from_ns: Annotated[int, Field(ge=0, lt=2**63)]
    to_ns: Annotated[int, Field(ge=0, lt=2**63)]
    reason: Title = ""


class MountAsked(Asked):
    kind: Annotated[str, StringConstraints(pattern="^(data|output)$")]
    source: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9@-]{0,80}$")]
    at: InsidePath


class JobAsked(Asked):
    """A script with its needs. The menu is every chip of `chips` times every count of `cards`, in that order.

    `takes`: how many seconds the job takes on a chip, or on so many cards of it: "h100-sxm", "h100-sxm:8".
    """

    bundle: Sha256
    entry: InsidePath
    argv: Annotated[list[Word], Field(max_length=1_000, default_factory=list)]
    env: Annotated[dict[VariableName, Word], Field(max_length=1_000, default_factory=dict)]
    mounts: Annotated[list[MountAsked], Field(max_length=32, default_factory=list)]
    output: InsidePath = "out"
    requirements: InsidePath | None = None
    name: Title = ""
    cards: Annotated[list[Annotated[int, Field(ge=1, le=10**6)]], Field(min_length=1, max_length=16, default_factory=lambda: [1])]
    chips: Annotated[list[ChipName], Field(max_length=32, default_factory=list)]
    takes: Annotated[dict[TakesName, Annotated[float, Field(gt=0, le=10**9)]], Field(max_length=64, default_factory=dict)]
    time_limit_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    retries: Annotated[int, Field(ge=0, le=100)] = 3
    grace_s: Annotated[float, Field(ge=0, le=3600)] = 10.0
    priority: Annotated[int, Field(ge=-100, le=100)] = 0  # inside the organisation; more comes first
    resumable: bool | None = None  # it goes on from a checkpoint of its own; null: no, unless it is elastic
    elastic: bool = False  # it may go over to another line of its menu while it runs
    restart_s: Annotated[float, Field(ge=0, le=86400)] = 60.0  # what stopping it and starting it again costs
    prefer: Literal["fastest", "cheapest", "balanced"] = "balanced"
    deadline_ns: Annotated[int, Field(ge=0, lt=2**63)] = 0  # by when it is to have ended; 0: no matter
    budget_micro: Annotated[int, Field(gt=0, lt=2**63)] | None = None  # what all of its runs may cost
    organisation: Name | None = None  # for operators; a member's key says it
    project: Name | None = None

    @model_validator(mode="after")
    def _elastic_jobs_resume(self) -> JobAsked:
        if self.elastic and self.resumable is False:
            raise ValueError("elastic: such a job goes over to other cards through a checkpoint of its own, so it is resumable")
        return self

    @model_validator(mode="after")
    def _places_are_apart(self) -> JobAsked:
        """What is mounted, and the output folder, become links: one can't lie inside another."""
        if not self.mounts:
            return self
        places = [PurePosixPath(self.output), *(PurePosixPath(mount.at) for mount in self.mounts)]
        for one, other in combinations(places, 2):
            if one.is_relative_to(other) or other.is_relative_to(one):
                raise ValueError(f"mounts and output: {one} and {other} would lie one inside the other")
        return self


class JobsAsked(Asked):
    """Jobs to be submitted together: all of them, or none."""

    jobs: Annotated[list[JobAsked], Field(min_length=1, max_length=MOST_JOBS)]
