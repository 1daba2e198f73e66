"""The journal: every event, in order, in SQL; with the views that listings read.

Asked:  what survives `kill -9` and a power cut?
Answer: all that was acknowledged. Events of one batch, the rows of the job listing that they change, and the answers to be
        repeated for the same idempotency key are written in one transaction (SQLite: write-ahead log, synchronous=FULL); only
        then is anybody answered. A restart reads the newest snapshot and folds the events after it.
Limits: one cloud process a journal, held by a lock on the data folder.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DatabaseError

from forebay.cloud.core import events as e
from forebay.cloud.core.idle import idle_words
from forebay.cloud.core.state import State
from forebay.cloud.core.tables import Tables
from forebay.codec import decode, encode
from forebay.errors import Conflict, Refused, Unavailable
from forebay.units import NS_PER_S

SCHEMA = 2  # 2: centres that join, states of nodes, outputs; the tables of 1 are the same, so it is read as it is
SNAPSHOT_EVERY = 20_000  # events; folding so many takes about a second
ANSWERS_KEPT_S = 7 * 24 * 3600.0

_meta = sa.MetaData()
META = sa.Table("meta", _meta, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False))
EVENTS = sa.Table(
    "events",
    _meta,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("job", sa.Text, nullable=False, index=True),
    sa.Column("body", sa.Text, nullable=False),
)
JOBS = sa.Table(
    "jobs",
    _meta,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("place", sa.Integer, nullable=False, unique=True),  # order of submission
    sa.Column("organisation", sa.Text, nullable=False),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("phase", sa.Text, nullable=False),
    sa.Column("chip", sa.Text, nullable=False),
    sa.Column("cards", sa.Integer, nullable=False),
    sa.Column("pretend", sa.Boolean, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("submitted_at_ns", sa.BigInteger, nullable=False),
    sa.Column("ended_at_ns", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index("jobs_by_organisation", "organisation", "place"),
)
ANSWERS = sa.Table(
    "answers",
    _meta,
    sa.Column("request", sa.Text, primary_key=True),  # who asked, and the key that they chose
    sa.Column("fingerprint", sa.Text, nullable=False),  # of the request's body
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("at_ns", sa.BigInteger, nullable=False),
)
SNAPSHOTS = sa.Table(
    "snapshots", _meta, sa.Column("seq", sa.Integer, primary_key=True), sa.Column("body", sa.Text, nullable=False)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a write was answered, kept so that the same request gets the same answer."""

    request: str
    fingerprint: str
    body: dict[str, Any]


class Journal:
    """An open journal. Use `Journal.open`."""

    def __init__(self, engine: sa.Engine, lock: int, snapshot_every: int) -> None:
        self._engine = engine
        self._lock = lock
        self._snapshot_every = snapshot_every
        self.seq = 0
        self._since_snapshot = 0

    @classmethod
    def open(cls, folder: Path, *, snapshot_every: int = SNAPSHOT_EVERY) -> Journal:
        """Open or make the journal in a data folder.

        Conflict when another cloud holds it, Refused when a newer Forebay wrote it.
        """
        lock = _lock(folder)
        path = folder / "journal.sqlite"
        path.touch(mode=0o600)  # nobody else's from its first byte on
        engine = sa.create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})
        try:
            sa.event.listen(engine, "connect", _pragmas)
            _check_version(engine, folder)
        except BaseException:
            engine.dispose()
            os.close(lock)
            raise
        return cls(engine, lock, snapshot_every)

    def close(self) -> None:
        self._engine.dispose()
        os.close(self._lock)

    def load(self) -> State:
        """The state that the journal tells of. Decides nothing."""
        with self._engine.connect() as db:
            newest = db.execute(sa.select(SNAPSHOTS).order_by(SNAPSHOTS.c.seq.desc()).limit(1)).first()
            state = State(decode(Tables, json.loads(newest.body))) if newest else State()
            self.seq = newest.seq if newest else 0
            self._since_snapshot = 0
            lines = db.execute(
                sa.select(EVENTS.c.seq, EVENTS.c.kind, EVENTS.c.body).where(EVENTS.c.seq > self.seq).order_by(EVENTS.c.seq)
            )
            for seq, kind, body in lines:
                state.fold(e.from_json(kind, json.loads(body)))
                self.seq = seq
                self._since_snapshot += 1
        return state

    def append(self, events: Sequence[e.Event], state: State, answers: Sequence[Answer] = ()) -> None:
        """Write a batch, all or nothing, and return when it is safe. `state` already holds the batch."""
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
        snapshot_due = self._since_snapshot + len(rows) >= self._snapshot_every
        try:
            with self._engine.begin() as db:
                if rows:
                    db.execute(sa.insert(EVENTS), rows)
                if listing:
                    statement = upsert(JOBS)
                    db.execute(
                        statement.on_conflict_do_update(index_elements=["id"], set_=dict(statement.excluded.items())), listing
                    )
                if answers:
                    db.execute(
                        sa.insert(ANSWERS),
                        [
                            {"request": a.request, "fingerprint": a.fingerprint, "body": _dumps(a.body), "at_ns": now_ns}
                            for a in answers
                        ],
                    )
                if snapshot_due:
                    self._snapshot(db, self.seq + len(rows), state)
        except DatabaseError as error:
            raise Unavailable(
                "The journal can't be written, so nothing of this was done.",
                found=str(error.orig),
                hint="free disk space, then try again",
            ) from error
        self.seq += len(rows)
        self._since_snapshot = 0 if snapshot_due else self._since_snapshot + len(rows)

    def answered(self, request: str) -> Answer | None:
        """What this request was answered before, if it was."""
        with self._engine.connect() as db:
            row = db.execute(sa.select(ANSWERS).where(ANSWERS.c.request == request)).first()
        return Answer(request=row.request, fingerprint=row.fingerprint, body=json.loads(row.body)) if row else None

    def drop_old_answers(self, now_ns: int) -> None:
        with self._engine.begin() as db:
            db.execute(sa.delete(ANSWERS).where(ANSWERS.c.at_ns < now_ns - int(ANSWERS_KEPT_S * NS_PER_S)))

    def jobs(
        self, *, organisation: str = "", project: str = "", phase: str = "", before: int = 0, most: int = 100
    ) -> list[dict[str, Any]]:
        """Rows of the listing, newest first. `before` is the `place` of the last row of the page before."""
        query = sa.select(JOBS).order_by(JOBS.c.place.desc()).limit(most)
        for column, value in ((JOBS.c.organisation, organisation), (JOBS.c.project, project), (JOBS.c.phase, phase)):
            if value:
                query = query.where(column == value)
        if before:
            query = query.where(JOBS.c.place < before)
        with self._engine.connect() as db:
            return [dict(row._mapping) for row in db.execute(query)]

    def story(self, job: str, after: int = 0) -> list[tuple[int, e.Event]]:
        """The events of a job after a line of the journal, in order."""
        query = (
            sa.select(EVENTS.c.seq, EVENTS.c.kind, EVENTS.c.body)
            .where(EVENTS.c.job == job, EVENTS.c.seq > after)
            .order_by(EVENTS.c.seq)
        )
        with self._engine.connect() as db:
            return [(seq, e.from_json(kind, json.loads(body))) for seq, kind, body in db.execute(query)]

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
        with self._engine.connect() as db:
            rows = db.execute(query.order_by(EVENTS.c.seq.desc() if after is None else EVENTS.c.seq)).all()
        return [(row.seq, row.job, e.from_json(row.kind, json.loads(row.body)) if wanted(row.job) else None) for row in rows]

    def events(self) -> Iterable[tuple[int, e.Event]]:
        """The whole journal, in order. For audits and tests."""
        with self._engine.connect() as db:
            for seq, kind, body in db.execute(sa.select(EVENTS.c.seq, EVENTS.c.kind, EVENTS.c.body).order_by(EVENTS.c.seq)):
                yield seq, e.from_json(kind, json.loads(body))

    def _snapshot(self, db: sa.Connection, seq: int, state: State) -> None:
        db.execute(sa.delete(SNAPSHOTS))
        db.execute(sa.insert(SNAPSHOTS), [{"seq": seq, "body": _dumps(encode(state.t))}])


def _dumps(body: Any) -> str:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


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
        ):
            return job_id
        case (
            e.Queued(run=run)
            | e.Admitted(run=run)
            | e.Started(run=run)
            | e.Ended(run=run)
            | e.StopAsked(run=run)
            | e.CheckSeen(run=run)
            | e.Quarantined(run=run)
            | e.CheckpointSeen(run=run)
            | e.Credited(run=run)
            | e.IdleWarned(run=run)
        ):
            return state.t.runs[run].job if run else ""
        case _:
            return ""


def _listed(state: State, job_id: str) -> dict[str, Any]:
    standing = state.t.jobs[job_id]
    job = standing.job
    run = state.t.runs[standing.runs[-1]] if standing.runs else None
    return {
        "id": job.id,
        "place": standing.order,
        "organisation": job.organisation,
        "project": job.project,
        "name": job.name,
        "phase": standing.phase.value,
        "chip": run.allocation.chip if run else " or ".join(dict.fromkeys(o.chip for o in job.menu)),
        "cards": run.allocation.cards if run else job.menu[0].cards,
        "pretend": bool(run and run.allocation.pretend),
        "attempts": len(standing.runs),
        "submitted_at_ns": standing.submitted_at_ns,
        "ended_at_ns": standing.ended_at_ns,
        "reason": standing.reason or (idle_words(state, run.id) if run and not run.outcome else ""),
    }


def _lock(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "journal.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise Conflict(
            "Another cloud already works on this data folder.",
            asked=str(folder),
            hint="`forebay down` first, or another --data folder",
        ) from None
    return lock


def _pragmas(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _check_version(engine: sa.Engine, folder: Path) -> None:
    """Make the tables of a new journal. Those of a newer Forebay are refused before anything is written."""
    try:
        with engine.begin() as db:
            is_new = not sa.inspect(db).has_table(META.name)
            found = None if is_new else db.execute(sa.select(META.c.value).where(META.c.name == "schema")).scalar()
            if found is not None and int(found) > SCHEMA:
                raise Refused(
                    "This data folder was written by a newer Forebay.",
                    asked=str(folder),
                    found=f"schema {found}; this Forebay reads up to {SCHEMA}",
                    hint="use the newer Forebay, or another --data folder",
                )
            _meta.create_all(db)
            if found is None:
                db.execute(sa.insert(META), [{"name": "schema", "value": str(SCHEMA)}])
            elif int(found) < SCHEMA:  # from now on it may have lines that the older Forebay doesn't know
                db.execute(sa.update(META).where(META.c.name == "schema").values(value=str(SCHEMA)))
    except DatabaseError as error:
        raise Unavailable(
            "The journal can't be opened.",
            asked=str(folder / "journal.sqlite"),
            found=str(error.orig),
            hint="is the disk full, or the file damaged?",
        ) from error
