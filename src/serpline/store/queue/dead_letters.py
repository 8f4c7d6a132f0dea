"""Dead letters: jobs and wake-ups that failed for good, kept until a person decides.

The promise: every final failure is kept, and a wake-up that fails a thousand times is one letter
with a count. Retry and discard are compare-and-set: of two people who act on one letter, one
succeeds and the other gets an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from serpline.domain.errors import UserError
from serpline.domain.names import JobPriority
from serpline.store.database import Connection
from serpline.store.queue import jobs as queued_jobs
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.tables.queueing import dead_letters

PAGE_MAX: Final = 1_000


class DeadLetterStatus(StrEnum):
    """``dead`` until a person has it ``retried`` (enqueued again) or ``discarded``."""

    DEAD = "dead"
    RETRIED = "retried"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job or wake-up that failed for good; ``target`` is None for a job with a payload."""

    id: int
    job_type: str
    target: str | None
    payload: dict[str, Any]
    priority: int
    max_retries: int
    error: str
    attempts: int
    failed_at: datetime
    status: DeadLetterStatus
    settled_at: datetime | None


async def record_wakeup(conn: Connection, wakeup: WakeUp, error: str) -> int:
    """Record a failure of a wake-up's handler; returns how many its letter counts."""
    statement = insert(dead_letters).values(
        job_type=wakeup.job_type,
        target=wakeup.target,
        payload={"target": wakeup.target},
        priority=int(wakeup.priority),
        error=error[: queued_jobs.ERROR_LENGTH_MAX],
        attempts=1,
    )
    upsert = statement.on_conflict_do_update(
        index_elements=["job_type", "target"],
        index_where=sa.text("status = 'dead' AND target IS NOT NULL"),
        set_={
            "attempts": dead_letters.c.attempts + 1,
            "error": statement.excluded.error,
            "failed_at": sa.func.now(),
        },
    ).returning(dead_letters.c.attempts)
    count: int = (await conn.execute(upsert)).scalar_one()
    return count


async def list_dead_letters(
    conn: Connection,
    *,
    status: DeadLetterStatus | None = DeadLetterStatus.DEAD,
    before_id: int | None = None,
    limit: int = 100,
) -> Sequence[DeadLetter]:
    """Return at most ``limit`` (1 to ``PAGE_MAX``) letters, newest first.

    ``before_id``: the last id of the page before.
    """
    if not 1 <= limit <= PAGE_MAX:
        raise UserError(f"limit={limit}: must be 1 to {PAGE_MAX}")
    query = sa.select(dead_letters).order_by(dead_letters.c.id.desc()).limit(limit)
    if status is not None:
        query = query.where(dead_letters.c.status == status)
    if before_id is not None:
        query = query.where(dead_letters.c.id < before_id)
    return [_letter(row) for row in await conn.execute(query)]


async def retry(conn: Connection, letter_id: int) -> DeadLetter:
    """Enqueue the job again, with all its attempts. Raises ``UserError`` if it is not dead."""
    letter = await _settle(conn, letter_id, DeadLetterStatus.RETRIED)
    priority = JobPriority(letter.priority)
    if letter.target is not None:
        await wake(conn, [WakeUp(letter.job_type, letter.target, priority)])
    else:
        await queued_jobs.insert(
            conn,
            letter.job_type,
            letter.payload,
            priority=priority,
            max_retries=letter.max_retries,
        )
    return letter


async def discard(conn: Connection, letter_id: int) -> DeadLetter:
    """Discard the job; its row stays. Raises ``UserError`` if it is not dead."""
    return await _settle(conn, letter_id, DeadLetterStatus.DISCARDED)


async def _settle(conn: Connection, letter_id: int, status: DeadLetterStatus) -> DeadLetter:
    statement = (
        sa.update(dead_letters)
        .where(dead_letters.c.id == letter_id, dead_letters.c.status == DeadLetterStatus.DEAD)
        .values(status=status, settled_at=sa.func.now())
        .returning(dead_letters)
    )
    row = (await conn.execute(statement)).one_or_none()
    if row is not None:
        return _letter(row)
    now = await conn.execute(sa.select(dead_letters.c.status).where(dead_letters.c.id == letter_id))
    found = now.scalar_one_or_none()
    raise UserError(f"job {letter_id}: " + ("unknown" if found is None else f"already {found}"))


def _letter(row: sa.Row[Any]) -> DeadLetter:
    values = dict(row._mapping)
    return DeadLetter(**{**values, "status": DeadLetterStatus(values["status"])})
