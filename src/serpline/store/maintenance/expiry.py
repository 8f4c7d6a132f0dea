"""Expired runs: delete whole runs whose results are older than the configured days.

The promise: data in use stays. A run is kept, whatever its age, while it has not ended, while
another run reads its results (``source_run_id``), and while a combined figure of a kept run names
it. Expiry first sets ``expired_at``, which hides the run. A reader may have found it before, so it
is deleted once every run that was unended then has ended, or after ``GRACE_SECONDS``. Before that,
expiry checks again that nothing names it.

The run is deleted table by table in portions, its row last. An interrupted deletion continues,
because the row still exists and no one else reads it.
"""

from typing import Final

import sqlalchemy as sa

from serpline.store.database import Connection
from serpline.store.maintenance.prune import ENDED, Place, Portion, Terms
from serpline.store.maintenance.retention import OF_RUN

GRACE_SECONDS: Final = 86_400.0
RUNS_MAX: Final = 20

# A run has many combined figures, but all of one market and device name the same runs. So this
# reads one row of each (a skip scan of the table's key).
_IS_NAMED: Final = """
    EXISTS (SELECT FROM pipeline_phase_status l
        WHERE l.source_run_id = r.id AND l.pipeline_execution_id <> r.id)
    OR EXISTS (
        SELECT FROM pipeline_executions x CROSS JOIN LATERAL (
            WITH RECURSIVE place AS (
                (SELECT market, device, sources FROM dsi_scores
                WHERE run_id = x.id AND content_type = 'all' ORDER BY market, device LIMIT 1)
                UNION ALL
                SELECT following.* FROM place CROSS JOIN LATERAL (
                    SELECT d.market, d.device, d.sources FROM dsi_scores d
                    WHERE d.run_id = x.id AND d.content_type = 'all'
                    AND (d.market, d.device) > (place.market, place.device)
                    ORDER BY d.market, d.device LIMIT 1) AS following
            )
            SELECT sources FROM place
        ) AS figure
        WHERE x.id <> r.id AND x.expired_at IS NULL AND x.created_at >= r.created_at
        AND x.config ->> 'landscape' IS NOT DISTINCT FROM r.config ->> 'landscape'
        AND figure.sources @> jsonb_build_array(jsonb_build_object('run_id', r.id))
    )
"""
_IS_OLD: Final = "r.status = ANY(:ended) AND r.completed_at < :cutoff AND r.expired_at IS NULL"
_CANDIDATES: Final = sa.text(
    f"SELECT r.id, r.completed_at FROM pipeline_executions r WHERE {_IS_OLD}"
    " AND (r.completed_at, r.id) > (CAST(:at AS timestamptz), CAST(:id AS uuid))"
    " ORDER BY r.completed_at, r.id LIMIT :limit FOR UPDATE SKIP LOCKED"
)
# A separate statement: runs that chose this run as a source before the lock are committed by now.
_HIDE: Final = sa.text(
    "UPDATE pipeline_executions r SET expired_at = now()"
    f" WHERE r.id = ANY(CAST(:runs AS uuid[])) AND NOT ({_IS_NAMED})"
)
_NEXT: Final = sa.text(
    "SELECT r.id FROM pipeline_executions r WHERE r.expired_at IS NOT NULL AND r.id > :after"
    " AND (r.expired_at < now() - make_interval(secs => :grace) OR NOT EXISTS ("
    " SELECT FROM pipeline_executions o WHERE o.status IN ('pending', 'running', 'paused')"
    " AND o.created_at <= r.expired_at)) ORDER BY r.id LIMIT 1 FOR UPDATE SKIP LOCKED"
)
_LOCK: Final = sa.text(
    "SELECT id FROM pipeline_executions r WHERE id = :run AND expired_at IS NOT NULL"
    " FOR UPDATE SKIP LOCKED"
)
_UNHIDE: Final = sa.text(
    f"UPDATE pipeline_executions r SET expired_at = NULL WHERE r.id = :run AND ({_IS_NAMED})"
)
_NIL_ID: Final = "00000000-0000-0000-0000-000000000000"


async def expire(conn: Connection, terms: Terms, place: Place) -> Portion:
    """Hide the next few old runs that nothing names."""
    cutoff = terms.cutoffs["results_days"]
    if cutoff is None:
        return Portion()
    at, after = place or ["-infinity", _NIL_ID]
    limit = min(RUNS_MAX, terms.rows_max)
    values = {"ended": ENDED, "cutoff": cutoff, "at": at, "id": after, "limit": limit}
    found = (await conn.execute(_CANDIDATES, values)).all()
    if not found:
        return Portion()
    await conn.execute(_HIDE, {"runs": [row.id for row in found]})
    last = found[-1]
    return Portion(place=[last.completed_at.isoformat(), str(last.id)])


async def delete_expired(conn: Connection, terms: Terms, place: Place) -> Portion:
    """Delete some rows of an expired run from one table; its own row comes last.

    ``place``: the run, and the number of the table in ``OF_RUN``.
    """
    run_id, number = place or [_NIL_ID, len(OF_RUN)]
    if number < len(OF_RUN):
        if (await conn.execute(_LOCK, {"run": run_id})).first() is None:
            return Portion(place=[run_id, len(OF_RUN)])
        table = list(OF_RUN)[number]
        deleted = await _delete(conn, table, run_id, terms.rows_max)
        is_over = deleted < terms.rows_max
        return Portion({table: deleted}, [run_id, number + is_over])
    found = await conn.execute(_NEXT, {"after": run_id, "grace": GRACE_SECONDS})
    chosen = found.scalar_one_or_none()
    if chosen is None:
        return Portion()
    named = await conn.execute(_UNHIDE, {"run": chosen})
    return Portion(place=[str(chosen), len(OF_RUN) if named.rowcount else 0])


async def _delete(conn: Connection, table: str, run_id: str, rows_max: int) -> int:
    where = OF_RUN[table]
    statement = (
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("
        f"SELECT ctid FROM {table} WHERE {where} LIMIT :limit))"
    )
    return (await conn.execute(sa.text(statement), {"run": run_id, "limit": rows_max})).rowcount


async def count_expired(conn: Connection, terms: Terms) -> dict[str, int]:
    """Count the rows of the runs that have expired, or would expire."""
    cutoff = terms.cutoffs["results_days"]
    counted = dict.fromkeys(OF_RUN, 0)
    if cutoff is None:
        return counted
    found = await conn.execute(
        sa.text(
            f"SELECT r.id FROM pipeline_executions r WHERE {_IS_OLD} AND NOT ({_IS_NAMED})"
            " UNION ALL SELECT r.id FROM pipeline_executions r WHERE r.expired_at IS NOT NULL"
        ),
        {"ended": ENDED, "cutoff": cutoff},
    )
    for run_id in found.scalars().all():
        for table, where in OF_RUN.items():
            statement = sa.text(f"SELECT count(*) FROM {table} WHERE {where}")
            rows = await conn.execute(statement, {"run": run_id})
            counted[table] += int(rows.scalar_one())
    return counted
