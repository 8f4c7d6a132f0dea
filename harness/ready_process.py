"""A Python process that prints "ready" once it is loaded, and its result at the end."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

READY_SECONDS_MAX = 120.0
LINE_BYTES_MAX = 64 * 1024 * 1024
_ROOT = Path(__file__).parent.parent


@dataclass(slots=True)
class ReadyProcess:
    """A loaded process. Some wait for ``begin`` before they work."""

    _process: asyncio.subprocess.Process
    _log: Path

    @classmethod
    async def load(
        cls, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> "ReadyProcess":
        """Start ``python`` with these arguments; returns once the process has printed "ready"."""
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=file,
                env=dict(environment),
                cwd=_ROOT,
                limit=LINE_BYTES_MAX,
            )
        made = cls(process, log)
        try:
            assert process.stdout is not None
            async with asyncio.timeout(READY_SECONDS_MAX):
                assert await process.stdout.readline() == b"ready\n", log.read_text()
        except BaseException:
            await made.kill()
            raise
        return made

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    def begin(self) -> None:
        """Start its work: write a line to its stdin."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")

    async def result(self, seconds: float) -> bytes:
        """Wait up to ``seconds`` for its end; returns its output."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                output = await self._process.stdout.read()
        finally:
            await self.kill()
        assert output, self._log.read_text()
        return output

    async def end(self, number: int) -> None:
        """Send a signal if it still runs, and wait for its end."""
        if self.is_running:
            self._process.send_signal(number)
        await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def kill(self) -> None:
        """Kill it if it still runs."""
        await self.end(signal.SIGKILL)


@asynccontextmanager
async def ready_process(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path
) -> AsyncIterator[ReadyProcess]:
    """A loaded process, killed at the end of the block."""
    process = await ReadyProcess.load(arguments, environment, log)
    try:
        yield process
    finally:
        await process.kill()
