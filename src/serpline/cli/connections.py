"""Limits of the web port's connections: their number, and the time a peer may take.

uvicorn limits neither. A peer that sends nothing, sends a byte a minute or reads no answer would
keep its file descriptor for ever, and a thousand of them would use up all descriptors. Here a
request, head and body, must arrive within ``REQUEST_SECONDS``, and its answer must be read within
the same time. At the limit, the connection that has kept us waiting longest is aborted, so idle
peers cannot keep a webhook out.
"""

import asyncio
import resource
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from serpline.core.logging import get

CONNECTIONS_MAX = 512
REQUEST_SECONDS = 20.0
LOG_SECONDS = 60.0

log = get(__name__)


def default_connections_max() -> int:
    """The connection limit: half of the file descriptors, at most 512."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, soft // 2)


def bounded_protocol(connections_max: int, request_seconds: float) -> type[asyncio.Protocol]:
    """uvicorn's HTTP/1.1 protocol with at most ``connections_max`` connections, for one server."""
    unfinished: dict[Any, None] = {}  # in the order in which the waits began
    aborts = _AbortLog()

    class Bounded(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None
        _is_unread = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            transport.set_write_buffer_limits(0)  # pause writing at the first unsent byte
            self._start_deadline()
            if len(self.connections) > connections_max:
                oldest = next(iter(unfinished))
                oldest.abort("the connection limit is reached")

        def data_received(self, data: bytes) -> None:
            self._start_deadline()
            super().data_received(data)
            self._stop_deadline_if_idle()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._is_unread = True
            self._start_deadline()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._is_unread = False
            self._stop_deadline_if_idle()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.cycle.more_body and not self.transport.is_closing():
                # Answered before the body arrived: close instead of reading the rest.
                self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_deadline()
            super().connection_lost(exc)

        def abort(self, why: str) -> None:
            """Close the connection at once."""
            aborts.add(why)
            self._stop_deadline()
            self.connections.discard(self)
            self.transport.abort()

        def _start_deadline(self) -> None:
            if self._deadline is None:
                unfinished[self] = None
                self._deadline = self.loop.call_later(
                    request_seconds, self.abort, "the peer took too long"
                )

        def _stop_deadline_if_idle(self) -> None:
            """Stop the deadline if the peer reads and has sent a whole request, or nothing."""
            # Ask the parser: ``cycle`` belongs to the last request until the next head arrives.
            state = self.conn.their_state
            is_idle = state is h11.IDLE and not self.conn.trailing_data[0]
            if not self._is_unread and (is_idle or state in (h11.DONE, h11.MUST_CLOSE)):
                self._stop_deadline()

        def _stop_deadline(self) -> None:
            unfinished.pop(self, None)
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return cast(type[asyncio.Protocol], Bounded)


class _AbortLog:
    """Logs the number of aborted connections, at most once in ``LOG_SECONDS``."""

    def __init__(self) -> None:
        self._count = 0
        self._logged_at: float | None = None

    def add(self, why: str) -> None:
        self._count += 1
        now = asyncio.get_running_loop().time()
        if self._logged_at is None or now - self._logged_at >= LOG_SECONDS:
            log.warning("web.aborted", action="web.aborted", connections=self._count, last=why)
            self._count, self._logged_at = 0, now
