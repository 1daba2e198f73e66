"""Who asks, and what they may do: the one table of rights.

Asked:  a request shows a secret. Whose is it, and may its holder do this?
Answer: `RIGHTS`, a line a right, a column a role. Every route of the API names the right that it needs, and nothing else is asked
        anywhere (`api/desk.py` has it asked before the request is read). A key may be good for a part of its role's rights only
        (its scopes), and never for more than its member may today.
Limits: a right reaches over all organisations or over one's own. A project parts bills, not secrets: who is of an organisation
        reads all of it.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forebay.cloud.core.job import Standing
from forebay.cloud.core.state import State
from forebay.cloud.core.tenant import Key, Role
from forebay.errors import BadInput, BadKey, Refused, Unknown


class Reach(enum.Enum):
    """Over whose things a role has a right."""

    NONE = "-"
    OWN = "own"  # its own organisation's
    ALL = "all"


_ALL, _OWN, _NO = Reach.ALL, Reach.OWN, Reach.NONE
_ROLES = (Role.OPERATOR, Role.OWNER, Role.MEMBER, Role.VIEWER)  # from most to least; so are the table's columns

# fmt: off
_TABLE: Mapping[str, tuple[tuple[Reach, Reach, Reach, Reach], str]] = {
    #                 operator owner member viewer
    "self":          ((_ALL, _OWN, _OWN, _OWN), "see whose key this is; every key may, whatever its scopes"),
    "jobs:read":     ((_ALL, _OWN, _OWN, _OWN), "jobs, their stories, logs and outputs; whether code is here"),
    "jobs:write":    ((_ALL, _OWN, _OWN, _NO), "send code, submit jobs, cancel them"),
    "jobs:enter":    ((_NO, _OWN, _OWN, _NO), "talk to the door of a job that runs"),
    "data:read":     ((_ALL, _OWN, _OWN, _OWN), "data sets and their versions"),
    "data:write":    ((_ALL, _OWN, _OWN, _NO), "bring data"),
    "pool:read":     ((_ALL, _OWN, _OWN, _OWN), "centres, cards, prices, indexes; others' runs only as busy"),
    "bill:read":     ((_ALL, _OWN, _OWN, _OWN), "bills, budgets, quotas"),
    "members:read":  ((_ALL, _OWN, _OWN, _OWN), "organisations with their projects, members, keys without secrets"),
    "members:write": ((_ALL, _OWN, _NO, _NO), "members, keys up to one's own rights, projects with their weights"),
    "budgets:write": ((_ALL, _OWN, _NO, _NO), "budgets of projects"),
    "audit:read":    ((_ALL, _OWN, _NO, _NO), "the journal: when, who, what"),
    "tenants:write": ((_ALL, _NO, _NO, _NO), "organisations with their cohorts, weights, quotas and budgets; prices"),
    "pool:write":    ((_ALL, _NO, _NO, _NO), "centres and whose they are, drains, maintenance, indexes"),
}
# fmt: on

RIGHTS: Mapping[str, Mapping[Role, Reach]] = {
    right: dict(zip(_ROLES, reaches, strict=True)) for right, (reaches, _) in _TABLE.items()
}
WHAT: Mapping[str, str] = {right: what for right, (_, what) in _TABLE.items()}
SCOPES = tuple(right for right in RIGHTS if right != "self")
"""What a key can be limited to."""


def sha256_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def no_higher(one: Role, other: Role) -> bool:
    """Whether a role has no right that another lacks."""
    return _ROLES.index(one) >= _ROLES.index(other)


@dataclass(frozen=True, slots=True)
class Who:
    """The holder of a good key. Their role is the key's, or their member's if that is less now."""

    key: Key
    role: Role
    project: str = ""  # where they work; empty: in any of their organisation's

    @property
    def is_operator(self) -> bool:
        return self.role is Role.OPERATOR

    def sees(self, organisation: str) -> bool:
        return self.is_operator or organisation == self.key.organisation

    def may(self, right: str) -> bool:
        return RIGHTS[right][self.role] is not Reach.NONE and (right == "self" or not self.key.scopes or right in self.key.scopes)

    def must(self, right: str) -> None:
        if self.may(right):
            return
        if RIGHTS[right][self.role] is Reach.NONE:
            raise _refused(right, self.role)
        raise Refused(
            "This key isn't for that.",
            asked=right,
            found=f"a key for {', '.join(self.key.scopes)}",
            hint="another key; its scopes say what it is for (`forebay key list`)",
        )

    def organisation(self, asked: str) -> str:
        """The organisation of a listing: what was asked for, if the holder sees it. Empty, for an operator: all."""
        if not self.sees(asked or self.key.organisation):
            raise Unknown("There is no such organisation.", asked=asked, hint="`forebay org list` shows yours")
        return asked if self.is_operator else self.key.organisation

    def manages(self, state: State, organisation: str) -> None:
        """Unknown unless there is that organisation, and the holder's rights reach it."""
        if not self.sees(organisation) or organisation not in state.t.organisations:
            raise Unknown("There is no such organisation.", asked=organisation, hint="`forebay org list`")

    def place(self, state: State, organisation: str | None, project: str | None) -> tuple[str, str]:
        """The organisation and project that a request works in. Who is of one project needn't say it, an operator must."""
        if self.is_operator:
            if not organisation or not project:
                raise BadInput(
                    "An operator's key belongs to no project.",
                    hint="say --project ORGANISATION/PROJECT, or use a member's key (`forebay key make`)",
                )
        elif (organisation or self.key.organisation) != self.key.organisation or (
            self.project and project not in (None, self.project)
        ):
            raise Unknown("There is no such organisation or project.", asked=f"{organisation}/{project}")
        else:
            organisation = self.key.organisation
            project = project or self.project or self._only_project(state)
        if f"{organisation}/{project}" not in state.t.projects:
            raise Unknown("There is no such project.", asked=f"{organisation}/{project}", hint="`forebay org list` shows them")
        return organisation, project

    def _only_project(self, state: State) -> str:
        names = [project.name for project in state.t.projects.values() if project.organisation == self.key.organisation]
        if len(names) != 1:
            raise BadInput(
                "In which project?",
                found=", ".join(names) or "your organisation has none",
                hint=f"--project {self.key.organisation}/{names[0] if names else 'PROJECT'}",
            )
        return names[0]

    def job(self, state: State, job_id: str) -> Standing:
        """A job that the holder may see, by its id or a run's. Another organisation's gets the same answer as one that is not."""
        standing = state.standing(job_id)
        if standing is None or not self.sees(standing.job.organisation):
            raise Unknown("There is no such job.", asked=job_id, hint="`forebay jobs` lists yours")
        return standing

    def hands_out(self, role: Role, scopes: Sequence[str], expires_at_ns: int | None) -> None:
        """Refused unless a key like this has nothing that the holder's own key lacks."""
        mine = self.key
        if not no_higher(role, self.role):
            raise _more("a role", role.value, f"this key is {_a(self.role)}'s")
        if mine.scopes and not (scopes and set(scopes) <= set(mine.scopes)):
            raise _more("scopes", ", ".join(scopes) or "all of its role", f"this key is for {', '.join(mine.scopes)}")
        if mine.expires_at_ns is not None and (expires_at_ns is None or expires_at_ns > mine.expires_at_ns):
            raise _more("a life", "longer than this key's own", "this key expires before")


def who(state: State, authorization: str | None, now_ns: int) -> Who:
    """The holder of the secret in an Authorization header. Wrong, expired and revoked get the same answer."""
    scheme, _, secret = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise BadKey("This needs a key.", found="none in the request", hint="set FOREBAY_KEY, or `forebay key use`")
    key = state.t.keys.get(state.keys_by_hash.get(sha256_of(secret.strip()), ""))
    if key is None or not key.good_at(now_ns):
        raise BadKey(
            "The key is not valid.",
            found="it is unknown, expired or revoked",
            hint="ask your operator for a new one (`forebay key make`)",
        )
    member = state.t.members.get(f"{key.organisation}/{key.member}") if key.member else None
    if member is None:
        return Who(key, key.role, key.project)
    return Who(key, key.role if no_higher(key.role, member.role) else member.role, member.project or key.project)


def centre(state: State, authorization: str | None) -> str:
    """The name of the centre whose agent asks. Unknown and revoked keys get the same answer."""
    name = state.centres_by_key.get(sha256_of(_secret(authorization)))
    if name is None:
        raise BadKey(
            "That is no centre's key.",
            found="it is unknown, or was revoked",
            hint="ask the cloud's operator for a token (`forebay centre token NAME`), and join again",
        )
    return name


def joining(state: State, authorization: str | None, key_sha256: str, now_ns: int) -> str:
    """The centre whose token this is, if it may be exchanged for this key. The same key again gets the same answer."""
    name = state.centres_by_token.get(sha256_of(_secret(authorization)))
    known = state.t.centres[name] if name else None
    if known and known.token_key_sha256 == key_sha256:
        return known.name
    if known is None or known.token_key_sha256 or (known.token_expires_at_ns is not None and now_ns >= known.token_expires_at_ns):
        raise BadKey(
            "That token is not valid.",
            found="it is unknown, expired, or was used before",
            hint="ask the cloud's operator for a new one (`forebay centre token NAME`)",
        )
    return known.name


def _secret(authorization: str | None) -> str:
    return (authorization or "").partition(" ")[2].strip()


def _a(role: Role) -> str:
    return f"an {role.value}" if role.value[0] in "aeiou" else f"a {role.value}"


def _more(what: str, asked: str, found: str) -> Refused:
    return Refused(
        f"A key can't make one with {what} beyond its own.", asked=asked, found=found, hint="ask somebody who may do more"
    )


def _refused(right: str, role: Role) -> Refused:
    reaches = RIGHTS[right]
    if reaches[Role.MEMBER] is not Reach.NONE and role is Role.VIEWER:
        return Refused("This key may only read.", found="a viewer's key", hint="a member's key")
    if reaches[Role.OPERATOR] is Reach.NONE:
        return Refused(
            "Only members of the job's own organisation come in.",
            found=f"{_a(role)}'s key",
            hint="forebay key make ORGANISATION/PROJECT --use",
        )
    if reaches[Role.OWNER] is Reach.NONE:
        return Refused("Only an operator may do that.", found=f"this key is {_a(role)}'s", hint="ask the operator of the cloud")
    return Refused(
        "Only an owner of the organisation may do that.",
        found=f"this key is {_a(role)}'s",
        hint="ask an owner of your organisation (`forebay member list`), or the operator of the cloud",
    )
