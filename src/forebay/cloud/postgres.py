"""A journal in PostgreSQL 15 or newer, through psycopg 3.

Asked:  when does a cloud stop writing that has lost its database, or that another took the place of?
Answer: at once. The session that writes is the session that holds the advisory lock: when it breaks, its transaction and its
        lock are gone together. A new session writes only when it has the lock, and only if the mark that this process left in
        the journal still stands; each batch looks at the mark in its own transaction.
Limits: a session is needed that lasts. A pooler in between that hands out transactions (PgBouncer's `transaction` mode) breaks
        the lock; the marks would still keep two clouds from writing one history.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from forebay.cloud import address, schema
from forebay.cloud.address import Address
from forebay.cloud.database import DOWN, WRITER, Database, lock, overtaken, unlock
from forebay.cloud.schema import EVENTS, META
from forebay.errors import Conflict, ForebayError, Refused, Unavailable

log = logging.getLogger("forebay.cloud")

OLDEST = 150_000  # PostgreSQL 15.0
PATIENCE_S = 10.0  # with a lock whose holder was killed a moment ago
_LOCK_CLASS = int.from_bytes(b"fore")
CLOUD, RESTORING = "cloud", "restoring"  # rows of `meta`: the cloud's id; the folder of a restore that isn't through
MARKS = (CLOUD, RESTORING, WRITER)  # they belong to a place, and so to no backup
# A connection whose other side is gone is known to be dead after half a minute, here and (SET, below) there.
_LIVELY: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "forebay",
}
_ENDED = ("57P01", "57P02")  # the server ends a session: somebody said so, or another process of it crashed
_FOR_THE_HOLDER = {
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20000",
}


def engine(url: sa.URL, **settings: Any) -> sa.Engine:
    """Connections to a PostgreSQL. Rows never get into messages of errors."""
    given = {name: value for name, value in _LIVELY.items() if name not in url.query}
    try:
        return sa.create_engine(url, connect_args=given, hide_parameters=True, **settings)
    except ModuleNotFoundError as error:
        raise Unavailable(
            "PostgreSQL needs a driver that isn't installed.",
            asked=address.shown(url),
            found=f"no package {error.name}",
            hint="pip install 'forebay[postgres]'",
        ) from None


class Postgres(Database):
    """A journal in PostgreSQL, held by an advisory lock of the session that writes it."""

    shared = True

    def __init__(self, folder: Path, where: Address) -> None:
        super().__init__()
        self.place = address.shown(where.url)
        self._folder = folder
        self._where = where
        self._secrets = address.secrets(where.url)
        self.reader = engine(where.url, isolation_level="AUTOCOMMIT")
        self._sessions = engine(where.url, poolclass=NullPool)
        self._busy = threading.RLock()
        self._session: sa.Connection | None = None
        self._is_ours = False  # the lock, since the first session had it
        self._lock = lock(folder)
        try:
            self._session = self._connect(PATIENCE_S)
            self._is_ours = True
            self._look_over()
        except BaseException as error:
            self.close()
            if isinstance(error, DOWN):
                hint = "is it up, and are address, user and password right?"
                raise self.trouble("The database can't be used.", error, hint) from error
            raise

    def sign(self) -> None:
        where = Address(url=self._where.url, cloud=self._where.cloud or secrets.token_hex(8))
        with self.writing() as db:
            super().sign_in(db)
            db.execute(self.upsert(META, "name"), [{"name": CLOUD, "value": where.cloud}])
            db.execute(sa.delete(META).where(META.c.name == RESTORING))
        address.keep(self._folder, where)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        with self._busy:
            session = self._session = self._session or self._again()
            try:
                with session.begin():
                    yield session
            finally:
                if session.invalidated or session.closed:
                    self._session = None
                    session.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        with self._sessions.connect() as db:  # a new one: it can't have been lost since the last time
            db.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with db.begin():
                yield db

    def keep_copy(self, schema: int) -> None:
        return None

    def close(self) -> None:
        with self._busy:
            if self._session is not None:
                self._session.invalidate()
                self._session.close()
                self._session = None
        self.reader.dispose()
        unlock(self._lock)
        self._lock = -1

    def hush(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    # The session and its lock.

    def _again(self) -> sa.Connection:
        """A new session in the place of the one that was lost."""
        session = self._connect(0.0)
        log.warning("the connection to %s was lost, and is there again", self.place)
        return session

    def _connect(self, patience_s: float) -> sa.Connection:
        """A session that has the lock."""
        session = self._sessions.connect()
        try:
            session.execute(sa.select(*(sa.func.set_config(name, value, False) for name, value in _FOR_THE_HOLDER.items())))
            # Safe means safe, whatever this server, database or user has been told; what waits for more than a disk stays.
            session.exec_driver_sql(
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
            )
            until = time.monotonic() + patience_s
            while not lock_session(session):
                if time.monotonic() > until:
                    raise self._taken(session)
                time.sleep(0.05)
            session.commit()
        except BaseException:
            session.invalidate()
            session.close()
            raise
        return session

    def _taken(self, session: sa.Connection) -> ForebayError:
        """Why the lock can't be had: at the start another cloud has it; later it may be our own lost session."""
        if not self._is_ours:
            return Conflict(
                "Another cloud already works on this database.",
                asked=self.place,
                hint="stop it first; one whose machine died is taken for dead after half a minute",
            )
        if session.execute(sa.select(META.c.value).where(META.c.name == WRITER)).scalar() != self._mark:
            return overtaken(self.place)
        return Unavailable(
            "The database still has our lost session.", asked=self.place, hint="it ends by itself within half a minute"
        )

    # What is there.

    def _look_over(self) -> None:
        """Refuse a server that is too old, and a database that has another cloud's journal."""
        with self.writing() as db:
            version, syncs = db.exec_driver_sql(
                "SELECT current_setting('server_version_num')::int, current_setting('fsync')"
            ).one()
            if version < OLDEST:
                raise Refused("This PostgreSQL is too old.", asked=self.place, found=str(version), hint="15 or newer")
            if syncs != "on":
                log.warning("%s runs with fsync off: a power cut there loses what was acknowledged", self.place)
            known = marks(db)
            is_used = schema.found(db) is not None and db.execute(sa.select(sa.func.max(EVENTS.c.seq))).scalar() is not None
        cloud = known.get(CLOUD, "")
        if (is_used or self._where.cloud) and cloud != self._where.cloud:
            raise self._not_ours(known, is_used)

    def _not_ours(self, known: dict[str, str], is_used: bool) -> ForebayError:
        if not is_used:
            return Refused(
                "This data folder's journal isn't in that database.",
                asked=self.place,
                found=f"nothing; {self._folder} is cloud {self._where.cloud}",
                hint="the database it was made with; or `forebay restore` into a new folder and an empty database",
            )
        if RESTORING in known:
            return Refused(
                "A restore into this database didn't come to its end.", asked=self.place, hint="say `forebay restore` again"
            )
        expected = f"cloud {self._where.cloud}" if self._where.cloud else "new"
        return Refused(
            "The journal in that database belongs to another data folder.",
            asked=self.place,
            found=f"cloud {known.get(CLOUD, '')}; {self._folder} is {expected}",
            hint="the folder it was made with, or another database",
        )


def was_lost(error: ForebayError) -> bool:
    """Whether it tells of a session that was there and broke, and not of a database that can't be reached or said no."""
    cause = error.__cause__
    if not isinstance(cause, DBAPIError):
        return False
    said: Any = cause.orig
    # SQLAlchemy doesn't tell of sessions that broke before it had given them to anybody. Psycopg names the connection only in an
    # error of connecting.
    is_there = isinstance(cause, OperationalError) and getattr(said, "pgconn", said) is None
    return cause.connection_invalidated or (is_there and said.sqlstate in (None, *_ENDED))


def lock_session(session: sa.Connection) -> bool:
    """Have the lock on the journal of this database, for as long as the session lasts; False when another has it."""
    where = session.execute(sa.select(sa.func.current_schema())).scalar() or ""
    key = {"class": _LOCK_CLASS, "key": zlib.crc32(where.encode()) - (1 << 31)}
    return bool(session.execute(sa.text("SELECT pg_try_advisory_lock(:class, :key)"), key).scalar())


def marks(db: sa.Connection) -> dict[str, str]:
    """What a journal says of whose it is."""
    if schema.found(db) is None:
        return {}
    return {row.name: row.value for row in db.execute(sa.select(META).where(META.c.name.in_(MARKS)))}
