"""Workers with scripted phases that cost next to nothing to start: forks of a loaded process.

A row that kills workers by the hundred would otherwise spend its time on imports. Each is a process
of its own, with its own connections and its own log; it ends when this process does.
"""

import asyncio
import multiprocessing
import os
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.support.heart import Heart, make_heart
from tests.support.pipeline_worker import work
from tests.support.scripted import make_tables, scripted_phases

from serpline.core.logging import configure
from serpline.store.database import Database

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__, "chaos.lineage"])


def become(environment: Mapping[str, str], log: Path, alive: Connection) -> None:
    """What a fork does first: ``alive`` ends with its parent, and becomes its stdin."""
    os.dup2(alive.fileno(), 0)
    told = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(told, 1)
    os.dup2(told, 2)
    os.environ.update(environment)
    configure("INFO")


def _be_worker(
    environment: Mapping[str, str], log: Path, alive: Connection, chunk_size: int
) -> None:
    become(environment, log, alive)
    asyncio.run(work(scripted_phases(chunk_size)))


@dataclass(slots=True)
class Nursery:
    """Workers over one database, each replaced as soon as it dies."""

    heart: Heart
    environment: Mapping[str, str]
    directory: Path
    chunk_size: int
    ended: Counter[int] = field(default_factory=Counter)
    """How often a worker ended with which exit code; -9: killed."""
    _living: dict[int, ForkServerProcess] = field(default_factory=dict)
    _born: int = 0

    async def keep_one(self) -> None:
        """Have one worker, again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._born += 1
            ours, theirs = FORKS.Pipe()
            log = self.directory / f"worker-{self._born}.log"
            arguments = (self.environment, log, theirs, self.chunk_size)
            worker = FORKS.Process(target=_be_worker, args=arguments)
            over = asyncio.Event()
            try:
                worker.start()
                theirs.close()
                assert worker.pid is not None
                self._living[worker.pid] = worker
                loop.add_reader(worker.sentinel, over.set)
                await over.wait()
                loop.remove_reader(worker.sentinel)
            finally:
                if worker.pid is not None:
                    worker.kill()
                    worker.join()
                    del self._living[worker.pid]
                ours.close()
            assert worker.exitcode is not None
            self.ended[worker.exitcode] += 1

    def living(self) -> list[int]:
        """The pids of those who live, in the order of their birth."""
        return [pid for pid, worker in self._living.items() if worker.is_alive()]

    def kill(self, pid: int) -> bool:
        """``kill -9``; False if it is no living worker of ours."""
        worker = self._living.get(pid)
        if worker is None or not worker.is_alive():
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
