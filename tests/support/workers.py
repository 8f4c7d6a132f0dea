"""Worker processes with scripted phases over one database, to be killed, frozen and told to end."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from tests.support.environment import clean
from tests.support.heart import METRICS, PATIENCE_SECONDS, Heart, make_heart, until
from tests.support.scripted import make_tables

from serpline.domain.names import PipelineMode
from serpline.domain.states import ENDED_RUNS, RunStatus
from serpline.store.database import Database

# Many are started side by side, on a machine that may be busy.
LOAD_SECONDS = 120.0
ROOT = Path(__file__).parents[2]
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
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def start(self, chunk_size: int = 500) -> asyncio.subprocess.Process:
        """A worker that is loaded and has begun."""
        process = await self.load(chunk_size)
        await self.begin(process)
        return process

    async def load(self, chunk_size: int = 500) -> asyncio.subprocess.Process:
        """A worker that is loaded, and waits for ``begin``."""
        with (self.directory / f"worker-{len(self.processes)}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.support.worker_main",
                cwd=ROOT,
                env={**self.environment, "SCRIPTED_CHUNK_SIZE": str(chunk_size)},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        self.processes.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(LOAD_SECONDS):
            assert await process.stdout.readline() == b"ready\n", self.logs()
        return process

    async def begin(self, process: asyncio.subprocess.Process) -> None:
        """Let a loaded worker begin."""
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        await process.stdin.drain()

    async def close(self) -> None:
        """Kill what still lives."""
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
            if process.stdin is not None:
                process.stdin.close()

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

    async def row(self, process: asyncio.subprocess.Process) -> dict[str, object]:
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
    environment = {**clean(), **settings, "SERPLINE_DATABASE_URL": url}
    made = Workers(make_heart(database), environment, directory)
    try:
        yield made
    finally:
        await made.close()
