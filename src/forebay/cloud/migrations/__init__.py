"""How the tables of an older journal become those of today: revisions for Alembic, one a schema.

Asked:  what does a new revision need?
Answer: a file `versions/rNNNN_what.py` with revision "NNNN", the one before as down_revision, and `upgrade`; SCHEMA in
        `schema.py` one higher; the tables there as the revision leaves them. A test holds the two against each other.
Limits: no downgrades. A revision runs inside the caller's transaction, on both databases, and must be able to.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from forebay.cloud.schema import META, SCHEMA, VERSION, found, revision


def upgrade(db: sa.Connection, schema: int = SCHEMA) -> None:
    """Bring the tables to a schema, from any older one or from nothing, in the transaction that the caller has begun."""
    from alembic import command  # takes 0.1 s to import, which only an upgrade has to wait for
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = db
    before = found(db)
    if before is not None and not sa.inspect(db).has_table(VERSION.name):  # from before there were revisions
        VERSION.create(db)
        db.execute(sa.insert(VERSION), [{"version_num": revision(before)}])
    command.upgrade(config, revision(schema))
    if before is not None:
        db.execute(sa.update(META).where(META.c.name == "schema").values(value=str(schema)))
