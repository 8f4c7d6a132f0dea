"""Worker processes of a world, one after another: each starts after the death of the last.

Only one runs at a time, so the calls that each leaves unrecorded can be counted at its death.
``CHAOS_POINT`` and ``CHAOS_PASSING`` name the point at which it kills itself. With
``CHAOS_WEB_PORT`` it is the web process, otherwise a worker.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from harness.forks import Fork, enter_fork, preload
from harness.points import arm
from harness.waiting import until
from harness.worker_process import work
from harness.world import World

from serpline.api.app import create_app
from serpline.app.services import open_services
from serpline.cli.processes import LOOPBACK, until_stopped
from serpline.cli.webserver import serving
from serpline.core.settings import load

END_SECONDS = 60.0
STARTS_MAX = 20

IsOver = Callable[[], Awaitable[bool]]
preload(__name__)


def _be_worker(environment: Mapping[str, str], log: Path, alive: Connection) -> None:
    enter_fork(environment, log, alive)
    if point := environment.get("CHAOS_POINT"):
        arm(point, int(environment["CHAOS_PASSING"]))
    port = environment.get("CHAOS_WEB_PORT")
    asyncio.run(_serve_web(int(port)) if port else work())


async def _serve_web(port: int) -> None:
    """Run the web process until it is stopped."""
    async with (
        until_stopped(with_parent=True) as stop,
        open_services(load()) as services,
        serving(create_app(services.pipeline), LOOPBACK, port),
    ):
        await stop.wait()


class RespawningWorker:
    """Starts one process after another; all share one log."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self._last: Fork | None = None

    async def run_until(self, is_over: IsOver, seconds: float, **environment: str) -> bool:
        """Start a process with further variables. Return True if SIGKILL ended it.

        Return False once ``is_over`` holds. On a busy machine a worker may miss its own lease and
        exit; like a supervisor, this starts the next.
        """
        for _ in range(STARTS_MAX):
            if self._last is not None:
                await self._last.end(END_SECONDS)
            variables = {**self._environment, **environment}
            worker = self._last = Fork(_be_worker, variables, self._log)

            async def has_changed(worker: Fork = worker) -> bool:
                return not worker.is_running or await is_over()

            await until(has_changed, "a death or the end", seconds=seconds)
            if worker.is_running:
                return False
            if await worker.wait() == -signal.SIGKILL:
                return True
        raise AssertionError(f"{STARTS_MAX} processes exited by themselves; see {self._log}")

    @property
    def pid(self) -> int:
        """The id of the running or last process."""
        assert self._last is not None
        return self._last.pid

    async def end(self, number: int) -> int:
        """Send a signal to the running process; returns its exit code."""
        assert self._last is not None
        self._last.send_signal(number)
        async with asyncio.timeout(END_SECONDS):
            return await self._last.wait()

    async def close(self) -> None:
        """Terminate the running process; kill it after ``END_SECONDS``."""
        if self._last is not None:
            await self._last.end(END_SECONDS)


@asynccontextmanager
async def respawning_worker(
    world: World, name: str = "respawned"
) -> AsyncIterator[RespawningWorker]:
    """The processes of a world. ``name`` is that of their log."""
    made = RespawningWorker(world.environment, world.directory / f"{name}.log")
    try:
        yield made
    finally:
        await made.close()
