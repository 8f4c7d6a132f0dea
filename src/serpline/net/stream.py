"""The connections of the pool: each asks before it sends, and takes in a bounded reply.

The promise: a request that is called off is never whole on the wire. ``Transfer.may_send`` is asked
before every system call that sends, with no wait in between. So a process that was frozen during a
call, and thaws when its work is in other hands, sends nothing more. No peer can feed us more bytes
than the caller's limit allows, whatever the framing: the limit counts what the socket brings, TLS
records and all. Closing is immediate and never waits for the peer.

The limit: frozen in the microseconds between the question and the system call after it, a process
sends that piece when it thaws. What the kernel took before the freeze goes out during it.

The library's own streams use transports of asyncio. A transport keeps what the socket did not take,
sends it later without asking, and reads ahead; so this one works on the socket itself.
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

    ``begun``: whether any of the request was sent. Resolving a name, connecting and the TLS
    handshake are not yet the request: what fails there cannot have cost anything.
    ``received_bytes``: read from the socket since the last write of the request.
    """

    may_send: Callable[[], bool] = lambda: True
    begun: bool = False
    received_bytes: int = 0
    received_bytes_max: int = HEAD_BYTES_MAX
    read_bytes_max: int = HEAD_READ_BYTES

    def expect_head(self) -> None:
        """Count anew, with room for a reply's head (or a TLS handshake) only."""
        self.received_bytes = 0
        self.received_bytes_max = HEAD_BYTES_MAX
        self.read_bytes_max = HEAD_READ_BYTES

    def expect_body(self, size_bytes_max: int) -> None:
        """The head is there: allow a body of ``size_bytes_max`` bytes and its framing."""
        framed_bytes_max = WIRE_BYTES_PER_BODY_BYTE * size_bytes_max + WIRE_BYTES_SPARE
        self.received_bytes_max = self.received_bytes + framed_bytes_max
        self.read_bytes_max = BODY_READ_BYTES


transfer: ContextVar[Transfer] = ContextVar("transfer")
"""Of the request that this task makes. The pool picks the connection, so it cannot be passed."""


class Connection(httpcore2.AsyncNetworkStream, anyio.abc.ByteStream):
    """A connected, non-blocking socket, which it owns; after ``start_tls`` encrypted.

    The pool reads and writes; ``receive`` and ``send`` are the socket's side, also below TLS.
    One reader and one writer at a time. ``tls``: the context for this connection, instead of the
    pool's. Time limits are the caller's (one deadline around the whole exchange), so the pool's
    own are not used.
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
        """The same connection after a verified handshake; closed if that fails or is cancelled."""
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
        """Some bytes. Raises ``EndOfStream``, and ``NetError`` beyond the transfer's limit."""
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
        """Send all of ``item``; ``CalledOff`` as soon as the task's request may not be sent."""
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
        """Say that nothing more comes."""
        self._sock.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Close at once: no TLS goodbye; a task that waits for the socket is woken."""
        if self._sock.fileno() >= 0:
            anyio.notify_closing(self._sock)
            self._sock.close()
        await checkpoint()

    def get_extra_info(self, info: str) -> Any:
        """What the pool asks: whether something came over an idle connection, or its end.

        True for a closed one: the pool then drops it.
        """
        if info == "is_readable":
            return self._sock.fileno() < 0 or is_readable(self._sock.fileno())
        return None
