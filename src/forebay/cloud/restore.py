"""Make a cloud again out of a backup: in a new data folder, and in its file or an empty PostgreSQL.

Asked:  when is a restored cloud there?
Answer: at one moment: when the folder, whole, checked and synced beside its place, gets its name. Before that a database that
        was filled says that it is being restored, and no cloud starts on it; saying `restore` again begins it anew.
Limits: the folder must be new or empty, and no mounted disk's top, which can't be renamed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from forebay.cloud.address import Address, address, keep, shown, told
from forebay.cloud.archive import Backup, Reader, Said, opened
from forebay.cloud.database import DOWN, FILE
from forebay.cloud.migrations import upgrade
from forebay.cloud.postgres import CLOUD, RESTORING, engine, lock_session, marks
from forebay.cloud.schema import META, SCHEMA, TABLES, VERSION, found
from forebay.errors import Conflict, Refused, Unavailable

_ROWS = 2_000  # in one statement


def restore(file: Path, folder: Path, database: str, said: Said = lambda what, done, of: None) -> Backup:
    """Put the cloud of a backup into a new folder, and its journal into a file there or into the PostgreSQL at `database`."""
    with opened(file) as reader, _folder(folder) as draft:
        if reader.about.schema > SCHEMA:
            raise Refused(
                "This backup was made by a newer Forebay.",
                asked=str(file),
                found=f"schema {reader.about.schema}; this Forebay reads up to {SCHEMA}",
                hint="use that",
            )
        total, done = sum(entry.size_bytes for entry in reader.about.files), 0

        def moved(size: int) -> None:
            nonlocal done
            done += size
            said("files", done, total)

        said("journal", 0, 0)
        where = address(draft, database)
        with _journal(draft, folder, where) as db:
            _fill(db, reader)
            _files(reader, draft, moved)
            if where:
                # One id for the folder and the database; the restore's own, so that both know when it is through.
                where = Address(url=where.url, cloud=secrets.token_hex(8))
                _mark(db, {CLOUD: where.cloud, RESTORING: str(folder.absolute())})
                keep(draft, where)
            os.sync()  # all of the folder at once, before the database's commit and the name
        return reader.about


def _fill(db: sa.Connection, reader: Reader) -> None:
    """Make the tables as they were when the backup was made, and put its rows in. The cloud's first start upgrades them."""
    for name in (*TABLES, VERSION.name):
        db.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
    upgrade(db, reader.about.schema)
    known = sa.MetaData()
    known.reflect(db, only=TABLES)
    for name, columns, rows in reader.tables():
        insert = sa.insert(known.tables[name])
        while some := list(islice(rows, _ROWS)):
            db.execute(insert, [dict(zip(columns, row, strict=True)) for row in some])


def _files(reader: Reader, draft: Path, moved: Callable[[int], None]) -> None:
    for path, entry in reader.files():
        place = draft / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as content:
            reader.copy(entry, content, moved)
            os.fchmod(content.fileno(), entry.mode & 0o777)


def _mark(db: sa.Connection, marks: dict[str, str]) -> None:
    db.execute(sa.delete(META).where(META.c.name.in_(marks)))
    db.execute(sa.insert(META), [{"name": name, "value": value} for name, value in marks.items()])


@contextlib.contextmanager
def _journal(draft: Path, folder: Path, where: Address | None) -> Iterator[sa.Connection]:
    """The empty database, in one transaction that ends with the block."""
    made = engine(where.url, poolclass=NullPool) if where else sa.create_engine(f"sqlite:///{draft / FILE}", poolclass=NullPool)
    try:
        with made.connect() as db:
            if where:
                if not lock_session(db):
                    raise Conflict("A cloud works on this database.", asked=shown(where.url), hint="an empty database")
                _refuse_used(db, where)
            else:
                db.exec_driver_sql("BEGIN IMMEDIATE")
            yield db
            db.commit()
    except DOWN as error:
        place, said = shown(where.url) if where else str(folder), told(error, where)
        raise Unavailable("The journal couldn't be written, so nothing was restored.", asked=place, found=said) from error


def _refuse_used(db: sa.Connection, where: Address) -> None:
    known = marks(db)
    is_used = found(db) is not None and db.exec_driver_sql("SELECT 1 FROM events LIMIT 1").scalar()
    if is_used and not (RESTORING in known and not _ended(Path(known[RESTORING]), known.get(CLOUD, ""))):
        raise Conflict("That database has a journal already.", asked=shown(where.url), hint="an empty database")


def _ended(folder: Path, cloud: str) -> bool:
    """Whether a restore that a database tells of came to its end after all: then the folder has its name and its id."""
    try:
        return bool(json.loads((folder / "database").read_text())["cloud"] == cloud)
    except (OSError, ValueError, KeyError):
        return False


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[Path]:
    """A folder that gets its name when the block ends well. What a killed restore left beside its place is removed."""
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict("There is something in that folder already.", asked=str(folder), hint="a new or an empty folder")
    if os.path.ismount(folder):
        raise Refused(
            "A restored folder gets its name at once, which a mounted disk's top can't.",
            asked=str(folder),
            hint=f"a folder on it: {folder / 'cloud'}",
        )
    draft = folder.with_name(folder.name + ".restoring")
    umask = os.umask(0o077)
    try:
        draft.mkdir(parents=True, exist_ok=True)
        with _alone(draft):
            yield draft
            draft.chmod(0o711)  # as `forebay up` makes it: the tenants' programs pass through to their own folders
            os.rename(draft, folder)
    except OSError as error:
        raise Unavailable(
            "The folder couldn't be written, so nothing was restored.", asked=str(folder), found=error.strerror or str(error)
        ) from error
    finally:
        os.umask(umask)
    above = os.open(folder.parent, os.O_RDONLY)
    os.fsync(above)
    os.close(above)


@contextlib.contextmanager
def _alone(draft: Path) -> Iterator[None]:
    """Have the draft for this process, empty; afterwards nothing is left of it but what got another name."""
    number = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(number)
        raise Conflict("Another restore is under way there.", asked=str(draft)) from None
    try:
        for left in list(draft.iterdir()):
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        yield
    finally:
        if draft.exists():
            shutil.rmtree(draft, ignore_errors=True)
        os.close(number)
