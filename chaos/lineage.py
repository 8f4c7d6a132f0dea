"""One mortal process after another over a world: forks of a loaded process.

One lives at a time, so what each leaves behind can be counted at its death. ``CHAOS_POINT`` and
``CHAOS_PASSING`` name where it kills itself; with ``CHAOS_WEB_PORT`` it is the web process, and
otherwise a worker.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from harness.forks import Fork, become, preload
from harness.pipeline_worker import work
from harness.world import World, until

from chaos.points import arm
from serpline.api.app import create_app
from serpline.app import open_services
from serpline.cli.processes import LOOPBACK, until_stopped
from serpline.cli.webserver import serving
from serpline.core.settings import load

END_SECONDS = 60.0
LIVES_MAX = 20

IsOver = Callable[[], Awaitable[bool]]
preload(__name__)


def _be_mortal(environment: Mapping[str, str], log: Path, alive: Connection) -> None:
    become(environment, log, alive)
    if point := environment.get("CHAOS_POINT"):
        arm(point, int(environment["CHAOS_PASSING"]))
    port = environment.get("CHAOS_WEB_PORT")
    asyncio.run(_serve_web(int(port)) if port else work(None))


async def _serve_web(port: int) -> None:
    """The web process, until it is told to end."""
    async with (
        until_stopped(with_parent=True) as stop,
        open_services(load()) as services,
        serving(create_app(services.pipeline), LOOPBACK, port),
    ):
        await stop.wait()


class Lineage:
    """Bears one mortal process after another."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self._last: Fork | None = None

    async def lives_until(self, is_over: IsOver, seconds: float, **environment: str) -> bool:
        """Bear one, with further variables, until it dies of SIGKILL (True) or it ``is_over``.

        On a machine that is too busy a worker may be declared dead by itself, and end; as any
        supervisor would, this starts the next.
        """
        for _ in range(LIVES_MAX):
            if self._last is not None:
                await self._last.end(END_SECONDS)
            told = {**self._environment, **environment}
            mortal = self._last = Fork(_be_mortal, told, self._log)

            async def has_changed(mortal: Fork = mortal) -> bool:
                return not mortal.lives or await is_over()

            await until(has_changed, "a death, or the end", seconds=seconds)
            if mortal.lives:
                return False
            if await mortal.wait() == -signal.SIGKILL:
                return True
        raise AssertionError(f"{LIVES_MAX} processes ended by themselves; see {self._log}")

    @property
    def pid(self) -> int:
        """Of who lives, or lived last."""
        assert self._last is not None
        return self._last.pid

    async def end(self, number: int) -> int:
        """Send a signal to who lives; gives the exit code."""
        assert self._last is not None
        self._last.send_signal(number)
        async with asyncio.timeout(END_SECONDS):
            return await self._last.wait()

    async def close(self) -> None:
        """End who still lives: in good order first, by force after a while."""
        if self._last is not None:
            await self._last.end(END_SECONDS)


@asynccontextmanager
async def lineage(world: World, name: str = "mortal") -> AsyncIterator[Lineage]:
    """A lineage of processes for a world; ``name`` is that of its log."""
    made = Lineage(world.environment, world.directory / f"{name}.log")
    try:
        yield made
    finally:
        await made.close()
