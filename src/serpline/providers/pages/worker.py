"""The parent's handle of one extractor process: start it, ask it, kill it.

Promise: ``kill`` removes the process and its pipes. The process parses strangers' pages, so it
receives no settings and no keys.
"""

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import Any

from serpline.providers.pages.frames import LENGTH, REPLY_BYTES_MAX, as_frame, packed

_INHERITED_VARIABLES = (
    "DYLD_LIBRARY_PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "TMPDIR",
    "TZ",
    "VIRTUAL_ENV",
)


REASON_CHARS_MAX = 300


class WorkerDied(Exception):  # noqa: N818  an event; the caller turns it into a ProviderError
    """The process ended or sent an invalid reply. ``received``: it had received the page.

    ``reason``: its own reason for a failed start, or empty.
    """

    def __init__(self, *, received: bool, reason: str = "") -> None:
        super().__init__("the extractor process ended")
        self.received = received
        self.reason = reason


class ExtractorWorker:
    """A process that extracts one page at a time and can be replaced at any time."""

    def __init__(self, *, memory_bytes_max: int) -> None:
        self._memory_bytes_max = memory_bytes_max
        self._process: Process | None = None
        self.pages = 0
        self.busy = False

    @property
    def pid(self) -> int | None:
        """The process's id, or None."""
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        """Whether a process was started and has not ended, as far as known."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start a process and wait until it is ready. Raises ``WorkerDied``, ``OSError``."""
        await self.kill()
        self.pages = 0
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "serpline.providers.pages.extract_start",
            str(self._memory_bytes_max),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env={name: os.environ[name] for name in _INHERITED_VARIABLES if name in os.environ},
            # Ctrl-C is for the parent only; the processes end when it closes their pipes.
            start_new_session=True,
            # Larger than any reply, so reading never pauses and a dead process's pipe always ends.
            limit=4 * REPLY_BYTES_MAX,
        )
        reply = await self._reply(received=False)
        if not reply.get("ready"):
            raise WorkerDied(received=False, reason=str(reply.get("error", ""))[:REASON_CHARS_MAX])

    async def ask(self, request: dict[str, Any], html: bytes) -> dict[str, Any]:
        """Return the reply to one page. Raises ``WorkerDied``. The caller enforces the deadline."""
        process = self._process
        if process is None or process.stdin is None:
            raise WorkerDied(received=False)
        try:
            process.stdin.write(as_frame(request))
            process.stdin.write(packed(html))
            await process.stdin.drain()
        except ConnectionError:
            raise WorkerDied(received=False) from None
        if not (await self._reply(received=False)).get("received"):
            raise WorkerDied(received=False)
        self.busy = True
        try:
            reply = await self._reply(received=True)
        finally:
            self.busy = False
        self.pages += 1
        return reply

    async def kill(self, *, grace_seconds: float = 0.0) -> int | None:
        """End the process, if any. Return its exit status (negative: the signal).

        ``grace_seconds``: how long to wait for its own exit. Signalling an exiting process would
        reap it without asyncio and lose its status. After a cancellation, call it again.
        """
        process = self._process
        if process is None:
            return None
        with contextlib.suppress(TimeoutError):
            if grace_seconds > 0:
                await asyncio.wait_for(process.wait(), grace_seconds)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        status = await process.wait()
        if process.stdout is not None:
            await process.stdout.read()
        if process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(ConnectionError):
                await process.stdin.wait_closed()
        self._process = None
        return status

    async def _reply(self, *, received: bool) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdout is None:
            raise WorkerDied(received=received)
        try:
            (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
            if length > REPLY_BYTES_MAX:
                raise WorkerDied(received=received)
            value = json.loads(await process.stdout.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, RecursionError):
            raise WorkerDied(received=received) from None
        if not isinstance(value, dict):
            raise WorkerDied(received=received)
        return value
