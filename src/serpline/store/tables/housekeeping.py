"""What is done by itself, now and then, by one of all workers: when it is next due, how far it is.

A row per task. ``state`` is the task's own, a JSON object; ``looked_at`` is when the row was last
written. Whoever works on a task holds its row, so one worker at a time does, and what the task
changes commits together with how far it has come.
"""

from sqlalchemy import Column, Float, Index, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from serpline.store.tables.base import Instant, metadata

housekeeping = Table(
    "housekeeping",
    metadata,
    Column("task", Text, primary_key=True),
    Column("looked_at", Instant, nullable=False, server_default=text("now()")),
    Column("next_look_at", Instant),
    # How far ahead the next look was when it was written: it is never further from now on.
    Column("delay_seconds", Float, nullable=False, server_default=text("0")),
    Column("state", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Index("ix_housekeeping_next_look_at", "next_look_at"),
    postgresql_with={"fillfactor": "50"},
)
