"""Who shares the pool: Organisation, Project, Key, Quota, Price."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Role(enum.Enum):
    """What the holder of a key may do."""

    OPERATOR = "operator"  # everything: organisations, prices, quotas, every job
    MEMBER = "member"  # jobs and data of one project
    VIEWER = "viewer"  # read what a member reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """A tenant. It pays its bills, and no other organisation sees what it does."""

    name: str
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A part of an organisation, for whose work bills are split."""

    organisation: str
    name: str


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

    def good_at(self, now_ns: int) -> bool:
        return not self.revoked and (self.expires_at_ns is None or now_ns < self.expires_at_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """How many cards of a chip an organisation may hold at once. No quota: as many as there are."""

    organisation: str
    chip: str
    cards: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one card of a chip costs for one second, in millionths of the cloud's currency."""

    chip: str
    micro_per_card_s: int
