"""Who shares the pool: Organisation, Project, Member, Key; and what they may hold and pay: Quota, Budget, Price."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Role(enum.Enum):
    """What the holder of a key may do."""

    OPERATOR = "operator"  # everything: organisations, prices, quotas, every job
    OWNER = "owner"  # an organisation's: its projects, members, keys and budgets, and what a member may
    MEMBER = "member"  # jobs and data of one project
    VIEWER = "viewer"  # read what a member reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """A tenant. It pays its bills, and no other organisation sees what it does.

    Organisations of one cohort lend each other the part of their quotas that is idle. `weight`: its share of what is wanted by
    more than one, beside the others' weights.
    """

    name: str
    title: str = ""
    cohort: str = ""  # empty: the pool's common one
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A part of an organisation, for whose work bills are split."""

    organisation: str
    name: str
    weight: float = 1.0  # beside the organisation's other projects


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A person or a program of an organisation, with what they may do there."""

    organisation: str
    name: str
    role: Role
    project: str = ""  # empty: in all of its projects


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What a program shows to be let in. The secret itself is kept nowhere, only its SHA-256."""

    id: str
    secret_sha256: str
    role: Role
    organisation: str = ""  # empty for an operator
    project: str = ""
    name: str = ""
    expires_at_ns: int | None = None
    revoked: bool = False
    member: str = ""  # whose it is; empty: nobody's in particular
    scopes: tuple[str, ...] = ()  # what it is good for, as "jobs:write"; empty: all that its role may do

    def good_at(self, now_ns: int) -> bool:
        return not self.revoked and (self.expires_at_ns is None or now_ns < self.expires_at_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """How many cards of a chip an organisation is guaranteed, and how many more it may borrow. No quota: no guarantee, no limit.

    `chip` COMPUTE: effective compute over all chips, in cards of the reference chip.
    """

    organisation: str
    chip: str
    cards: int
    borrow: int | None = 0  # over `cards`, of what others of its cohort leave idle; None: as many as there are
    reclaim_s: float = 60.0  # within which what it lent is back once it asks


COMPUTE = "compute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What an organisation, or one project of it, may spend from a day on. At its end no new runs start."""

    organisation: str
    project: str = ""  # empty: the whole organisation
    limit_micro: int
    from_ns: int = 0  # what was held before doesn't count
    warn_share: float = 0.8  # of the limit, at which a warning is due
    warned: bool = False

    @property
    def name(self) -> str:
        return f"{self.organisation}/{self.project}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one card of a chip costs for one second, in millionths of the cloud's currency."""

    chip: str
    micro_per_card_s: int
    from_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleLimits:
    """When the holder of cards that do nothing is warned, and when they are taken back.

    Only what a monitor measured counts: of a run whose cards nobody can look at, nothing is said.
    """

    warn_s: float = 1800.0
    reclaim_s: float | None = None  # None: never
    share: float = 0.05  # a run whose cards are active for less than this share of the time is idle
