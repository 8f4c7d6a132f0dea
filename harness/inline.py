"""A worker with scripted phases in this process, and queries on its database.

The test calls its parts: there is no queue and no timer. Time is the machine's plus
``harness.clock.ahead_seconds``.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import text

from harness.scripted import make_tables, script, scripted_phases
from harness.waiting import until
from harness.worker_parts import WorkerParts, create_run
from serpline.config.run import PipelineConfig
from serpline.core.clock import SystemClock
from serpline.core.ids import new_id
from serpline.domain.names import ContentType, PhaseName, PipelineMode
from serpline.domain.phases import LaneKey, LaneView, lanes_of
from serpline.domain.states import LaneStatus, RunStatus
from serpline.pipeline.service import PipelineService
from serpline.pipeline.settler import BeforeSettle, nothing_to_flush
from serpline.pipeline.state_tracker import StateTracker
from serpline.pipeline.worker import ChunkWorker
from serpline.store.database import Database
from serpline.store.runs import chunks, runs
from serpline.store.runs.chunks import OwnedChunk

ROUNDS_MAX = 60
SILENCE_SECONDS = 1800.0

ORGANIC, NEWS, VIDEO, ALL = (
    ContentType.ORGANIC,
    ContentType.NEWS,
    ContentType.VIDEO,
    ContentType.ALL,
)
METRICS = LaneKey(PhaseName.KEYWORD_METRICS, ALL)
COMBINED = LaneKey(PhaseName.DSI_CALCULATION, ALL)


class TravelClock(SystemClock):
    """The machine's clock, which a test sets ahead: ``ahead_seconds``, ``frozen_seconds``."""

    ahead_seconds = 0.0
    frozen_seconds = 0.0

    def monotonic(self) -> float:
        """The monotonic clock after ``frozen_seconds`` in which this process did not run."""
        return super().monotonic() + self.frozen_seconds

    def now(self) -> datetime:
        """The current instant, plus ``ahead_seconds``."""
        return super().now() + timedelta(seconds=self.ahead_seconds)


@dataclass(frozen=True)
class Harness(WorkerParts):
    """One worker's parts, called by a test."""

    clock: TravelClock

    @cached_property
    def service(self) -> PipelineService:
        """The service that starts, pauses and cancels runs."""
        return PipelineService(self.database, self.clock)

    def worker_with(
        self,
        *,
        tracker: StateTracker | None = None,
        silence_seconds: float = SILENCE_SECONDS,
        before_settle: BeforeSettle = nothing_to_flush,
    ) -> ChunkWorker:
        """A chunk worker of this process with other parts."""
        return ChunkWorker(
            self.database,
            self.clock,
            self.phases,
            tracker or self.tracker,
            self.lifeline,
            silence_seconds=silence_seconds,
            before_settle=before_settle,
        )

    async def start(
        self,
        items: Mapping[LaneKey, Iterable[str]],
        mode: PipelineMode = PipelineMode.MANUAL,
        *,
        lanes: Iterable[LaneKey] | None = None,
        own: Mapping[str, Any] = MappingProxyType({}),
        **config: Any,
    ) -> UUID:
        """Create a run whose lanes will plan these items; ``lanes`` limits its lanes.

        ``own``: the lanes' settings by content type (``PipelineConfig.lanes``).
        """
        run_id = new_id()
        await script(self.database, run_id, items)
        made = PipelineConfig(lanes=own, **config).for_mode(mode)
        keys = lanes or lanes_of(made.content_types)
        return await create_run(self.database, keys, made, run_id=run_id, mode=mode)

    async def drive(self, run_id: UUID) -> RunStatus:
        """Advance and work by turns until the run ends; each round sets the clock 400 s ahead."""
        for _ in range(ROUNDS_MAX):
            status = await self.orchestrator.advance_and_plan(run_id)
            assert status is not None
            if status is not RunStatus.RUNNING:
                return status
            for chunk_id in await self.ready(run_id):
                await self.worker.work(chunk_id)
            self.clock.ahead_seconds += 400
        raise AssertionError(f"run {run_id} has not ended after {ROUNDS_MAX} rounds")

    async def plan(self, run_id: UUID) -> list[int]:
        """Advance and plan; returns the ids of the ready chunks."""
        await self.orchestrator.advance_and_plan(run_id)
        return await self.ready(run_id)

    async def ready(self, run_id: UUID) -> list[int]:
        """The ids of the run's ready chunks."""
        return await self.column(
            "SELECT id FROM chunks WHERE run_id = :run AND status = 'ready' ORDER BY id", run=run_id
        )

    async def claim(self, chunk_id: int, worker_id: int) -> OwnedChunk | None:
        """Claim a chunk for a worker, even if it is suspect."""
        async with self.database.transaction() as conn:
            return await chunks.claim(conn, chunk_id, worker_id, divisible=(), suspect=False)

    async def query(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        """The rows of a statement."""
        async with self.database.transaction() as conn:
            rows = await conn.execute(text(sql), values)
            return [dict(row) for row in rows.mappings()] if rows.returns_rows else []

    async def column(self, sql: str, **values: Any) -> list[Any]:
        """The one column of a statement."""
        return [value for row in await self.query(sql, **values) for value in row.values()]

    async def one(self, sql: str, **values: Any) -> Any:
        """The one value of a statement."""
        (value,) = await self.column(sql, **values)
        return value

    async def lanes(self, run_id: UUID) -> dict[LaneKey, LaneView]:
        """The run's lanes by key."""
        async with self.database.transaction() as conn:
            return {lane.key: lane for lane in await runs.lanes(conn, run_id)}

    async def states(self, run_id: UUID) -> dict[str, LaneStatus]:
        """The states of the run's lanes, by name."""
        return {str(key): lane.status for key, lane in (await self.lanes(run_id)).items()}

    async def status(self, run_id: UUID) -> RunStatus:
        """The run's status."""
        found = await self.one("SELECT status FROM pipeline_executions WHERE id = :r", r=run_id)
        return RunStatus(found)

    async def items(self, run_id: UUID) -> dict[str, dict[str, Any]]:
        """The run's items by name. A test uses a name once."""
        rows = await self.query(
            "SELECT i.item, i.status, i.attempts, i.next_attempt_at, i.error_category, i.error"
            " FROM items i JOIN pipeline_phase_status l ON l.id = i.lane_id"
            " WHERE l.pipeline_execution_id = :run",
            run=run_id,
        )
        return {row["item"]: row for row in rows}

    async def results(self, run_id: UUID) -> list[str]:
        """The items with a result, sorted; an item with two results is listed twice."""
        return await self.column(
            "SELECT s.item FROM scripted_results s JOIN pipeline_phase_status l ON l.id = s.lane_id"
            " WHERE l.pipeline_execution_id = :run ORDER BY s.item",
            run=run_id,
        )

    async def attempts(self, item: str) -> int:
        """How often an item was worked on."""
        sql = "SELECT count(*) FROM scripted_attempts WHERE item = :item"
        return int(await self.one(sql, item=item))

    async def wait_until_attempted(self, item: str) -> None:
        """Wait until work on the item has begun."""

        async def is_attempted() -> bool:
            return await self.attempts(item) > 0

        await until(is_attempted, f"work on {item}")

    async def chunk(self, chunk_id: int) -> dict[str, Any]:
        """A chunk's row, with ``seconds_to_check`` until its next check."""
        (row,) = await self.query(
            "SELECT *, extract(epoch FROM next_check_at - now())::float AS seconds_to_check"
            " FROM chunks WHERE id = :id",
            id=chunk_id,
        )
        return row

    async def events(self, run_id: UUID) -> list[str]:
        """The run's events in order: ``type`` or ``type lane``."""
        rows = await self.query(
            "SELECT event_type, detail FROM pipeline_events WHERE run_id = :run ORDER BY id",
            run=run_id,
        )
        return [" ".join(filter(None, (r["event_type"], r["detail"].get("lane")))) for r in rows]

    async def waiting(self) -> list[str]:
        """The waiting wake-ups, as ``type:target``."""
        sql = "SELECT queueing_lock FROM procrastinate_jobs WHERE status = 'todo' ORDER BY 1"
        return await self.column(sql)

    async def wait_for_beats(self, count: int = 2) -> None:
        """Wait for ``count`` further heartbeats."""
        sql = "SELECT heartbeat_at FROM workers WHERE id = :id"
        for _ in range(count):
            before = await self.one(sql, id=self.lifeline.worker_id)

            async def is_later(before: datetime = before) -> bool:
                return bool(await self.one(sql, id=self.lifeline.worker_id) > before)

            await until(is_later, "a heartbeat")

    async def delete_wakeups(self) -> None:
        """Delete every waiting wake-up."""
        await self.query("DELETE FROM procrastinate_jobs")


def make_harness(
    database: Database,
    *,
    chunk_size: int = 500,
    chance: Callable[[], float] = lambda: 0.5,
    heartbeat_seconds: float = 0.2,
    dead_after_seconds: float = 20.0,
) -> Harness:
    """One that does not work yet: enter its ``lifeline.running()``."""
    return Harness.make(
        database,
        TravelClock(),
        scripted_phases(chunk_size),
        chance=chance,
        heartbeat_seconds=heartbeat_seconds,
        dead_after_seconds=dead_after_seconds,
    )


@asynccontextmanager
async def open_harness(database: Database, **settings: Any) -> AsyncIterator[Harness]:
    """A running harness over a fresh database, with the scripted phases' tables."""
    await make_tables(database)
    harness = make_harness(database, **settings)
    async with harness.lifeline.running():
        harness.lifeline._takeover_grace_until = 0.0  # as one that has run for long
        yield harness
