"""The tables of a journal, the same on SQLite and on PostgreSQL; and how those of an older Forebay become those of today.

Asked:  may this journal be opened, and what must be done to it first?
Answer: a new one gets today's tables at once. One of an older Forebay is upgraded by Alembic, in one transaction, after a copy
        was made of it where it is a file. One of a newer Forebay is refused before anything is written. Alembic is imported only
        when there is something to upgrade.
Limits: a journal goes forwards only. The older Forebay refuses it from then on.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import sqlalchemy as sa

from forebay.errors import Refused

if TYPE_CHECKING:
    from forebay.cloud.database import Database

log = logging.getLogger("forebay.cloud")

# A revision of `migrations/versions` has the number of the schema that it leads to: 0003 makes schema 3.
# 2: centres that join, states of nodes, outputs; the tables of 1 are the same, so it is read as it is.
# 3: answers are found by their age.
SCHEMA = 3
FIRST = 2  # the oldest that a revision makes

_meta = sa.MetaData()
# On SQLite only an INTEGER that is the primary key is the number of the row itself; it has 64 bits as well.
_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

META = sa.Table("meta", _meta, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False))
EVENTS = sa.Table(
    "events",
    _meta,
    sa.Column("seq", _Number, primary_key=True, autoincrement=False),
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("job", sa.Text, nullable=False, index=True),
    sa.Column("body", sa.Text, nullable=False),
)
JOBS = sa.Table(
    "jobs",
    _meta,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("place", _Number, nullable=False, unique=True),  # order of submission
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
    sa.Index("answers_by_time", "at_ns"),
)
SNAPSHOTS = sa.Table(
    "snapshots",
    _meta,
    sa.Column("seq", _Number, primary_key=True, autoincrement=False),
    sa.Column("body", sa.Text, nullable=False),
)
# Alembic's own, made here too, so that a new journal needs no Alembic.
VERSION = sa.Table(
    "alembic_version",
    _meta,
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
TABLES = ("meta", "events", "jobs", "answers", "snapshots")  # what a backup holds


def revision(schema: int) -> str:
    """The name of the revision that makes a schema. Schema 1 had the tables of 2."""
    return f"{max(schema, FIRST):04}"


def found(db: sa.Connection) -> int | None:
    """The schema of the journal that is there; None where there is none yet."""
    if not sa.inspect(db).has_table(META.name):
        return None
    value = db.execute(sa.select(META.c.value).where(META.c.name == "schema")).scalar()
    return int(value) if value is not None else None


def prepare(database: Database) -> None:
    """Make, upgrade or refuse the tables of a journal that this process holds."""
    with database.reading() as db:
        schema = found(db)
    if schema == SCHEMA:
        return
    if schema is not None and schema > SCHEMA:
        raise Refused(
            "This journal was written by a newer Forebay.",
            asked=database.place,
            found=f"schema {schema}; this Forebay reads up to {SCHEMA}",
            hint="use the newer Forebay, or another --data folder",
        )
    if schema is None:
        with database.writing() as db:
            make(db)
        return
    copy = database.keep_copy(schema)
    log.info("the journal goes from schema %d to %d%s", schema, SCHEMA, f"; a copy of it as it was: {copy}" if copy else "")
    from forebay.cloud.migrations import upgrade

    with database.writing() as db:
        upgrade(db)


def make(db: sa.Connection) -> None:
    """Today's tables, empty."""
    _meta.create_all(db)
    db.execute(sa.insert(META), [{"name": "schema", "value": str(SCHEMA)}])
    db.execute(sa.insert(VERSION), [{"version_num": revision(SCHEMA)}])
