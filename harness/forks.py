"""Processes that start fast: forks of a loaded process, which saves the imports.

Each has its own connections and its own log, and ends when this process ends.
"""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness.environment import clean_environment
from serpline.core.logging import configure

forks = multiprocessing.get_context("forkserver")
_preloaded: list[str] = []


def preload(name: str) -> None:
    """Load the module before the first fork."""
    _preloaded.append(name)
    forks.set_forkserver_preload(_preloaded)


preload(__name__)


def enter_fork(environment: Mapping[str, str], log: Path, alive: Connection) -> None:
    """Set up a fork: ``alive``, which closes with its parent, becomes its stdin."""
    os.dup2(alive.fileno(), 0)
    log_file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log_file, 1)
    os.dup2(log_file, 2)
    os.environ.clear()
    os.environ.update(environment)
    configure("INFO")


class Fork:
    """A forked process."""

    def __init__(
        self, target: Callable[..., None], environment: Mapping[str, str], log: Path, *more: Any
    ) -> None:
        """Call ``target`` in a fork with the environment, the log, a pipe and ``more``.

        The environment lacks this machine's settings. ``enter_fork`` makes the pipe its stdin.
        """
        self._alive, theirs = forks.Pipe()
        environment = {**clean_environment(), **environment}
        self._process = forks.Process(target=target, args=(environment, log, theirs, *more))
        self._process.start()
        theirs.close()
        self._over = asyncio.Event()
        self._sentinel = self._process.sentinel
        asyncio.get_running_loop().add_reader(self._sentinel, self._ended)

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return not self._over.is_set() and self._process.is_alive()

    def send_signal(self, number: int) -> None:
        """Send a signal, if the process still runs."""
        if self.is_running:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """``kill -9``."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for its end; returns the exit code, negative for the signal that ended it."""
        await self._over.wait()
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    async def end(self, seconds: float) -> int:
        """Terminate it, and kill it after ``seconds``; returns the exit code."""
        self.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds):
                return await self.wait()
        finally:
            self.close()

    def close(self) -> None:
        """Kill it if it still runs, and release its resources."""
        if not self._over.is_set():
            self._process.kill()
            self._process.join()
            self._ended()

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sentinel)
        self._alive.close()
        self._over.set()
