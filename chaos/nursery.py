"""Workers with scripted phases, each replaced as soon as it dies."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.forks import Fork, be_scripted
from harness.heart import Heart, make_heart
from harness.scripted import make_tables

from serpline.store.database import Database


@dataclass(slots=True)
class Nursery:
    """Workers over one database, each replaced as soon as it dies."""

    heart: Heart
    environment: Mapping[str, str]
    directory: Path
    chunk_size: int
    ended: Counter[int] = field(default_factory=Counter)
    """How often a worker ended with which exit code; -9: killed."""
    _living: dict[int, Fork] = field(default_factory=dict)
    _born: int = 0

    async def keep_one(self) -> None:
        """Have one worker, again and again, until cancelled."""
        while True:
            self._born += 1
            log = self.directory / f"worker-{self._born}.log"
            worker = Fork(be_scripted, self.environment, log, self.chunk_size)
            self._living[worker.pid] = worker
            try:
                self.ended[await worker.wait()] += 1
            finally:
                worker.close()
                del self._living[worker.pid]

    def living(self) -> list[int]:
        """The pids of those who live, in the order of their birth."""
        return [pid for pid, worker in self._living.items() if worker.lives]

    def kill(self, pid: int) -> bool:
        """``kill -9``; False if it is no living worker of ours."""
        worker = self._living.get(pid)
        if worker is None or not worker.lives:
            return False
        worker.kill()
        return True


@asynccontextmanager
async def nursery(
    url: str, directory: Path, *, workers: int, chunk_size: int, environment: Mapping[str, str]
) -> AsyncIterator[Nursery]:
    """So many workers, kept alive over a fresh database."""
    database = await Database.connect(url)
    try:
        await make_tables(database)
        settings = {**environment, "SERPLINE_DATABASE_URL": url}
        made = Nursery(make_heart(database), settings, directory, chunk_size)
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
