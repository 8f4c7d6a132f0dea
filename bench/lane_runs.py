"""Runs of one lane, which its phase plans or whose items are given by name."""

from collections.abc import Sequence
from uuid import UUID

from harness.worker_parts import create_run

from serpline.core.clock import SystemClock
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.phases import LaneKey
from serpline.store.database import Database
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.runs import items, planning, runs

LANE = LaneKey(PhaseName.KEYWORD_METRICS, ContentType.ALL)


async def start_run(database: Database, lane: LaneKey) -> UUID:
    """Create a run of one pending lane and wake the workers."""
    run_id = await create_run(database, [lane])
    async with database.transaction() as conn:
        await wake(conn, [WakeUp("run", str(run_id))])
    return run_id


async def start_planned_run(
    database: Database, lane: LaneKey, names: Sequence[str], chunk_size: int
) -> UUID:
    """Create a running run whose one lane has these items; wake the workers for its chunks."""
    run_id, now = await create_run(database, [lane], is_due=False), SystemClock().now()
    async with database.transaction() as conn:
        await runs.change_run(conn, run_id, "start", now)
        (view,) = await runs.lanes(conn, run_id)
        await runs.change_lane(conn, view.id, "start", now)
        await planning.lock_unplanned(conn, view.id)
        await items.plan_given(conn, view.id, names, chunk_size)
        ready = await planning.ready_of(conn, view.id)
        await wake(conn, [WakeUp("chunk", str(chunk_id)) for chunk_id in ready])
    return run_id


async def count_completed(database: Database, run_id: UUID) -> int:
    """Completed items of the run, by the chunks' counters."""
    async with database.transaction() as conn:
        return sum(view.completed for view in await runs.lanes(conn, run_id))
