"""The history of failed attempts: what failed, why, and the wait that followed."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text

from serpline.store.database import Connection
from serpline.store.runs.chunks import OwnedChunk

ERROR_CHARS_MAX = 200


class FailedAttempt(NamedTuple):
    """A failure of an item, of a batch (by its name) or of a chunk's work (``chunk 7``).

    ``attempt``: its failures so far, from 1; for a batch, consecutive ones. ``delay_seconds``: the
    wait before the next attempt; None: there is none.
    """

    item: str
    attempt: int
    delay_seconds: float | None
    category: str | None
    error: str | None


async def record_attempts(
    conn: Connection, chunk: OwnedChunk, now: datetime, failed: Sequence[FailedAttempt]
) -> None:
    """Write failures of a chunk's work, in the transaction that acts on them."""
    if not failed:
        return
    items, attempts, delays, categories, errors = zip(*failed, strict=True)
    await conn.execute(
        text(
            "INSERT INTO item_retries (run_id, phase_name, content_type, occurred_at, item,"
            " attempt, delay_seconds, error_category, error)"
            " SELECT :run, :phase, :type, :now, * FROM unnest(CAST(:items AS text[]),"
            " CAST(:attempts AS smallint[]), CAST(:delays AS float[]),"
            " CAST(:categories AS text[]), CAST(:errors AS text[]))"
        ),
        {
            "run": chunk.run_id,
            "phase": str(chunk.lane.phase),
            "type": str(chunk.lane.content_type),
            "now": now,
            "items": list(items),
            "attempts": list(attempts),
            "delays": list(delays),
            "categories": list(categories),
            "errors": [error and error[:ERROR_CHARS_MAX] for error in errors],
        },
    )
