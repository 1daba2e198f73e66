"""How the cloud logs: as text for people, or as a JSON object a line for programs.

Asked:  which lines of the log are about this run, this job, this organisation, this request?
Answer: with `--log-format json` every line is an object: at, level, logger, text, and what else is known (run, job, organisation,
        project, centre, request). Then each event and each request has a line too; as text they have none, because they are in
        the journal and in `/metrics`.
Limits: no secret gets in: of events only ids and numbers are told, of requests the path without its query; and whatever looks
        like one of our keys or tokens is cut, in texts and traces of errors too.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from forebay.cloud.core import events as e
from forebay.cloud.core.state import State

REQUEST: ContextVar[str] = ContextVar("request", default="")
"""The id of the request that is being answered."""

EVENTS = logging.getLogger("forebay.events")
HTTP = logging.getLogger("forebay.http")
_SECRET = re.compile(r"\b(f[bcj]_)[A-Za-z0-9_-]{8,}")


def set_up(form: str) -> None:
    """Log to stderr, as "text" or "json"."""
    handler = logging.StreamHandler()
    handler.setFormatter(Json() if form == "json" else Text("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for logger in (EVENTS, HTTP):
        logger.setLevel(logging.INFO if form == "json" else logging.WARNING)


def without_secrets(text: str) -> str:
    return _SECRET.sub(r"\1…", text)


class Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


class Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        if request := REQUEST.get():
            fields["request"] = request
        fields |= getattr(record, "fields", {})
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return without_secrets(json.dumps(fields, ensure_ascii=False, default=str))


def journaled(events: Sequence[e.Event], requests: Sequence[str], state: State) -> None:
    """A line for each event that is safe now. `requests`: because of which request each was made."""
    if not EVENTS.isEnabledFor(logging.INFO):
        return
    for event, request in zip(events, requests, strict=True):
        fields = about(event, state) | ({"request": request} if request else {})
        EVENTS.info("%s", type(event).__name__, extra={"fields": fields})


def about(event: e.Event, state: State) -> dict[str, Any]:
    """What an event is about, by id. Never what somebody wrote into it."""
    fields: dict[str, Any] = {"at_ns": event.at_ns, "by": event.by}
    job = getattr(event, "job", "")
    run = getattr(event, "run", "")
    if isinstance(job, str) and (standing := state.standing(run or job)):
        job = standing.job
    if job and not isinstance(job, str):
        fields |= {"job": job.id, "organisation": job.organisation, "project": job.project}
    if run:
        fields["run"] = run
        known = state.t.runs.get(run)
        fields |= {"centre": known.allocation.centre} if known else {}
    for name in ("organisation", "project", "centre", "node", "card", "chip", "outcome", "phase", "attempt", "held_ns", "micro"):
        value = getattr(event, name, None)
        if value not in (None, "") and name not in fields:
            fields[name] = value
    return fields
