"""Worker processes with scripted phases over one database, to kill, freeze and terminate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from harness.forks import Fork
from harness.inline import METRICS, Harness, make_harness
from harness.scripted import make_tables
from harness.waiting import WAIT_SECONDS_MAX, until
from harness.worker_pool import WorkerPool, scripted_worker_main
from serpline.domain.names import PipelineMode
from serpline.domain.states import ENDED_RUNS, RunStatus
from serpline.store.database import Database

DEAD_AFTER_SECONDS = 1.0
QUICK = {
    "SERPLINE_WORKER_HEARTBEAT_SECONDS": "0.2",
    "SERPLINE_WORKER_DEAD_AFTER_SECONDS": str(DEAD_AFTER_SECONDS),
    "SERPLINE_LOOK_AGAIN_SECONDS": "1",
    "SERPLINE_SHUTDOWN_GRACE_SECONDS": "1",
}
"""Settings that detect a death quickly; all others are the defaults."""


@dataclass(slots=True)
class ScriptedWorkers:
    """Worker processes over one database, and a harness that queries it."""

    harness: Harness
    pool: WorkerPool

    async def start(self, chunk_size: int = 500) -> Fork:
        """Start a worker process with scripted phases."""
        return self.pool.start(scripted_worker_main, chunk_size)

    async def wait_for_end(self, run_id: UUID, seconds: float = WAIT_SECONDS_MAX) -> RunStatus:
        """Wait for the run's end."""

        async def is_over() -> bool:
            return await self.harness.status(run_id) in ENDED_RUNS

        try:
            await until(is_over, "the end of the run", seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.pool.logs()}") from None
        return await self.harness.status(run_id)

    async def run(self, *items: str, mode: PipelineMode = PipelineMode.MANUAL) -> UUID:
        """Create a run of one lane. The workers' timers find it."""
        return await self.harness.start({METRICS: items}, mode, lanes=[METRICS])

    async def row(self, process: Fork) -> dict[str, object]:
        """A worker process's row in the database."""
        (row,) = await self.harness.query(
            "SELECT *, extract(epoch FROM ended_at - heartbeat_at)::float AS waited_seconds"
            " FROM workers WHERE pid = :pid",
            pid=process.pid,
        )
        return row

    async def chunk(self, run_id: UUID) -> dict[str, object]:
        """The run's one chunk."""
        sql = "SELECT id FROM chunks WHERE run_id = :run"
        return await self.harness.chunk(await self.harness.one(sql, run=run_id))


@asynccontextmanager
async def scripted_workers(
    database: Database, url: str, directory: Path, **settings: str
) -> AsyncIterator[ScriptedWorkers]:
    """Workers over a fresh database, none started. ``settings`` are their variables."""
    await make_tables(database)
    pool = WorkerPool({**settings, "SERPLINE_DATABASE_URL": url}, directory)
    try:
        yield ScriptedWorkers(make_harness(database), pool)
    finally:
        pool.kill()
