"""Answers are found by their age: a start drops those of over a week ago, and read all of them to find these."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index("answers_by_time", "answers", ["at_ns"])
