"""Runs whose results are past the days that a person set: the run goes as a whole.

The promise: nothing that is read goes. A run stays, whatever its age, while it has not ended, while
another run reads results of it (``source_run_id``), and while a combined figure of a run that stays
names it. The first that happens to it is one write, ``expired_at``: from then on nobody finds it.
What was found before may still be in use, so it is deleted once every run that had not ended then
has, or after ``GRACE_SECONDS``; first it is asked again whether anything came to name it.

It is deleted table by table in portions, its row last. A deletion that is cut off is gone on with,
for the row is still there and nobody else reads it.
"""

from typing import Final

import sqlalchemy as sa

from serpline.store.database import Connection
from serpline.store.maintenance.prune import ENDED, Place, Portion, Terms
from serpline.store.maintenance.retention import OF_RUN

GRACE_SECONDS: Final = 86_400.0
RUNS_MAX: Final = 20

# The combined figures of a run are many rows, but of one market and device all name the same runs:
# one row of each is read (a skip scan of the table's key).
_NAMED: Final = """
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
_OLD: Final = "r.status = ANY(:ended) AND r.completed_at < :cutoff AND r.expired_at IS NULL"
_CANDIDATES: Final = sa.text(
    f"SELECT r.id, r.completed_at FROM pipeline_executions r WHERE {_OLD}"
    " AND (r.completed_at, r.id) > (CAST(:at AS timestamptz), CAST(:id AS uuid))"
    " ORDER BY r.completed_at, r.id LIMIT :limit FOR UPDATE SKIP LOCKED"
)
# A statement of its own: what took the run as its source before it was locked is committed by now.
_EXPIRE: Final = sa.text(
    "UPDATE pipeline_executions r SET expired_at = now()"
    f" WHERE r.id = ANY(CAST(:runs AS uuid[])) AND NOT ({_NAMED})"
)
_NEXT: Final = sa.text(
    "SELECT r.id FROM pipeline_executions r WHERE r.expired_at IS NOT NULL AND r.id > :after"
    " AND (r.expired_at < now() - make_interval(secs => :grace) OR NOT EXISTS ("
    " SELECT FROM pipeline_executions o WHERE o.status IN ('pending', 'running', 'paused')"
    " AND o.created_at <= r.expired_at)) ORDER BY r.id LIMIT 1 FOR UPDATE SKIP LOCKED"
)
_HOLD: Final = sa.text(
    "SELECT id FROM pipeline_executions r WHERE id = :run AND expired_at IS NOT NULL"
    " FOR UPDATE SKIP LOCKED"
)
_RESTORE: Final = sa.text(
    f"UPDATE pipeline_executions r SET expired_at = NULL WHERE r.id = :run AND ({_NAMED})"
)
_NOBODY: Final = "00000000-0000-0000-0000-000000000000"


async def expire(conn: Connection, terms: Terms, place: Place) -> Portion:
    """Have the next few old runs that nothing names be found by nobody any more."""
    cutoff = terms.cutoffs["results_days"]
    if cutoff is None:
        return Portion()
    at, after = place or ["-infinity", _NOBODY]
    limit = min(RUNS_MAX, terms.rows_max)
    values = {"ended": ENDED, "cutoff": cutoff, "at": at, "id": after, "limit": limit}
    found = (await conn.execute(_CANDIDATES, values)).all()
    if not found:
        return Portion()
    await conn.execute(_EXPIRE, {"runs": [row.id for row in found]})
    last = found[-1]
    return Portion(place=[last.completed_at.isoformat(), str(last.id)])


async def delete_expired(conn: Connection, terms: Terms, place: Place) -> Portion:
    """Delete some rows of one table of an expired run; its row when nothing else is left.

    ``place``: the run, and the number of the table in ``OF_RUN``.
    """
    run_id, number = place or [_NOBODY, len(OF_RUN)]
    if number < len(OF_RUN):
        if (await conn.execute(_HOLD, {"run": run_id})).first() is None:
            return Portion(place=[run_id, len(OF_RUN)])
        table = list(OF_RUN)[number]
        deleted = await _delete(conn, table, run_id, terms.rows_max)
        is_over = deleted < terms.rows_max
        return Portion({table: deleted}, [run_id, number + is_over])
    found = await conn.execute(_NEXT, {"after": run_id, "grace": GRACE_SECONDS})
    chosen = found.scalar_one_or_none()
    if chosen is None:
        return Portion()
    named = await conn.execute(_RESTORE, {"run": chosen})
    return Portion(place=[str(chosen), len(OF_RUN) if named.rowcount else 0])


async def _delete(conn: Connection, table: str, run_id: str, rows_max: int) -> int:
    where = OF_RUN[table]
    statement = (
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("
        f"SELECT ctid FROM {table} WHERE {where} LIMIT :limit))"
    )
    return (await conn.execute(sa.text(statement), {"run": run_id, "limit": rows_max})).rowcount


async def count_expired(conn: Connection, terms: Terms) -> dict[str, int]:
    """How many rows would go with the runs that are past their days and named by nothing."""
    cutoff = terms.cutoffs["results_days"]
    counted = dict.fromkeys(OF_RUN, 0)
    if cutoff is None:
        return counted
    found = await conn.execute(
        sa.text(
            f"SELECT r.id FROM pipeline_executions r WHERE {_OLD} AND NOT ({_NAMED})"
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
