"""The bottom of every connection: a socket that asks, before each write, whether it still may.

The promise: a request that is called off is never whole on the wire. ``may_send`` is asked in the
same breath as the system call, with no wait in between, for every piece of a request that does not
fit into the socket at once; so a process that was frozen in mid-call, and thaws when its work is
in other hands, sends nothing more.

The limit: frozen between the question and the system call after it, some microseconds, it sends
that piece when it thaws. What the kernel had taken before goes out meanwhile.
"""

import socket
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.abc
from anyio.lowlevel import checkpoint

from serpline.net.errors import CalledOff


@dataclass(slots=True)
class Sending:
    """The sending of one request: whether it still may be, and whether it was ever begun.

    Looking a name up, connecting and agreeing on TLS are not yet the request: what fails there
    was not asked, so it cannot have cost anything.
    """

    may: Callable[[], bool] = lambda: True
    begun: bool = False


sending: ContextVar[Sending] = ContextVar("sending", default=Sending())  # noqa: B039  never begun
"""Of the request that this task makes. The pool picks the connection, so it cannot be told."""


class SocketStream(anyio.abc.ByteStream):
    """A connected, non-blocking socket, which it owns. One reader and one writer at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Some bytes, or ``EndOfStream``."""
        await checkpoint()
        while True:
            try:
                data = self._sock.recv(max_bytes)
            except (BlockingIOError, InterruptedError):
                await anyio.wait_readable(self._sock)
            except OSError as error:
                raise self._failure() from error
            else:
                if not data:
                    raise anyio.EndOfStream
                return data

    async def send(self, item: bytes) -> None:
        """Send all of ``item``; ``CalledOff`` as soon as the task's request may not be sent."""
        await checkpoint()
        left = memoryview(item)
        while left:
            if not sending.get().may():
                raise CalledOff
            try:
                left = left[self._sock.send(left) :]
            except (BlockingIOError, InterruptedError):
                await anyio.wait_writable(self._sock)
            except OSError as error:
                raise self._failure() from error

    async def send_eof(self) -> None:
        """Say that nothing more comes."""
        self._sock.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Close at once; whoever waits for it is told."""
        if self._sock.fileno() >= 0:
            anyio.notify_closing(self._sock)
            self._sock.close()
        await checkpoint()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The socket itself."""
        return {anyio.abc.SocketAttribute.raw_socket: lambda: self._sock}

    def _failure(self) -> Exception:
        return (
            anyio.ClosedResourceError() if self._sock.fileno() < 0 else anyio.BrokenResourceError()
        )
