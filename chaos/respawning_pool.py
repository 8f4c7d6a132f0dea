"""Workers with scripted phases, each replaced as soon as it dies."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.inline import Harness, make_harness
from harness.scripted import make_tables
from harness.worker_pool import WorkerPool, scripted_worker_main

from serpline.store.database import Database


@dataclass(slots=True)
class RespawningPool:
    """Workers over one database, each replaced as soon as it dies."""

    harness: Harness
    pool: WorkerPool
    chunk_size: int
    exit_codes: Counter[int] = field(default_factory=Counter)
    """Ends of workers by exit code; -9: killed."""

    async def keep_one(self) -> None:
        """Keep one worker running until cancelled."""
        while True:
            worker = self.pool.start(scripted_worker_main, self.chunk_size)
            try:
                self.exit_codes[await worker.wait()] += 1
            finally:
                worker.close()

    def running(self) -> list[int]:
        """The pids of the running workers, oldest first."""
        return [worker.pid for worker in self.pool.processes if worker.is_running]

    def kill(self, pid: int) -> bool:
        """``kill -9``; False if no running worker has this pid."""
        for worker in self.pool.processes:
            if worker.is_running and worker.pid == pid:
                worker.kill()
                return True
        return False


@asynccontextmanager
async def respawning_pool(
    url: str, directory: Path, *, workers: int, chunk_size: int, environment: Mapping[str, str]
) -> AsyncIterator[RespawningPool]:
    """Keep ``workers`` workers running over a fresh database."""
    database = await Database.connect(url)
    try:
        await make_tables(database)
        pool = WorkerPool({**environment, "SERPLINE_DATABASE_URL": url}, directory)
        made = RespawningPool(make_harness(database), pool, chunk_size)
        keepers = [asyncio.create_task(made.keep_one()) for _ in range(workers)]
        try:
            yield made
        finally:
            for keeper in keepers:
                keeper.cancel()
            for result in await asyncio.gather(*keepers, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result
    finally:
        await database.close()
