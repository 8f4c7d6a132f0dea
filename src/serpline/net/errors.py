"""The error for a request without a reply, and the translation of the library's errors.

``NetError`` means that no reply came. Its message is one short line without a URL, and the client
redacts it. It has no cause or context, because the library's messages may quote a header or a URL.
"""

import ssl
import zlib
from collections.abc import Iterable

import anyio
import httpcore2
import httpx2

from serpline.domain.errors import ErrorCategory
from serpline.net.limits import MESSAGE_CHARS_MAX
from serpline.net.redaction import redact


class NetError(Exception):
    """A request got no reply.

    ``category``: TIMEOUT (the deadline passed), NETWORK (name, connection, TLS or protocol), or
    BAD_REQUEST (a refused address, a bad URL, a reply above a limit). ``permanent``: repeating the
    request cannot help; true exactly for BAD_REQUEST. ``sent`` False: no byte of the request was
    written, so it cannot have cost anything.
    """

    def __init__(
        self, category: ErrorCategory, message: str, *, permanent: bool = False, sent: bool = True
    ) -> None:
        super().__init__(message)
        self.category = category
        self.message = message
        self.permanent = permanent
        self.sent = sent

    def redacted(self, secrets: Iterable[str], *, sent: bool) -> "NetError":
        """A copy with a redacted message and without cause, context and traceback."""
        message = redact(self.message, secrets)[:MESSAGE_CHARS_MAX]
        return NetError(self.category, message, permanent=self.permanent, sent=sent)


class CalledOff(Exception):  # noqa: N818  the caller's decision
    """``HttpRequest.may_send`` returned False before the whole request was sent."""


def refused(message: str) -> NetError:
    """A permanent error: we refuse to send the request, or to read so large a reply."""
    return NetError(ErrorCategory.BAD_REQUEST, message, permanent=True)


def broken(message: str) -> NetError:
    """A retryable error of the connection or the protocol."""
    return NetError(ErrorCategory.NETWORK, message)


def timed_out(message: str) -> NetError:
    """A retryable error: too slow."""
    return NetError(ErrorCategory.TIMEOUT, message)


# What the library and the sockets raise for causes outside our code. Anything else is a bug and
# passes through.
EXPECTED = (
    NetError,
    httpx2.InvalidURL,
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    OSError,
    UnicodeError,
    zlib.error,
)


def translate(error: BaseException, host: str) -> NetError:
    """The ``NetError`` for one of ``EXPECTED``, not yet redacted."""
    if isinstance(error, NetError):
        named = error.message if host in error.message else f"{host}: {error.message}"
        return NetError(error.category, named, permanent=error.permanent)
    if isinstance(error, httpcore2.TimeoutException | TimeoutError):
        return timed_out(f"{host}: timed out while connecting")
    if isinstance(error, httpx2.InvalidURL | UnicodeError):
        return refused(f"{host}: not a usable URL")
    if isinstance(error, httpcore2.LocalProtocolError):
        return refused(f"{host}: the request is not valid HTTP: {error}")
    if isinstance(error, ssl.SSLError):
        return broken(f"{host}: TLS: {getattr(error, 'verify_message', '') or error.reason}")
    if isinstance(error, zlib.error):
        return broken(f"{host}: the compressed body is damaged")
    return broken(f"{host}: {str(error) or 'the connection was closed'}")
