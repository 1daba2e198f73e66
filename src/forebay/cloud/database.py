"""Where a journal lies, and how one process alone writes it.

Asked:  how do two clouds never write one journal, not even when one of them was cut off from it and doesn't know?
Answer: the data folder is locked. Beside that, each holder leaves its mark in the journal, and every batch looks in its own
        transaction whether that mark still stands. On PostgreSQL (`postgres.py`) the holder's session has an advisory lock too.
Limits: `sqlite` is a file in the data folder, of one machine; the folder's lock is worth nothing on disks that several mount.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoneFree

from forebay.cloud.schema import EVENTS, META
from forebay.errors import Conflict, ForebayError, Unavailable

FILE = "journal.sqlite"
WRITER = "writer"  # a row of `meta`: the mark of the process that writes
_NOW = sa.select(sa.func.max(EVENTS.c.seq), sa.select(META.c.value).where(META.c.name == WRITER).scalar_subquery())


class Many:
    """A statement for many rows, told to the driver as it is: SQLAlchemy would look at every value of each row anew."""

    def __init__(self, statement: Any, dialect: sa.Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self._text = str(compiled)
        names = compiled.positiontup
        self._row: Callable[[dict[str, Any]], Any] = itemgetter(*names) if names else dict

    def of(self, db: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
        """Do it with rows that have all columns."""
        if rows:
            db.exec_driver_sql(self._text, [self._row(row) for row in rows])


class Database(ABC):
    """A journal's database, open and held by this process."""

    place: str  # for people; never with a password
    shared: bool  # can it be lost while we live, and be another's then?
    reader: sa.Engine  # each statement by itself

    def __init__(self) -> None:
        self._mark = secrets.token_hex(8)

    @abstractmethod
    def writing(self) -> contextlib.AbstractContextManager[sa.Connection]:
        """One transaction of the holder's. At its end it is safe, or nothing of it has happened."""

    @abstractmethod
    def reading(self) -> contextlib.AbstractContextManager[sa.Connection]:
        """One transaction that sees one state of everything."""

    @abstractmethod
    def keep_copy(self, schema: int) -> Path | None:
        """A copy of the journal as it is, before it is changed; None where that is the operator's to make."""

    @abstractmethod
    def close(self) -> None: ...

    def insert(self, table: sa.Table) -> Many:
        """Insert rows."""
        return Many(sa.insert(table), self.reader.dialect)

    def replace(self, table: sa.Table, key: str) -> Many:
        """Insert rows, or replace those with the same key."""
        return Many(self.upsert(table, key), self.reader.dialect)

    def upsert(self, table: sa.Table, key: str) -> Any:
        """The same, as a statement."""
        insert = postgresql.insert if self.reader.dialect.name == "postgresql" else sqlite.insert
        statement = insert(table)
        return statement.on_conflict_do_update(index_elements=[key], set_=dict(statement.excluded.items()))

    def sign(self) -> None:
        """From now on this process is the one that writes here."""
        with self.writing() as db:
            self.sign_in(db)

    def sign_in(self, db: sa.Connection) -> None:
        db.execute(self.upsert(META, "name"), [{"name": WRITER, "value": self._mark}])

    def last(self, db: sa.Connection) -> int:
        """The number of the last line. Conflict when another process was the writer since."""
        seq, mark = db.execute(_NOW).one()
        if mark != self._mark:
            raise overtaken(self.place)
        return seq or 0

    def trouble(self, text: str, error: Exception, hint: str) -> Unavailable:
        """What the database said, as an error of ours."""
        said = getattr(error, "orig", None) or error
        return Unavailable(text, asked=self.place, found=self.hush(" ".join(str(said).split())), hint=hint)

    def hush(self, text: str) -> str:
        """The text without secrets."""
        return text


DOWN = (DBAPIError, NoneFree)  # what SQLAlchemy raises when a database doesn't do what it is told


def overtaken(place: str) -> ForebayError:
    return Conflict(
        "Another cloud has taken this journal over, so this one must not write any more.",
        asked=place,
        hint="one cloud a journal: stop one of the two",
    )


class Sqlite(Database):
    """A file in the data folder."""

    shared = False

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._lock = lock(folder)
        self._path = folder / FILE
        self.place = str(self._path)
        try:
            self._path.touch(mode=0o600)  # nobody else's from its first byte on
        except BaseException:
            os.close(self._lock)
            raise
        self.reader = sa.create_engine(f"sqlite:///{self._path}", connect_args={"check_same_thread": False}, hide_parameters=True)
        sa.event.listen(self.reader, "connect", _pragmas)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        with self.reader.begin() as db:
            db.exec_driver_sql("BEGIN IMMEDIATE")  # before the look at who wrote last
            yield db

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        with self.reader.connect() as db:
            db.exec_driver_sql("BEGIN")
            yield db

    def keep_copy(self, schema: int) -> Path:
        path = self._path.with_name(f"{FILE}.schema-{schema}")
        draft = path.with_name(path.name + ".draft")
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(sqlite3.connect(self._path)) as source, contextlib.closing(sqlite3.connect(draft)) as copy:
            source.backup(copy)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.rename(path)
        return path

    def close(self) -> None:
        self.reader.dispose()
        unlock(self._lock)
        self._lock = -1


def _pragmas(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def lock(folder: Path) -> int:
    """Hold a data folder until the number that is returned is closed. Conflict when another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    number = os.open(folder / "journal.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(number)
        raise Conflict(
            "Another cloud already works on this data folder.",
            asked=str(folder),
            hint="`forebay down` first, or another --data folder",
        ) from None
    return number


def unlock(number: int) -> None:
    """Let a data folder go. May be said twice, the second time with -1."""
    if number >= 0:
        os.close(number)
