"""Release an owned chunk: it is done, or ready again with the time of its next check.

``release`` ends work as usual, ``release_crashed`` ends work that raised, and ``give_back`` ends
ownership without work.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import text

from serpline.domain.errors import LeaseLost
from serpline.domain.states import LIVE_ITEMS
from serpline.domain.waits import WaitReason
from serpline.store.database import IDLE_LIMIT, Connection
from serpline.store.runs.chunks import OwnedChunk

# Back off when a chunk makes no progress. Work that settled nothing and named no time waits
# ``IDLE_SECONDS``; work that named a time waits at least a pause that doubles. A chunk that waits
# on a breaker may pause longer: the breaker's closing wakes it.
IDLE_SECONDS = 5.0
PAUSE_SECONDS = 0.25
PAUSE_SECONDS_MAX = 5.0
WAITING_SECONDS_MAX = 60.0


async def release(
    conn: Connection,
    chunk: OwnedChunk,
    *,
    due_in_seconds: float | None,
    now: datetime,
    loaded_at: datetime,
    at_once: bool,
    waits_on: Collection[str] = (),
    wait: WaitReason | None = None,
) -> bool:
    """Release the chunk: done if every item ended (True), else ready again.

    The next check is the earliest of: ``due_in_seconds``; the next attempts that were not yet
    due at ``loaded_at``; a ``make_due`` during the work; the closing of a breaker in ``waits_on``.
    With none of these it is now. Without ``at_once`` (nothing was settled), the first two are
    delayed by the pause; the last two are events and are not. ``now`` is the time from which the
    items' next attempts were set; the wait runs on the database's clock. ``wait``: why it waits,
    for people; without it, next attempts are the reason. Raises ``LeaseLost`` if the chunk is no
    longer owned at its epoch.
    """
    has_closed = bool(waits_on) and await _one_is_closed(conn, waits_on)
    # Read ``next_check_at`` from the row that is written, never from a joined copy. This statement
    # may wait for a ``make_due``, and PostgreSQL reads only the row itself again after the wait.
    rows = await conn.execute(
        text(
            """
            WITH wait AS (
                SELECT now() + make_interval(secs => seconds) AS due,
                    greatest(:idle, :pause_max, seconds) AS longest, retries
                FROM (
                    SELECT least(CAST(:again AS float8), min(least(delay_seconds, extract(
                        epoch FROM next_attempt_at - CAST(:now AS timestamptz))))) AS seconds,
                        count(*) > 0 AS retries
                    FROM items WHERE lane_id = :lane AND chunk_no = :no AND status = ANY(:live)
                    AND next_attempt_at > :loaded
                ) AS earliest
            )
            UPDATE chunks c SET owner = NULL, waits_on = CAST(:waits_on AS text[]),
                wait_cause = CASE
                    WHEN c.completed + c.failed + c.skipped = c.planned THEN NULL
                    ELSE coalesce(CAST(:wait_cause AS text), CASE WHEN retries THEN 'retry' END)
                    END,
                wait_subject = CAST(:wait_subject AS text),
                delay_seconds = longest,
                idle_polls = CASE WHEN :at_once THEN 0 ELSE least(c.idle_polls + 1, 1000) END,
                crashes = CASE WHEN :at_once THEN 0 ELSE c.crashes END,
                status = CASE WHEN c.completed + c.failed + c.skipped = c.planned
                              THEN 'done' ELSE 'ready' END,
                next_check_at = CASE
                    WHEN c.completed + c.failed + c.skipped = c.planned THEN NULL
                    WHEN :at_once THEN coalesce(
                        least(due, c.next_check_at, CASE WHEN :has_closed THEN now() END), now())
                    ELSE least(
                        greatest(coalesce(due, now() + make_interval(secs => :idle)),
                            now() + make_interval(secs => least(:pause_max,
                                :pause * 2.0 ^ least(c.idle_polls, 16)))),
                        c.next_check_at, CASE WHEN :has_closed THEN now() END)
                    END
            FROM wait WHERE c.id = :id AND c.epoch = :epoch AND c.status = 'owned'
            RETURNING c.status
            """
        ),
        {
            "lane": chunk.lane_id,
            "no": chunk.no,
            "live": [str(status) for status in LIVE_ITEMS],
            "id": chunk.id,
            "epoch": chunk.epoch,
            "again": due_in_seconds,
            "now": now,
            "loaded": loaded_at,
            "has_closed": has_closed,
            "waits_on": sorted(waits_on) or None,
            "wait_cause": wait and wait.cause,
            "wait_subject": wait and wait.subject,
            "at_once": at_once,
            "idle": IDLE_SECONDS,
            "pause": PAUSE_SECONDS,
            "pause_max": WAITING_SECONDS_MAX if waits_on else PAUSE_SECONDS_MAX,
        },
    )
    row = rows.first()
    if row is None:
        raise LeaseLost(f"chunk {chunk.id} is no longer owned at epoch {chunk.epoch}")
    return bool(row.status == "done")


async def _one_is_closed(conn: Connection, breakers: Collection[str]) -> bool:
    """Whether a breaker has closed since it refused. The rows stay locked until the release.

    So a breaker closes before the lock and is seen here, or after it and finds the chunk waiting.
    """
    rows = await conn.execute(
        text(
            f"SELECT state, {IDLE_LIMIT} FROM circuit_breakers WHERE name = ANY(:names)"
            " ORDER BY name FOR SHARE"
        ),
        {"names": list(breakers)},
    )
    return "closed" in rows.scalars().all()


async def release_crashed(
    conn: Connection, chunk: OwnedChunk, after_seconds: float, error: str
) -> None:
    """Release a chunk whose work raised, which is a bug; its next check is ``after_seconds`` on."""
    await conn.execute(
        text(
            "UPDATE chunks SET status = 'ready', owner = NULL, crashes = crashes + 1,"
            " last_error = :error, wait_cause = 'retry', wait_subject = NULL,"
            " next_check_at = least(next_check_at, now() + make_interval(secs => :s)),"
            " delay_seconds = :s"
            " WHERE id = :id AND epoch = :epoch AND status = 'owned'"
        ),
        {"id": chunk.id, "epoch": chunk.epoch, "s": after_seconds, "error": error[:500]},
    )


async def give_back(conn: Connection, worker_id: int, held: Sequence[tuple[int, int]]) -> list[int]:
    """Make ready the chunks that this worker owns but does not work on; returns their ids."""
    rows = await conn.execute(
        text(
            "UPDATE chunks c SET status = 'ready', owner = NULL, epoch = c.epoch + 1,"
            " next_check_at = now()"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:epochs AS bigint[])) AS u(id, epoch)"
            " WHERE c.id = u.id AND c.epoch = u.epoch AND c.owner = :worker"
            " AND c.status = 'owned' RETURNING c.id"
        ),
        {
            "worker": worker_id,
            "ids": [chunk_id for chunk_id, _ in held],
            "epochs": [epoch for _, epoch in held],
        },
    )
    return [row.id for row in rows]
