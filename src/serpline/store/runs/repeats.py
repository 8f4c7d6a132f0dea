"""Find a run that was started a moment ago and would buy the same again."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from serpline.domain.states import RunStatus
from serpline.store.database import IDLE_LIMIT, Connection

# What a run collects. Other keys change how it does so, or what it computes.
_SAME = ("content_types", "devices", "phases", "landscape", "keyword_limit", "inputs_from")
_GIVEN_UP = (str(RunStatus.FAILED), str(RunStatus.CANCELLED))


class Repeated(NamedTuple):
    """An earlier run of the same, how long ago it was created, and its state."""

    run_id: UUID
    seconds_ago: float
    status: str


async def find_repeated(
    conn: Connection, config: Mapping[str, Any], mode: str, pairs: int | None, since: datetime
) -> Repeated | None:
    """Return the newest run since ``since`` that collects what ``config`` would; None: none does.

    ``pairs``: how many keywords it would have; None: those of ``inputs_from``. Failed and cancelled
    runs do not count. Two callers at once wait for each other until their transactions end.
    """
    await conn.execute(text(f"SELECT {IDLE_LIMIT}, pg_advisory_xact_lock(7236, 0)"))
    same = " AND ".join(
        f"r.config -> '{key}' IS NOT DISTINCT FROM CAST(:config AS jsonb) -> '{key}'"
        for key in _SAME
    )
    rows = await conn.execute(
        text(
            "SELECT r.id, r.status, extract(epoch FROM now() - r.created_at)::float8 AS seconds"
            " FROM pipeline_executions r WHERE r.created_at >= :since AND r.mode = :mode"
            f" AND NOT r.status = ANY(:given_up) AND {same}"
            " AND (CAST(:pairs AS bigint) IS NULL OR :pairs ="
            " (SELECT count(*) FROM run_keywords k WHERE k.run_id = r.id))"
            " ORDER BY r.created_at DESC, r.id LIMIT 1"
        ),
        {
            "config": json.dumps(dict(config)),
            "mode": mode,
            "pairs": pairs,
            "since": since,
            "given_up": list(_GIVEN_UP),
        },
    )
    row = rows.first()
    return None if row is None else Repeated(row.id, max(0.0, row.seconds), row.status)
