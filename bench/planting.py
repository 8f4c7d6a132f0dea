"""Runs of one lane: for a phase that plans itself, or with items given by name."""

from collections.abc import Sequence
from uuid import UUID

from serpline.config.run import PipelineConfig
from serpline.core.clock import SystemClock
from serpline.core.ids import new_id
from serpline.domain.names import ContentType, PhaseName, PipelineMode
from serpline.domain.phases import LaneKey
from serpline.domain.states import LaneStatus
from serpline.store.database import Database
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.runs import items, planning, runs

LANE = LaneKey(PhaseName.KEYWORD_METRICS, ContentType.ALL)


async def start_run(database: Database, lane: LaneKey, *, looked_at: bool = True) -> UUID:
    """A run of one pending lane; unless ``looked_at``, no timer starts it."""
    run_id = new_id()
    async with database.transaction() as conn:
        await runs.create(
            conn,
            run_id,
            mode=PipelineMode.MANUAL,
            config=PipelineConfig().to_json(),
            priority=0,
            lanes=[(lane, LaneStatus.PENDING)],
            looked_at=looked_at,
        )
        if looked_at:
            await wake(conn, [WakeUp("run", str(run_id))])
    return run_id


async def plant(database: Database, lane: LaneKey, names: Sequence[str], chunk_size: int) -> UUID:
    """A running run whose one lane has these items, its chunks announced to the workers."""
    run_id, now = await start_run(database, lane, looked_at=False), SystemClock().now()
    async with database.transaction() as conn:
        await runs.change_run(conn, run_id, "start", now)
        (view,) = await runs.lanes(conn, run_id)
        await runs.change_lane(conn, view.id, "start", now)
        await planning.lock_unplanned(conn, view.id)
        await items.plan_given(conn, view.id, names, chunk_size)
        ready = await planning.ready_of(conn, view.id)
        await wake(conn, [WakeUp("chunk", str(chunk_id)) for chunk_id in ready])
    return run_id


async def completed(database: Database, run_id: UUID) -> int:
    """How many items of the run are settled with a result, by the chunks' counters."""
    async with database.transaction() as conn:
        return sum(view.completed for view in await runs.lanes(conn, run_id))
