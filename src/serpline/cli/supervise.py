"""Child processes of a command: start them, restart them when they crash, stop them.

A child that ends is restarted, with a growing delay while it keeps crashing. One that refuses its
configuration would refuse it again, so the supervisor gives up. Leaving the block
stops every child by its own pid: SIGTERM, then SIGKILL. Each child holds a pipe from its parent and
stops when the pipe closes, so a killed parent leaves no orphans.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from serpline.core.clock import Clock
from serpline.core.logging import get
from serpline.domain.errors import UserError

BACK_OFF_SECONDS = 1.0
BACK_OFF_SECONDS_MAX = 30.0
HEALTHY_AFTER_SECONDS = 60.0
GRACE_SECONDS = 30.0
# The option of supervised commands, and their exit code for settings that they refuse (EX_CONFIG of
# sysexits.h).
WITH_PARENT = "--with-parent"
REFUSED = 78

log = get(__name__)


@dataclass(frozen=True, slots=True)
class Child:
    """A ``serpline`` command to keep running. ``log_file`` gets its stderr; None: the parent's."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log_file: Path | None = None


class Supervisor:
    """Keeps children running.

    Gives up on a child that refuses its settings, and after ``crashes_max`` early ends in a row
    (None: never).
    """

    def __init__(
        self,
        children: Sequence[Child],
        clock: Clock,
        *,
        crashes_max: int | None = None,
        back_off_seconds: float = BACK_OFF_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        on_start: Callable[[str, int], None] = lambda _name, _pid: None,
    ) -> None:
        """``on_start`` is called with the name and pid of every started child."""
        self._children = children
        self._clock = clock
        self._crashes_max = crashes_max
        self._back_off_seconds = back_off_seconds
        self._grace_seconds = grace_seconds
        self._on_start = on_start
        self._error: str | None = None
        self.gave_up = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the children until the block ends, by return or by exception."""
        tasks = [asyncio.create_task(self._supervise(child)) for child in self._children]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def check(self) -> None:
        """Raise ``UserError`` if the supervisor gave up on a child."""
        if self._error:
            raise UserError(self._error)

    async def _supervise(self, child: Child) -> None:
        crashes = 0
        while True:
            started = self._clock.monotonic()
            code = await self._run_child(child)
            ran_seconds = self._clock.monotonic() - started
            crashes = 1 if ran_seconds >= HEALTHY_AFTER_SECONDS else crashes + 1
            where = f"; see {child.log_file}" if child.log_file else ""
            if code == REFUSED:
                self._give_up(
                    f"{child.name} refuses its settings{where or ' (see its line above)'}"
                )
                return
            if self._crashes_max is not None and crashes >= self._crashes_max:
                self._give_up(f"{child.name} keeps crashing (exit code {code}){where}")
                return
            wait = min(self._back_off_seconds * 2 ** min(crashes - 1, 10), BACK_OFF_SECONDS_MAX)
            log.warning(
                f"{child.name} ended with exit code {code}, restarting in {wait:g} s{where}",
                action="child.ended",
            )
            await self._clock.sleep(wait)

    def _give_up(self, error: str) -> None:
        self._error = error
        self.gave_up.set()

    async def _run_child(self, child: Child) -> int:
        """Start a child and wait for its exit code. Cancellation stops the child."""
        process = await self._spawn(child)
        self._on_start(child.name, process.pid)
        try:
            return await process.wait()
        finally:
            await asyncio.shield(self._stop(child, process))

    async def _spawn(self, child: Child) -> asyncio.subprocess.Process:
        stderr = None
        if child.log_file is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            stderr = os.open(child.log_file, flags, 0o600)
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "serpline.cli",
                *child.arguments,
                WITH_PARENT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=stderr,
                env=dict(child.environment),
                # Ctrl-C in a terminal reaches only the parent, which signals each child once.
                start_new_session=True,
            )
        finally:
            if stderr is not None:
                os.close(stderr)

    async def _stop(self, child: Child, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), self._grace_seconds)
            except TimeoutError:
                log.warning(
                    f"{child.name} did not stop in {self._grace_seconds:g} s, killing it",
                    action="child.killed",
                )
                process.kill()
                await process.wait()
        if process.stdin is not None:
            process.stdin.close()
