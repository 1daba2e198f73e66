"""The journal as it is read by people who answer for it: whose line is it, and what of it may be shown.

Asked:  an operator wants to know who did what; an owner the same, of their organisation only.
Answer: each event belongs to one organisation, or to the pool (`whose`). A line tells when, who (key, member, role), what
        happened in a sentence, and the event itself without its secrets (`without_secrets`): no hash of a key or token, and of
        an environment only the names.
Limits: a line about the pool (a centre, a price) is the operators'. What a command line says is shown: it is no place for
        secrets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from forebay.cloud.core import events as e
from forebay.cloud.core.state import State
from forebay.cloud.story import tell

Sees = Callable[[str], bool]
"""Whether the reader sees an organisation."""


def whose(event: e.Event, job: str, state: State) -> str:
    """The organisation that a line is about; `job`: the one that it belongs to. Empty: the pool's."""
    if job:
        return state.t.jobs[job].job.organisation
    match event:
        case e.OrganisationMade(name=name):
            return name
        case e.KeyMade(key=key):
            return key.organisation
        case e.KeyRevoked(key=key_id):
            return state.t.keys[key_id].organisation
        case e.MemberSet(member=member):
            return member.organisation
        case e.BudgetSet(budget=budget):
            return budget.organisation
        case _:
            return getattr(event, "organisation", "")


def line(seq: int, event: e.Event, job: str, state: State, sees: Sees) -> dict[str, Any]:
    """A line of the journal for the eyes of those whose it is."""
    key = state.t.keys.get(event.by)
    return {
        "seq": seq,
        "at_ns": event.at_ns,
        "by": event.by,
        "member": key.member if key else "",
        "key_name": key.name if key else "",
        "role": key.role.value if key else "",
        "organisation": whose(event, job, state),
        "job": job,
        "kind": type(event).__name__,
        "text": tell(event, state),
        "body": shown(event, state, sees),
    }


def shown(event: e.Event, state: State, sees: Sees) -> dict[str, Any]:
    """An event without secrets, and without the runs of organisations that its reader doesn't see."""
    body: dict[str, Any] = without_secrets(e.to_json(event))
    if isinstance(event, e.Reserved):
        body["runs"] = [run if sees(state.t.jobs[state.t.runs[run].job].job.organisation) else "another's" for run in event.runs]
    if isinstance(event, e.StopAsked) and event.for_job:
        body["for_job"] = seen_job(event.for_job, state, sees)
    return body


def seen_job(job: str, state: State, sees: Sees) -> str:
    """A job's id, for those who see its organisation."""
    known = state.t.jobs.get(job)
    return job if known and sees(known.job.organisation) else "another's" if job else ""


def without_secrets(body: Any) -> Any:
    """Plain data without hashes of secrets, and of environments the names only."""
    if isinstance(body, dict):
        return {
            name: sorted(value) if name == "env" and isinstance(value, dict) else without_secrets(value)
            for name, value in body.items()
            if not name.endswith(("token_sha256", "key_sha256", "secret_sha256"))
        }
    return [without_secrets(item) for item in body] if isinstance(body, list) else body
