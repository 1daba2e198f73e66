"""The journal: every event, in order, in SQL; with the views that listings read.

Asked:  what survives `kill -9` and a power cut?
Answer: all that was acknowledged. Events of one batch, the rows of the job listing that they change, and the answers to be
        repeated for the same idempotency key are written in one transaction (SQLite: write-ahead log, synchronous=FULL;
        PostgreSQL: synchronous_commit=on); only then is anybody answered. A restart reads the newest snapshot and folds the
        events after it.
Limits: one cloud process a journal: `database.py` and `postgres.py` see to that, `schema.py` to the tables.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from forebay.cloud.address import address
from forebay.cloud.core import events as e
from forebay.cloud.core.idle import idle_words
from forebay.cloud.core.state import State
from forebay.cloud.core.tables import Tables
from forebay.cloud.database import DOWN, Database, Sqlite
from forebay.cloud.schema import ANSWERS, EVENTS, JOBS, SCHEMA, SNAPSHOTS, prepare
from forebay.codec import decode, encode
from forebay.errors import Unavailable
from forebay.units import NS_PER_S

log = logging.getLogger("forebay.cloud")

SNAPSHOT_EVERY = 20_000  # events, or as many as there are jobs: writing it then costs an event what folding it again would
ANSWERS_KEPT_S = 7 * 24 * 3600.0
_LINES = sa.select(EVENTS.c.seq, EVENTS.c.kind, EVENTS.c.body).order_by(EVENTS.c.seq).execution_options(yield_per=5_000)

_Row = dict[str, Any]
_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False)  # what `encode` makes is a tree

__all__ = ["SCHEMA", "Answer", "Journal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a write was answered, kept so that the same request gets the same answer."""

    request: str
    fingerprint: str
    body: dict[str, Any]


class Journal:
    """An open journal. Use `Journal.open`."""

    def __init__(self, database: Database, snapshot_every: int) -> None:
        self._db = database
        self._snapshot_every = snapshot_every
        self._add_events = database.insert(EVENTS)
        self._set_jobs = database.replace(JOBS, "id")
        self._add_answers = database.insert(ANSWERS)
        self._set_answers = database.replace(ANSWERS, "request")
        self.seq = 0
        self._since_snapshot = 0

    @classmethod
    def open(cls, folder: Path, database: str = "", *, snapshot_every: int = SNAPSHOT_EVERY) -> Journal:
        """Open or make the journal of a data folder, in its file or in the PostgreSQL of that address.

        Conflict when another cloud holds it, Refused when a newer Forebay wrote it.
        """
        where = address(folder, database)
        if where is None:
            held: Database = Sqlite(folder)
        else:
            from forebay.cloud.postgres import Postgres

            held = Postgres(folder, where)
        try:
            prepare(held)
            held.sign()
        except DOWN as error:
            held.close()
            raise held.trouble("The journal can't be opened.", error, "is the disk full, or the file damaged?") from error
        except BaseException:
            held.close()
            raise
        return cls(held, snapshot_every)

    @property
    def is_shared(self) -> bool:
        """Whether the database can be lost while this process lives, and be another's then."""
        return self._db.shared

    def close(self) -> None:
        self._db.close()

    def load(self) -> State:
        """The state that the journal tells of. Decides nothing. Conflict when another cloud has taken the journal over."""
        with self._told("The journal can't be read."), self._db.writing() as db:  # writing: by whoever holds it
            self._db.last(db)
            before = self.seq
            newest = db.execute(sa.select(SNAPSHOTS).order_by(SNAPSHOTS.c.seq.desc()).limit(1)).first()
            state = State(decode(Tables, json.loads(newest.body))) if newest else State()
            self.seq = newest.seq if newest else 0
            self._since_snapshot = 0
            for seq, kind, body in db.execute(_LINES.where(EVENTS.c.seq > self.seq)):
                state.fold(e.from_json(kind, json.loads(body)))
                self.seq = seq
                self._since_snapshot += 1
        if self.seq < before:  # a PostgreSQL that went over to a replica without waiting for it, for instance
            log.critical("the database has lost what was acknowledged: its last line is %d, and was %d", self.seq, before)
        return state

    def append(self, events: Sequence[e.Event], state: State, answers: Sequence[Answer] = ()) -> None:
        """Write a batch, all or nothing, and return when it is safe. `state` already holds the batch.

        An empty batch says whether this process still holds the journal. Conflict when another cloud has taken it over.
        """
        rows = []
        changed: dict[str, None] = {}
        for seq, event in enumerate(events, self.seq + 1):
            job = _job_of(event, state)
            if isinstance(event, e.UseSeen):  # its row may say that it is idle; its story isn't told every minute
                changed[state.t.runs[event.run].job] = None
            rows.append(
                {"seq": seq, "at_ns": event.at_ns, "kind": type(event).__name__, "job": job, "body": _dumps(e.to_json(event))}
            )
            if job:
                changed[job] = None
        listing = [_listed(state, job) for job in changed]
        now_ns = events[-1].at_ns if events else state.t.last_at_ns
        snapshot_due = self._since_snapshot + len(rows) >= max(self._snapshot_every, len(state.t.jobs))
        kept = [{"request": a.request, "fingerprint": a.fingerprint, "body": _dumps(a.body), "at_ns": now_ns} for a in answers]
        snapshot = {"seq": self.seq + len(rows), "body": _snapshot(state.t)} if snapshot_due else None
        with self._told("The journal can't be written, so nothing of this was done."):
            try:
                self._write(rows, listing, kept, snapshot)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                with self._told("The journal's database was lost; whether this was done isn't known."):
                    self._write(rows, listing, kept, snapshot, again=True)
        self.seq += len(rows)
        self._since_snapshot = 0 if snapshot_due else self._since_snapshot + len(rows)

    def _write(
        self, rows: list[_Row], listing: list[_Row], answers: list[_Row], snapshot: _Row | None, *, again: bool = False
    ) -> None:
        """`again`: the connection was lost the first time, maybe after everything had arrived. Only we write, so the number of
        the last line tells.
        """
        with self._db.writing() as db:
            last = self._db.last(db)
            if again and rows and last == self.seq + len(rows):
                return
            if last != self.seq:
                raise Unavailable(
                    "The journal has gone on without us, so nothing of this was done.",
                    found=f"line {last} instead of {self.seq}",
                    hint="try again",
                )
            self._add_events.of(db, rows)
            self._set_jobs.of(db, listing)
            (self._set_answers if again else self._add_answers).of(db, answers)
            if snapshot:
                db.execute(sa.delete(SNAPSHOTS))
                db.execute(sa.insert(SNAPSHOTS), [snapshot])

    def answered(self, request: str) -> Answer | None:
        """What this request was answered before, if it was."""
        return self.answered_of([request]).get(request)

    def answered_of(self, requests: Sequence[str]) -> dict[str, Answer]:
        """What those of these requests that were answered before were answered."""
        rows = self._read(sa.select(ANSWERS).where(ANSWERS.c.request.in_(requests)))
        return {r.request: Answer(request=r.request, fingerprint=r.fingerprint, body=json.loads(r.body)) for r in rows}

    def drop_old_answers(self, now_ns: int) -> None:
        with self._told("The journal can't be written."), self._db.writing() as db:
            db.execute(sa.delete(ANSWERS).where(ANSWERS.c.at_ns < now_ns - int(ANSWERS_KEPT_S * NS_PER_S)))

    def jobs(self, *, organisation: str = "", project: str = "", phase: str = "", before: int = 0, most: int = 100) -> list[_Row]:
        """Rows of the listing, newest first. `before` is the `place` of the last row of the page before."""
        query = sa.select(JOBS).order_by(JOBS.c.place.desc()).limit(most)
        for column, value in ((JOBS.c.organisation, organisation), (JOBS.c.project, project), (JOBS.c.phase, phase)):
            if value:
                query = query.where(column == value)
        if before:
            query = query.where(JOBS.c.place < before)
        return [dict(row._mapping) for row in self._read(query)]

    def story(self, job: str, after: int = 0) -> list[tuple[int, e.Event]]:
        """The events of a job after a line of the journal, in order."""
        query = (
            sa.select(EVENTS.c.seq, EVENTS.c.kind, EVENTS.c.body)
            .where(EVENTS.c.job == job, EVENTS.c.seq > after)
            .order_by(EVENTS.c.seq)
        )
        return [(seq, e.from_json(kind, json.loads(body))) for seq, kind, body in self._read(query)]

    def page(
        self,
        *,
        before: int,
        after: int | None,
        kind: str,
        since_ns: int,
        most: int,
        last: int,
        wanted: Callable[[str], bool],
    ) -> list[tuple[int, str, e.Event | None]]:
        """Lines up to `last` with the job of each: newest first, from `before` down, or oldest first, from `after` on. Of jobs
        that aren't `wanted` the events are left out.
        """
        query = sa.select(EVENTS.c.seq, EVENTS.c.job, EVENTS.c.kind, EVENTS.c.body).where(EVENTS.c.seq <= last).limit(most)
        if after is not None:
            query = query.where(EVENTS.c.seq > after)
        if before:
            query = query.where(EVENTS.c.seq < before)
        if kind:
            query = query.where(EVENTS.c.kind == kind)
        if since_ns:
            query = query.where(EVENTS.c.at_ns >= since_ns)
        rows = self._read(query.order_by(EVENTS.c.seq.desc() if after is None else EVENTS.c.seq))
        return [(row.seq, row.job, e.from_json(row.kind, json.loads(row.body)) if wanted(row.job) else None) for row in rows]

    def events(self) -> Iterable[tuple[int, e.Event]]:
        """The whole journal, in order. For audits and tests."""
        with self._told("The journal can't be read."), self._db.reading() as db:
            for seq, kind, body in db.execute(_LINES):
                yield seq, e.from_json(kind, json.loads(body))

    def _read(self, query: sa.Select[Any]) -> Sequence[Any]:
        """Rows. A connection that was lost since the last time is made again, once."""
        with self._told("The journal can't be read."):
            try:
                with self._db.reader.connect() as db:
                    return db.execute(query).all()
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            with self._db.reader.connect() as db:
                return db.execute(query).all()

    @contextlib.contextmanager
    def _told(self, text: str) -> Iterator[None]:
        """What the database can't do becomes Unavailable."""
        try:
            yield
        except DOWN as error:
            hint = "is the database up? then try again" if self._db.shared else "free disk space, then try again"
            raise self._db.trouble(text, error, hint) from error


def _dumps(body: Any) -> str:
    return _JSON.encode(body)


def _snapshot(tables: Tables) -> str:
    """A snapshot, made noun by noun: all of it as one tree of plain data would be many times as large as its text."""
    parts = []
    for field in dataclasses.fields(tables):
        value = getattr(tables, field.name)
        if field.name in ("jobs", "runs"):
            body = "{" + ",".join([f"{_dumps(name)}:{_dumps(encode(noun))}" for name, noun in value.items()]) + "}"
        else:
            body = _dumps(encode(value))
        parts.append(f'"{field.name}":{body}')
    return "{" + ",".join(parts) + "}"


def _job_of(event: e.Event, state: State) -> str:
    match event:
        case e.Submitted(job=job):
            return job.id
        case (
            e.Cancelled(job=job_id)
            | e.Launched(job=job_id)
            | e.Requeued(job=job_id)
            | e.Finished(job=job_id)
            | e.OutputKept(job=job_id)
            | e.Reserved(job=job_id)
            | e.Released(job=job_id)
        ):
            return job_id
        case (
            e.Queued(run=run)
            | e.Admitted(run=run)
            | e.Started(run=run)
            | e.Ended(run=run)
            | e.StopAsked(run=run)
            | e.Reckoned(run=run)
            | e.CheckSeen(run=run)
            | e.Quarantined(run=run)
            | e.CheckpointSeen(run=run)
            | e.Credited(run=run)
            | e.IdleWarned(run=run)
            | e.Reckoned(run=run)
        ):
            return state.t.runs[run].job if run else ""
        case _:
            return ""


def _listed(state: State, job_id: str) -> _Row:
    standing = state.t.jobs[job_id]
    job = standing.job
    run = state.t.runs[standing.runs[-1]] if standing.runs else None
    return {
        "id": job.id,
        "place": standing.order,
        "organisation": job.organisation,
        "project": job.project,
        "name": _plain(job.name),
        "phase": standing.phase.value,
        "chip": run.allocation.chip if run else " or ".join(dict.fromkeys(o.chip for o in job.menu)),
        "cards": run.allocation.cards if run else job.menu[0].cards,
        "pretend": bool(run and run.allocation.pretend),
        "attempts": len(standing.runs),
        "submitted_at_ns": standing.submitted_at_ns,
        "ended_at_ns": standing.ended_at_ns,
        "reason": _plain(standing.reason or (idle_words(state, run.id) if run and not run.outcome else "")),
    }


def _plain(text: str) -> str:
    """PostgreSQL has no place in a text for the character 0."""
    return text.replace("\0", "\ufffd")
