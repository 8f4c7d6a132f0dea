"""A report of one run reads that run only, however many others there are."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from harness.plans import count_handled_rows
from sqlalchemy import text

from serpline.domain.names import ContentType, PhaseName
from serpline.domain.phases import LaneKey
from serpline.domain.states import LaneStatus
from serpline.store.database import Connection, Database
from serpline.store.results import reports
from serpline.store.runs import batches, runs

MANY = 60
OF_ONE = 200
REPORTS: dict[str, Callable[[Connection, UUID], Awaitable[Any]]] = {
    "lanes": runs.lanes,
    "spending": reports.spending,
    "batches": lambda conn, run: batches.of_run(conn, run, 1000),
}


@pytest.mark.parametrize("name", REPORTS)
async def test_a_report_reads_its_own_run(db: Database, name: str) -> None:
    """It does among many runs, each of twenty lanes of ten chunks with a call and a batch."""
    lanes = [
        (LaneKey(phase, kind), LaneStatus.RUNNING)
        for phase in list(PhaseName)[:5]
        for kind in ContentType
    ]
    fill = (
        "INSERT INTO chunks (lane_id, no, run_id, planned, next_check_at)"
        " SELECT id, n, pipeline_execution_id, 1, now() FROM pipeline_phase_status,"
        " generate_series(1, 10) n",
        "INSERT INTO provider_calls (id, key, provider, operation, identity, freshness, shared,"
        " status, attempt, run_id, chunk_id, started_at) SELECT gen_random_uuid(),"
        " sha256(int8send(id)), 'x', 'x', 'x', '', false, 'ok', 1, run_id, id, now()"
        " FROM chunks",
        "INSERT INTO provider_batches (chunk_id, generation, provider, name, secret_path, status,"
        " stage, priority, items) SELECT id, 1, 'x', 'b' || id, 's' || id, 'ingested',"
        " 'first', 'normal', '{}' FROM chunks",
        "ANALYZE",
    )
    made = [uuid4() for _ in range(MANY)]
    async with db.transaction() as conn:
        for run_id in made:
            await runs.create(conn, run_id, mode="manual", config={}, lanes=lanes)
        for statement in fill:
            await conn.execute(text(statement))
    async with db.transaction() as conn:
        with count_handled_rows() as seen:
            found = await REPORTS[name](conn, made[-1])
    assert found
    assert seen.rows < 10 * OF_ONE
