"""Keep a whole cloud in one file, while it works.

Asked:  of which moment is a backup, and is everything in it that was acknowledged before?
Answer: of the moment at which its one reading transaction begins. The journal is read first, the files beside it afterwards.
        What the journal speaks of was on the disk before it was said, has its hash for a name or only grows, and is never
        removed: so the files that are read later are all that the journal needs, and perhaps some more.
Limits: everything each time, into one file. What lies at centres (folders of runs, outputs that weren't sent) is no part.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from forebay import __version__
from forebay.cloud.address import Address, address, shown, told
from forebay.cloud.archive import FOLDERS, FORMAT, KEYS, Backup, Said, Writer
from forebay.cloud.database import DOWN, FILE
from forebay.cloud.postgres import MARKS, engine
from forebay.cloud.schema import SCHEMA, TABLES, found
from forebay.errors import Conflict, Refused, Unavailable, Unknown

DRAFT = ".draft"


def backup(folder: Path, database: str, to: Path, said: Said = lambda what, done, of: None) -> tuple[Backup, list[str]]:
    """Write a backup of the cloud in a data folder to the new file `to`, whole or not at all.

    Returns it, and the files beside the journal whose content is not what their name says: they are in it as they are.
    """
    if os.path.lexists(to):
        raise Conflict("There is a file of that name already.", asked=str(to), hint="another name, or remove it")
    where = address(folder, database)
    with _draft(to) as file, contextlib.closing(Writer(file)) as writer:
        said("journal", 0, 0)
        with reading(folder, where) as db:
            schema, lines = _tables(db, writer, where, folder)
        files = list(_files(folder))
        total, done, damaged = sum(size for _, size in files), 0, []

        def moved(size: int) -> None:
            nonlocal done
            done += size
            said("files", done, total)

        for path, size in files:
            with (folder / path).open("rb") as content:
                mode = os.fstat(content.fileno()).st_mode & 0o777
                if not writer.file(path, content, size, mode, moved):
                    damaged.append(path)
        about = Backup(
            format=FORMAT,
            forebay=__version__,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            schema=schema,
            lines=lines,
            entries=tuple(writer.entries),
        )
        writer.end(about)
    return about, damaged


@contextlib.contextmanager
def reading(folder: Path, where: Address | None) -> Iterator[sa.Connection]:
    """The journal of a data folder as it is at one moment, without holding up the cloud that writes it."""
    path = folder / FILE
    if where is None and not path.exists():
        raise Unknown("There is no journal in that folder.", asked=str(folder), hint="--data FOLDER")
    made = engine(where.url, poolclass=NullPool) if where else sa.create_engine(f"sqlite:///{path}", poolclass=NullPool)
    try:
        with made.connect() as db:
            if where:
                db.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            else:
                db.exec_driver_sql("PRAGMA query_only = ON")
                db.exec_driver_sql("BEGIN")
            yield db
    except DOWN as error:
        place = shown(where.url) if where else str(path)
        raise Unavailable("The journal can't be read.", asked=place, found=told(error, where)) from error


def _tables(db: sa.Connection, writer: Writer, where: Address | None, folder: Path) -> tuple[int, int]:
    """Write the tables; returns schema and number of the last line."""
    schema = found(db)
    if schema is None:
        raise Unknown("There is no journal there.", asked=shown(where.url) if where else str(folder))
    if schema > SCHEMA:
        raise Refused("This journal was written by a newer Forebay.", found=f"schema {schema}", hint="use that Forebay")
    known = sa.MetaData()
    known.reflect(db, only=TABLES)
    if where and where.cloud != (cloud := _cloud(db)):
        raise Refused(
            "The journal in that database belongs to another data folder.", asked=shown(where.url), found=f"cloud {cloud}"
        )
    for name in TABLES:
        table = known.tables[name]
        query = sa.select(table).order_by(*table.primary_key.columns)
        if name == "meta":
            query = query.where(table.c.name.not_in(MARKS))
        rows = db.execute(query.execution_options(yield_per=5_000))
        writer.table(name, rows.keys(), rows)
    return schema, db.execute(sa.select(sa.func.max(known.tables["events"].c.seq))).scalar() or 0


def _cloud(db: sa.Connection) -> str:
    return str(db.execute(sa.text("SELECT value FROM meta WHERE name = 'cloud'")).scalar() or "")


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    """The files beside the journal with their sizes just now. Drafts are nobody's yet."""
    for top in FOLDERS:
        for path in sorted((folder / top).rglob("*")):
            if DRAFT not in path.name and path.is_file() and not path.is_symlink():
                yield path.relative_to(folder).as_posix(), path.stat().st_size
    for name in KEYS:
        if (folder / name).is_file():
            yield name, (folder / name).stat().st_size


@contextlib.contextmanager
def _draft(to: Path) -> Iterator[BinaryIO]:
    """A file that appears at `to`, synced, when the block ends well. What a killed backup left of it is written over."""
    draft = to.with_name(to.name + DRAFT)
    try:
        number = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable("The backup can't be written there.", asked=str(to), found=error.strerror or str(error)) from error
    with os.fdopen(number, "w+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("Another backup is being written there.", asked=str(to), hint="another name") from None
        file.truncate(0)
        os.fchmod(number, 0o600)
        try:
            yield file
            file.flush()
            os.fsync(number)
            os.link(draft, to)  # and not a rename: that would replace what came there meanwhile
        except OSError as error:
            raise Unavailable("The backup couldn't be written.", asked=str(to), found=error.strerror or str(error)) from error
        finally:
            draft.unlink(missing_ok=True)
    folder = os.open(to.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
