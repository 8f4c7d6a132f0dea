"""Worker processes with scripted phases over one database, to be killed, frozen and told to end."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from harness.forks import Fork, be_scripted
from harness.heart import METRICS, Heart, make_heart
from harness.scripted import make_tables
from harness.waiting import PATIENCE_SECONDS, until
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
"""Quick to notice a death; otherwise an ordinary worker's settings."""


@dataclass(slots=True)
class Workers:
    """Worker processes over one database."""

    heart: Heart
    environment: Mapping[str, str]
    directory: Path
    processes: list[Fork] = field(default_factory=list)

    async def start(self, chunk_size: int = 500) -> Fork:
        """A worker process with scripted phases."""
        log = self.directory / f"worker-{len(self.processes)}.log"
        process = Fork(be_scripted, self.environment, log, chunk_size)
        self.processes.append(process)
        return process

    def close(self) -> None:
        """Kill what still lives."""
        for process in self.processes:
            process.close()

    def logs(self) -> str:
        """What the workers have logged."""
        return "\n".join(path.read_text() for path in sorted(self.directory.glob("*.log")))

    async def ended(self, run_id: UUID, seconds: float = PATIENCE_SECONDS) -> RunStatus:
        """Wait for the run's end."""

        async def is_over() -> bool:
            return await self.heart.status(run_id) in ENDED_RUNS

        try:
            await until(is_over, "the end of the run", seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None
        return await self.heart.status(run_id)

    async def run(self, *items: str, mode: PipelineMode = PipelineMode.MANUAL) -> UUID:
        """Start a run of one lane; the workers' timers find it."""
        return await self.heart.start({METRICS: items}, mode, lanes=[METRICS])

    async def row(self, process: Fork) -> dict[str, object]:
        """What the database knows of a worker process."""
        (row,) = await self.heart.query(
            "SELECT *, extract(epoch FROM ended_at - heartbeat_at)::float AS waited_seconds"
            " FROM workers WHERE pid = :pid",
            pid=process.pid,
        )
        return row

    async def chunk(self, run_id: UUID) -> dict[str, object]:
        """The run's one chunk."""
        sql = "SELECT id FROM chunks WHERE run_id = :run"
        return await self.heart.chunk(await self.heart.one(sql, run=run_id))


@asynccontextmanager
async def scripted_workers(
    database: Database, url: str, directory: Path, **settings: str
) -> AsyncIterator[Workers]:
    """No worker yet, over a fresh database. ``settings`` are variables of the workers."""
    await make_tables(database)
    environment = {**settings, "SERPLINE_DATABASE_URL": url}
    made = Workers(make_heart(database), environment, directory)
    try:
        yield made
    finally:
        made.close()
