"""Workers with scripted phases that cost next to nothing to start: forks of a loaded process.

A row that kills workers by the hundred would otherwise spend its time on imports. Each is a process
of its own, with its own connections and its own log; it ends when this process does.
"""

import asyncio
import multiprocessing
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

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


class Fork:
    """A forked process; ``exit_code`` is negative for the signal it died of."""

    def __init__(
        self, target: Callable[..., None], environment: Mapping[str, str], log: Path, *more: Any
    ) -> None:
        """``target`` is called with the environment, the log, what is to become its stdin (see
        ``become``) and ``more``."""
        self._alive, theirs = FORKS.Pipe()
        self.process: ForkServerProcess = FORKS.Process(
            target=target, args=(environment, log, theirs, *more)
        )
        self.process.start()
        theirs.close()
        self.over = asyncio.Event()
        self._sentinel = self.process.sentinel
        asyncio.get_running_loop().add_reader(self._sentinel, self._ended)

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self.process.pid is not None
        return self.process.pid

    @property
    def exit_code(self) -> int:
        """Of one that has ended, or is about to."""
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode

    def close(self) -> None:
        """Kill it if it still lives, and let go of it."""
        if not self.over.is_set():
            self.process.kill()
            self.process.join()
            self._ended()

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sentinel)
        self._alive.close()
        self.over.set()


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
        while True:
            self._born += 1
            log = self.directory / f"worker-{self._born}.log"
            worker = Fork(_be_worker, self.environment, log, self.chunk_size)
            self._living[worker.pid] = worker.process
            try:
                await worker.over.wait()
            finally:
                worker.close()
                del self._living[worker.pid]
            self.ended[worker.exit_code] += 1

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
