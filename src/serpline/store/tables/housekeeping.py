"""Periodic tasks that one worker at a time runs: when each is due, and its progress.

One row per task. ``state`` is the task's own JSON object. ``looked_at`` is when the row was last
written. The worker that runs a task locks its row, so only one does. Its changes and its progress
commit together.
"""

from sqlalchemy import Column, Float, Index, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from serpline.store.tables.base import Instant, metadata

housekeeping = Table(
    "housekeeping",
    metadata,
    Column("task", Text, primary_key=True),
    Column("looked_at", Instant, nullable=False, server_default=text("now()")),
    Column("next_check_at", Instant),
    # How far ahead the next check was when written. A longer wait means the clock was set back.
    Column("delay_seconds", Float, nullable=False, server_default=text("0")),
    Column("state", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Index("ix_housekeeping_next_check_at", "next_check_at"),
    postgresql_with={"fillfactor": "50"},
)
