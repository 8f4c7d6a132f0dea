"""Worker processes over one database, each a fork with its own log."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness.forks import Fork, enter_fork, preload
from harness.scripted import scripted_phases
from harness.worker_process import work

preload(__name__)
preload("harness.warm")
END_SECONDS = 15.0


def worker_main(environment: Mapping[str, str], log: Path, alive: Connection) -> None:
    """Run a worker with the real phases in a fork."""
    enter_fork(environment, log, alive)
    asyncio.run(work())


def scripted_worker_main(
    environment: Mapping[str, str], log: Path, alive: Connection, chunk_size: int
) -> None:
    """Run a worker with scripted phases in a fork."""
    enter_fork(environment, log, alive)
    asyncio.run(work(scripted_phases(chunk_size)))


@dataclass(slots=True)
class WorkerPool:
    """Workers with the variables of ``environment``; their logs are in ``directory``."""

    environment: Mapping[str, str]
    directory: Path
    processes: list[Fork] = field(default_factory=list)

    def start(self, main: Callable[..., None], *arguments: Any, **settings: str) -> Fork:
        """Start a fork that runs ``main`` with further arguments and variables."""
        log = self.directory / f"worker-{len(self.processes) + 1}.log"
        process = Fork(main, {**self.environment, **settings}, log, *arguments)
        self.processes.append(process)
        return process

    async def end(self) -> None:
        """Terminate every running worker; kill it after ``END_SECONDS``."""
        ends = [process.end(END_SECONDS) for process in self.processes]
        for end in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(end, BaseException):
                raise end

    def kill(self) -> None:
        """Kill every running worker."""
        for process in self.processes:
            process.close()

    def logs(self) -> str:
        """The logs of all workers."""
        logs = sorted(self.directory.glob("worker-*.log"))
        return "\n".join(log.read_text(errors="replace") for log in logs)
