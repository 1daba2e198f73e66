"""The transport through slurmrestd, with a JSON Web Token a user. An edge.

Asked:  how does the agent speak to a site over HTTP, and stay let in?
Answer: every request names a user and carries a token of that user. A token is taken from `slurm-token` in the centre's
        folder, which the site may keep new, or made by `scontrol token` on this machine; it is renewed well before it
        expires, and when it is refused. As an organisation's account we submit with a token of that account, which only root
        and SlurmUser can make.
Limits: openapi v0.0.38. The tree of switches isn't in the API: it is read from a topology.conf where `scontrol` can show one.
"""

from __future__ import annotations

import base64
import binascii
import json
import subprocess
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from forebay.centre.slurm import request as requests
from forebay.centre.slurm import tell, tell_json
from forebay.centre.slurm.facts import Job, Machine, Site
from forebay.centre.slurm.request import Request
from forebay.errors import BadInput, BadKey, Refused, Unavailable

TOKEN_FILE = "slurm-token"
LIFESPAN_S = 3600
RENEW_S = 600.0  # before a token expires
ANSWER_S = 60.0
_API = "/slurm/v0.0.38"
_UNKNOWN_JOB = 2017  # ESLURM_INVALID_JOB_ID
_OVER = 2021  # ESLURM_ALREADY_DONE
# slurmrestd says -1 for whatever it got no answer to, a token that has expired included; slurmctld's own troubles with its
# wires are numbered from 1000 and from 5000 (slurm_errno.h).
_UNSPECIFIED = -1
_PASSING_WORDS = ("contact", "timed out", "temporarily", "connection", "communication", "submit limit")


class Tokens:
    """Tokens of users, renewed in time."""

    def __init__(self, home: Path, variables: Mapping[str, str]) -> None:
        self._file = home / TOKEN_FILE
        self._variables = dict(variables)
        self._known: dict[str, tuple[str, float]] = {}  # user -> token, when to have a new one

    def of(self, user: str, *, own: bool) -> str:
        """A token of this user. `own`: the one that the agent itself speaks as, for whom the file is meant."""
        if own and self._file.exists():
            return self._file.read_text("ascii").strip().removeprefix("SLURM_JWT=")
        token, until_s = self._known.get(user, ("", 0.0))
        if time.time() >= until_s:
            token = self._make(user)
            self._known[user] = (token, expires_s(token) - RENEW_S)
        return token

    def drop(self, user: str) -> None:
        self._known.pop(user, None)

    def _make(self, user: str) -> str:
        command = ["scontrol", "token", f"lifespan={LIFESPAN_S}", f"username={user}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, env=self._variables, check=False)
        except (subprocess.TimeoutExpired, OSError) as error:
            raise Unavailable("No token can be had for slurmrestd.", asked=user, found=str(error)) from None
        if done.returncode != 0:
            hint = f"put one into {self._file}, or run the agent where `scontrol token` is allowed"
            raise Unavailable("No token can be had for slurmrestd.", asked=user, found=done.stderr.strip(), hint=hint)
        return done.stdout.strip().removeprefix("SLURM_JWT=")


def expires_s(token: str) -> float:
    """When a token expires, as it says itself; 0 when it can't be read."""
    try:
        body = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"])
    except (IndexError, KeyError, ValueError, binascii.Error):
        return 0.0


@dataclass(frozen=True, slots=True)
class _Problem:
    number: int
    text: str


class Rest:
    """slurmrestd, as a Transport."""

    def __init__(
        self, address: str, *, user: str, tokens: Tokens, variables: Mapping[str, str], timeout_s: float = ANSWER_S
    ) -> None:
        self.variables = dict(variables)
        self._user = user
        self._tokens = tokens
        self._http = httpx.Client(base_url=address.rstrip("/"), timeout=timeout_s, trust_env=False)
        self._guard = threading.Lock()

    def site(self) -> Site:
        told = tell_json.partitions(self._ask("GET", "/partitions"))
        return Site(machines=self.machines(), partitions=told, above=self._switches())

    def machines(self) -> tuple[Machine, ...]:
        return tell_json.machines(self._ask("GET", "/nodes"))

    def jobs(self, names: Collection[str]) -> tuple[Job, ...]:
        return tell_json.jobs(self._ask("GET", "/jobs"), frozenset(names)) if names else ()

    def past(self, names: Collection[str]) -> tuple[Job, ...]:
        return ()

    def submit(self, request: Request) -> str:
        body = self._ask("POST", "/job/submit", user=request.user or self._user, json=requests.payload(request))
        return str(body["job_id"])

    def cancel(self, job: Job) -> None:
        told = tell_json.jobs(self._ask("GET", f"/job/{job.id}", forgive=(_UNKNOWN_JOB,)), frozenset({job.name}))
        if told:
            self._ask("DELETE", f"/job/{job.id}", forgive=(_UNKNOWN_JOB, _OVER))

    def _switches(self) -> dict[str, str]:
        """Not in this API. What the site's command says, where it is on this machine."""
        try:
            shown = subprocess.run(
                ["scontrol", "show", "topology"],
                capture_output=True,
                text=True,
                timeout=ANSWER_S,
                env=self.variables,
                check=False,
            )
        except (subprocess.TimeoutExpired, OSError):
            return {}
        return tell.switches(shown.stdout) if shown.returncode == 0 else {}

    def _ask(self, method: str, path: str, *, user: str = "", forgive: Collection[int] = (), **what: Any) -> dict[str, Any]:
        user = user or self._user
        for again in (True, False):
            try:
                return self._answer(method, path, user, forgive, **what)
            except BadKey:
                self._tokens.drop(user)
                if not again:
                    raise Unavailable("slurmrestd refuses our token.", asked=user, hint="see docs/slurm.md, Tokens") from None
        raise AssertionError("the second try returned or raised")

    def _answer(self, method: str, path: str, user: str, forgive: Collection[int], **what: Any) -> dict[str, Any]:
        headers = {"X-SLURM-USER-NAME": user, "X-SLURM-USER-TOKEN": self._tokens.of(user, own=user == self._user)}
        try:
            with self._guard:
                response = self._http.request(method, _API + path, headers=headers, **what)
            body: dict[str, Any] = response.json()
        except httpx.TransportError as error:
            raise Unavailable(
                "slurmrestd doesn't answer.", asked=str(self._http.base_url), found=str(error) or type(error).__name__
            ) from None
        except ValueError:
            if response.status_code in (401, 403):
                raise BadKey("slurmrestd refuses our token.") from None
            raise Unavailable("slurmrestd's answer makes no sense.", found=f"HTTP {response.status_code}") from None
        problems = [_problem(one) for one in body.get("errors") or ()]
        problems = [problem for problem in problems if problem.number not in forgive]
        if not problems or body.get("job_id"):  # a job that has to wait for a machine is taken, and complained of
            return body
        said = "; ".join(problem.text for problem in problems)
        if any(_passes(problem) for problem in problems):
            self._tokens.drop(user)  # it may be that; a new one costs little
            raise Unavailable("Slurm can't do it now.", asked=path, found=said)
        if any("ermission" in one.text or "denied" in one.text for one in problems):
            raise Refused("Slurm doesn't allow that.", asked=path, found=said)
        raise BadInput("Slurm refuses that.", asked=path, found=said)


def _passes(problem: _Problem) -> bool:
    said = problem.text.lower()
    return (
        problem.number == _UNSPECIFIED
        or 1000 <= problem.number < 2000
        or 5000 <= problem.number < 6000
        or any(word in said for word in _PASSING_WORDS)
    )


def _problem(told: Mapping[str, Any]) -> _Problem:
    number = told.get("error_number", told.get("error_code", 0))
    return _Problem(int(number or 0), ": ".join(str(told[key]) for key in ("description", "error") if told.get(key)))
