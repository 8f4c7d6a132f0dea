"""The rows of ``housekeeping``: the state of periodic tasks, which one worker at a time runs.

``hold`` locks the row for the rest of the transaction, or finds it locked. If a worker dies or is
cut off, the database rolls its transaction back and releases the row.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text

from serpline.store.database import IDLE_LIMIT, Connection


@dataclass(frozen=True, slots=True)
class Task:
    """A task's row; ``now``: the database's time when it was read."""

    task: str
    looked_at: datetime
    next_check_at: datetime | None
    state: dict[str, Any]
    now: datetime


async def ensure(conn: Connection, task: str, first_seconds: float, every_seconds: float) -> None:
    """Schedule the task in ``first_seconds``; a scheduled one keeps its time.

    In both cases it is due in at most ``every_seconds``.
    """
    await conn.execute(
        text(
            "INSERT INTO housekeeping AS h (task, next_check_at, delay_seconds)"
            " VALUES (:task, now() + make_interval(secs => least(:first, :every)),"
            " least(:first, :every)) ON CONFLICT (task) DO UPDATE SET next_check_at ="
            " least(h.next_check_at, now() + make_interval(secs => :every)), delay_seconds = :every"
        ),
        {"task": task, "first": first_seconds, "every": every_seconds},
    )


async def hold(conn: Connection, task: str) -> Task | None:
    """Lock a task's row until the transaction ends; None if it is locked or missing."""
    rows = await conn.execute(
        text(
            f"SELECT task, looked_at, next_check_at, state, now() AS now, {IDLE_LIMIT}"
            " FROM housekeeping WHERE task = :task FOR UPDATE SKIP LOCKED"
        ),
        {"task": task},
    )
    return _task(rows.first())


async def read(conn: Connection, task: str) -> Task | None:
    """Return the task's row."""
    rows = await conn.execute(
        text(
            "SELECT task, looked_at, next_check_at, state, now() AS now FROM housekeeping"
            " WHERE task = :task"
        ),
        {"task": task},
    )
    return _task(rows.first())


def _task(row: Row[Any] | None) -> Task | None:
    return Task(row.task, row.looked_at, row.next_check_at, row.state, row.now) if row else None


async def write(
    conn: Connection, task: str, state: Mapping[str, Any], next_seconds: float | None
) -> None:
    """Write the task's state, and its next check in ``next_seconds`` (None: never)."""
    await conn.execute(
        text(
            "INSERT INTO housekeeping (task, looked_at, next_check_at, delay_seconds, state)"
            " VALUES (:task, now(), now() + make_interval(secs => CAST(:next AS float8)),"
            " coalesce(CAST(:next AS float8), 0), CAST(:state AS jsonb))"
            " ON CONFLICT (task) DO UPDATE SET looked_at = excluded.looked_at,"
            " next_check_at = excluded.next_check_at, delay_seconds = excluded.delay_seconds,"
            " state = excluded.state"
        ),
        {"task": task, "next": next_seconds, "state": json.dumps(state, default=str)},
    )


async def make_due(conn: Connection, task: str) -> None:
    """Make a task due now, if it is registered."""
    await conn.execute(
        text(
            "UPDATE housekeeping SET next_check_at = least(next_check_at, now()), delay_seconds = 0"
            " WHERE task = :task"
        ),
        {"task": task},
    )


async def due(conn: Connection, again_seconds: float) -> list[str]:
    """Return the tasks that are due, and set their next check ``again_seconds`` from now."""
    rows = await conn.execute(
        text(
            "UPDATE housekeeping SET next_check_at = now() + make_interval(secs => :again),"
            " delay_seconds = :again WHERE task IN (SELECT task FROM housekeeping"
            f" WHERE next_check_at <= now() FOR UPDATE SKIP LOCKED) RETURNING task, {IDLE_LIMIT}"
        ),
        {"again": again_seconds},
    )
    return [row.task for row in rows]
