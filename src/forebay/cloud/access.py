"""Who asks: from the secret in a request to what its holder may do."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from forebay.cloud.core.job import Standing
from forebay.cloud.core.state import State
from forebay.cloud.core.tenant import Key, Role
from forebay.errors import BadInput, BadKey, Refused, Unknown


def sha256_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Who:
    """The holder of a good key."""

    key: Key

    @property
    def is_operator(self) -> bool:
        return self.key.role is Role.OPERATOR

    def sees(self, organisation: str) -> bool:
        return self.is_operator or organisation == self.key.organisation

    def must_operate(self) -> None:
        if not self.is_operator:
            raise Refused(
                "Only an operator may do that.",
                found=f"this key is a {self.key.role.value}'s",
                hint="ask the operator of the cloud",
            )

    def must_write(self) -> None:
        if self.key.role is Role.VIEWER:
            raise Refused("This key may only read.", found="a viewer's key", hint="a member's key")

    def place(self, state: State, organisation: str | None, project: str | None) -> tuple[str, str]:
        """The organisation and project that a request works in. Members have theirs; an operator must say which."""
        if not self.is_operator:
            if (organisation or self.key.organisation) != self.key.organisation or (
                project or self.key.project
            ) != self.key.project:
                raise Unknown("There is no such organisation or project.", asked=f"{organisation}/{project}")
            return self.key.organisation, self.key.project
        if not organisation or not project:
            raise BadInput(
                "An operator's key belongs to no project.",
                hint="say --project ORGANISATION/PROJECT, or use a member's key (`forebay key make`)",
            )
        if f"{organisation}/{project}" not in state.t.projects:
            raise Unknown("There is no such project.", asked=f"{organisation}/{project}", hint="`forebay org list` shows them")
        return organisation, project

    def job(self, state: State, job_id: str) -> Standing:
        """A job that the holder may see, by its id or a run's. Another organisation's gets the same answer as one that is not."""
        standing = state.standing(job_id)
        if standing is None or not self.sees(standing.job.organisation):
            raise Unknown("There is no such job.", asked=job_id, hint="`forebay jobs` lists yours")
        return standing


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
    return Who(key)


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
