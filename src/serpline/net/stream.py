"""A connection that counts what it reads, under a limit that the exchange sets.

Sending starts a new count with room for a reply's head only; once the head is there the exchange
makes room for the body. So no peer can feed us more bytes than the caller's limit allows, whatever
the framing. Closing is immediate and never waits for the peer.
"""

import ssl
from typing import Any

import anyio.abc
import httpcore2
from anyio.streams.tls import TLSAttribute, TLSStream

from serpline.core.sockets import is_readable
from serpline.net.errors import refused
from serpline.net.limits import (
    BODY_READ_BYTES,
    HEAD_BYTES_MAX,
    HEAD_READ_BYTES,
    WIRE_BYTES_PER_BODY_BYTE,
    WIRE_BYTES_SPARE,
)
from serpline.net.socket_stream import sending


class CountedStream(httpcore2.AsyncNetworkStream):
    """A socket or TLS stream for the pool; ``received`` counts bytes since the last write.

    ``tls``: the context for this connection, instead of the pool's. Time limits are the caller's
    (one deadline around the whole exchange), so the pool's own are not used.
    """

    def __init__(self, stream: anyio.abc.ByteStream, tls: ssl.SSLContext | None = None) -> None:
        self._stream = stream
        self._tls = tls
        # Asked of each idle connection at each request, so looked up once.
        extra = stream.extra
        self._socket = extra(anyio.abc.SocketAttribute.raw_socket, None)
        self.received = 0
        self._room = HEAD_BYTES_MAX
        self._read_bytes = HEAD_READ_BYTES

    def make_room_for_body(self, size_bytes_max: int) -> None:
        """The head is there: allow a body of ``size_bytes_max`` bytes and its framing."""
        self._room = self.received + WIRE_BYTES_PER_BODY_BYTE * size_bytes_max + WIRE_BYTES_SPARE
        self._read_bytes = BODY_READ_BYTES

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Some bytes, empty at the end of the stream."""
        if self.received >= self._room:
            raise refused(f"the reply is larger than allowed ({self.received} bytes on the wire)")
        try:
            data = await self._stream.receive(min(max_bytes, self._read_bytes))
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
            raise httpcore2.ReadError(_reason(error)) from error
        self.received += len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of ``buffer``."""
        if not buffer:
            return
        self.received = 0
        self._room = HEAD_BYTES_MAX
        self._read_bytes = HEAD_READ_BYTES
        sending.get().begun = True
        try:
            await self._stream.send(buffer)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
            raise httpcore2.WriteError(_reason(error)) from error

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> "CountedStream":
        """The same connection after a verified handshake; closed if that fails or is cancelled."""
        context = self._tls or ssl_context
        context.set_alpn_protocols(["http/1.1"])
        try:
            secured = await TLSStream.wrap(
                self._stream,
                hostname=server_hostname,
                ssl_context=context,
                standard_compatible=False,
                server_side=False,
            )
        except (anyio.BrokenResourceError, anyio.EndOfStream) as error:
            await self.aclose()
            raise httpcore2.ConnectError("the connection was cut in the TLS handshake") from error
        except BaseException:
            await self.aclose()
            raise
        return CountedStream(secured)

    async def aclose(self) -> None:
        """Close at once: no TLS goodbye, no waiting for the peer to take what was sent."""
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        """What the pool asks: whether an idle socket has something to read, and the TLS object."""
        if info == "is_readable":
            return _is_readable(self._socket)
        if info == "ssl_object":
            extra = self._stream.extra
            return extra(TLSAttribute.ssl_object, None)
        return None


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error
    return (cause.strerror if isinstance(cause, OSError) else None) or "the connection was closed"


def _is_readable(sock: Any) -> bool:
    # A socket that is gone counts as readable: the pool then drops the connection.
    return sock is None or sock.fileno() < 0 or is_readable(sock.fileno())
