"""One extractor process seen from outside: start it, ask it, kill it.

Promise: after ``kill`` nothing of the process is left, its pipes included. It is given no setting
and no key: what parses pages from strangers has nothing to lose.
"""

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import Any

from serpline.providers.pages.frames import LENGTH, REPLY_BYTES_MAX, as_frame, packed

_PASSED_ON = (
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


class WorkerDied(Exception):  # noqa: N818  a fact about a process, told by its caller as an error
    """The process ended, or said something that is no reply. ``received``: it had the page.

    ``reason``: what it said of why it could not start; empty if nothing.
    """

    def __init__(self, *, received: bool, reason: str = "") -> None:
        super().__init__("the extractor process ended")
        self.received = received
        self.reason = reason


class ExtractorWorker:
    """A process that extracts one page at a time, and can be replaced at any time."""

    def __init__(self, *, memory_bytes_max: int) -> None:
        self._memory_bytes_max = memory_bytes_max
        self._process: Process | None = None
        self.pages = 0
        self.busy = False

    @property
    def pid(self) -> int | None:
        """The process's id; None while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        """Whether a process was started and is not known to have ended."""
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
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            # Ctrl-C is for us; the workers end when we close their pipes.
            start_new_session=True,
            # Above any reply, so that reading never pauses and a dead process's pipe always ends.
            limit=4 * REPLY_BYTES_MAX,
        )
        reply = await self._reply(received=False)
        if not reply.get("ready"):
            raise WorkerDied(received=False, reason=str(reply.get("error", ""))[:REASON_CHARS_MAX])

    async def ask(self, request: dict[str, Any], html: bytes) -> dict[str, Any]:
        """The reply to one page. Raises ``WorkerDied``; wait no longer than the deadline."""
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
        """End the process, if any. Returns its exit status (negative: the signal).

        ``grace_seconds``: how long one that seems to be ending may take to do so by itself. To
        signal a process in that moment would reap it behind asyncio's back, and lose its status.
        When cancelled, to be called again.
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
