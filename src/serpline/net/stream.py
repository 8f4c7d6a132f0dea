"""The pool's connections: each checks ``may_send`` before it sends, and reads a bounded reply.

Promise: a request that is called off is never sent completely. ``Transfer.may_send`` is called
directly before every system call that sends. So a process that was frozen during a call, and
resumes after another took its work over, sends nothing more. A peer cannot send more bytes than the
caller's limit, in any framing: the limit counts every byte from the socket, including TLS records.
Closing is immediate and never waits for the peer.

Limit: a process frozen in the microseconds between the check and its system call sends that piece
when it resumes. Bytes that the kernel accepted before the freeze are sent during it.

The library's own streams use asyncio transports. Those buffer unsent bytes, send them later without
a check, and read ahead. So this module works on the socket itself.
"""

import socket
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.abc
import httpcore2
from anyio.lowlevel import checkpoint
from anyio.streams.tls import TLSStream

from serpline.core.sockets import is_readable
from serpline.net.errors import CalledOff, refused
from serpline.net.limits import (
    BODY_READ_BYTES,
    HEAD_BYTES_MAX,
    HEAD_READ_BYTES,
    WIRE_BYTES_PER_BODY_BYTE,
    WIRE_BYTES_SPARE,
)


@dataclass(slots=True)
class Transfer:
    """One request and its reply on the wire.

    ``begun``: whether a byte of the request was sent. Name resolution, connecting and the TLS
    handshake come before it, so a failure there costs nothing. ``received_bytes``: read from the
    socket since the request's last write.
    """

    may_send: Callable[[], bool] = lambda: True
    begun: bool = False
    received_bytes: int = 0
    received_bytes_max: int = HEAD_BYTES_MAX
    read_bytes_max: int = HEAD_READ_BYTES

    def expect_head(self) -> None:
        """Restart the count. Allow only a reply's head (or a TLS handshake)."""
        self.received_bytes = 0
        self.received_bytes_max = HEAD_BYTES_MAX
        self.read_bytes_max = HEAD_READ_BYTES

    def expect_body(self, size_bytes_max: int) -> None:
        """After the head, allow a body of ``size_bytes_max`` bytes and its framing."""
        framed_bytes_max = WIRE_BYTES_PER_BODY_BYTE * size_bytes_max + WIRE_BYTES_SPARE
        self.received_bytes_max = self.received_bytes + framed_bytes_max
        self.read_bytes_max = BODY_READ_BYTES


transfer: ContextVar[Transfer] = ContextVar("transfer")
"""The current task's transfer. The pool picks the connection, so it cannot be an argument."""


class Connection(httpcore2.AsyncNetworkStream, anyio.abc.ByteStream):
    """Owns a connected, non-blocking socket, encrypted after ``start_tls``.

    The pool calls ``read`` and ``write``. ``receive`` and ``send`` are the socket's side, also
    below TLS. One reader and one writer at a time. ``tls``: this connection's context instead of
    the pool's. The pool's time limits are ignored: the caller has one deadline for the exchange.
    """

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        self._sock = sock
        self._context = tls
        self._tls: TLSStream | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Some bytes of a reply, empty at the end of the stream."""
        try:
            return await (self._tls or self).receive(max_bytes)
        except anyio.EndOfStream:
            return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of ``buffer``, a part of a request."""
        if buffer:
            current = transfer.get()
            current.begun = True
            current.expect_head()
            await (self._tls or self).send(buffer)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> "Connection":
        """Make a verified TLS handshake. Closes the connection if it fails or is cancelled."""
        context = self._context or ssl_context
        context.set_alpn_protocols(["http/1.1"])
        try:
            self._tls = await TLSStream.wrap(
                self,
                hostname=server_hostname,
                ssl_context=context,
                standard_compatible=False,
                server_side=False,
            )
        except anyio.EndOfStream:
            await self.aclose()
            raise httpcore2.ConnectError("the connection was cut in the TLS handshake") from None
        except BaseException:
            await self.aclose()
            raise
        return self

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Some bytes. Raises ``EndOfStream`` at the end, ``NetError`` beyond the limit."""
        await checkpoint()
        current = transfer.get()
        if current.received_bytes >= current.received_bytes_max:
            raise refused(
                f"the reply is larger than allowed ({current.received_bytes} bytes on the wire)"
            )
        while True:
            try:
                data = self._sock.recv(min(max_bytes, current.read_bytes_max))
            except (BlockingIOError, InterruptedError):
                await anyio.wait_readable(self._sock)
            except OSError as error:
                raise httpcore2.ReadError(error.strerror) from error
            else:
                if not data:
                    raise anyio.EndOfStream
                current.received_bytes += len(data)
                return data

    async def send(self, item: bytes) -> None:
        """Send all of ``item``. Raises ``CalledOff`` once ``may_send`` returns False."""
        await checkpoint()
        left = memoryview(item)
        while left:
            if not transfer.get().may_send():
                raise CalledOff
            try:
                left = left[self._sock.send(left) :]
            except (BlockingIOError, InterruptedError):
                await anyio.wait_writable(self._sock)
            except OSError as error:
                raise httpcore2.WriteError(error.strerror) from error

    async def send_eof(self) -> None:
        """Shut down the sending side."""
        self._sock.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Close at once, without a TLS goodbye. Wakes a task that waits for the socket."""
        if self._sock.fileno() >= 0:
            anyio.notify_closing(self._sock)
            self._sock.close()
        await checkpoint()

    def get_extra_info(self, info: str) -> Any:
        """For ``is_readable``: whether an idle connection received data or its end.

        True for a closed connection, so that the pool drops it.
        """
        if info == "is_readable":
            return self._sock.fileno() < 0 or is_readable(self._sock.fileno())
        return None
