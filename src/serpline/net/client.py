"""The one HTTP client: HTTP/1.1, pooled, TLS always verified, every reply bounded.

``send`` is for provider APIs. Origins that the operator configured may have any address; every
other origin is guarded. It follows no redirects. ``fetch`` is for addresses from the web: every
hop is guarded, even for trusted origins. Each has its own pool, so a page can neither use a
provider's connection nor take all connections.

``request.timeout_seconds`` is one deadline for name resolution, waiting for a connection,
connecting, redirects, headers and body. The client retries nothing and keeps no cookies. It reads
only ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` from the environment (no proxies, no netrc). No URL is
logged: the libraries' debug lines are dropped.

Limit: a reply's body is searched only for the request's own secrets of eight or more characters. A
compressed or binary body is not searched.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import httpcore2
import httpx2

from serpline.core.clock import Clock, SystemClock
from serpline.domain.errors import UserError
from serpline.domain.http import HttpReply, HttpRequest
from serpline.net.body import Body
from serpline.net.dialer import Dialer, Resolve, SystemResolver, check_guarded
from serpline.net.errors import EXPECTED, refused, timed_out, translate
from serpline.net.exchange import Raw, exchange
from serpline.net.hop import Hop, first_hop, next_hop, parse_url, reply_of
from serpline.net.hosts import HostMap, origin_of, trusted_origins
from serpline.net.limits import (
    IDLE_CONNECTIONS_MAX,
    IDLE_SECONDS_MAX,
    PAGE_CONNECTIONS_MAX,
    PAGE_RESOLVER_THREADS,
    PROVIDER_CONNECTIONS_MAX,
    PROVIDER_RESOLVER_THREADS,
    REDIRECTS_MAX,
    SPOOL_THREADS,
    URL_CHARS_MAX,
)
from serpline.net.redaction import secrets_of
from serpline.net.stream import Transfer, transfer

USER_AGENT = f"Mozilla/5.0 (compatible; serpline/{version('serpline')})"


class HttpClient:
    """Sends requests. Use it as an async context manager, and close it after all calls ended.

    ``host_map``: name or ``*.suffix`` → ``address:port``, where connections to these names go, with
    SNI and Host unchanged and on any port. ``test_ca``: a PEM file trusted for mapped names and
    trusted bases, in addition to the system's authorities. ``trusted_bases``: base URLs of
    providers. ``resolve``: resolves names to addresses (default: the system).

    Raises ``UserError`` for a bad host map, base or CA file.
    """

    def __init__(
        self,
        *,
        host_map: Mapping[str, str] | None = None,
        test_ca: Path | None = None,
        trusted_bases: Sequence[str] = (),
        user_agent: str = USER_AGENT,
        clock: Clock | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        self._host_map = HostMap(host_map or {})
        self._trusted = trusted_origins(trusted_bases)
        self._user_agent = user_agent
        self._clock = clock or SystemClock()
        self._closed = False
        self._resolvers = (
            SystemResolver(PROVIDER_RESOLVER_THREADS),
            SystemResolver(PAGE_RESOLVER_THREADS),
        )
        system = _tls(None)
        test = _tls(test_ca) if test_ca is not None else system
        self._providers = _transport(
            Dialer(resolve or self._resolvers[0], self._host_map, guarded=False),
            test,
            PROVIDER_CONNECTIONS_MAX,
        )
        self._pages = _transport(
            Dialer(resolve or self._resolvers[1], self._host_map, guarded=True, mapped_tls=test),
            system,
            PAGE_CONNECTIONS_MAX,
        )
        _silence_libraries()

    def __repr__(self) -> str:
        return f"<HttpClient trusted={len(self._trusted)} closed={self._closed}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection. Calls in flight fail, later calls are refused."""
        self._closed = True
        for transport in (self._providers, self._pages):
            await transport.pool.aclose()
            transport.threads.shutdown(wait=False)
        for resolver in self._resolvers:
            resolver.close()

    async def send(self, request: HttpRequest) -> HttpReply:
        """Make one exchange. Any status is a reply, including a redirect.

        Raises ``NetError``, and ``CalledOff`` when ``request.may_send`` returns False.
        """

        async def work(url: httpx2.URL) -> tuple[httpx2.URL, Raw]:
            trusted = origin_of(url) in self._trusted
            if not trusted:
                self._check_guarded(url)
            transport = self._providers if trusted else self._pages
            hop = first_hop(request, url, self._user_agent)
            return url, await self._exchange(transport, hop, request, stop=False)

        return await self._bounded(request, work)

    async def fetch(self, request: HttpRequest, *, redirects_max: int = 5) -> HttpReply:
        """GET or HEAD a page under the guard, following at most ``redirects_max`` redirects.

        ``reply.url`` is the last hop's. Raises like ``send``; the error is permanent for a refused
        address on any hop and for too many redirects.
        """
        if request.method not in ("GET", "HEAD") or request.json is not None:
            raise ValueError(f"fetch is GET or HEAD without a body, not {request.method}")
        if not 0 <= redirects_max <= REDIRECTS_MAX:
            raise ValueError(f"redirects_max={redirects_max}: 0 to {REDIRECTS_MAX}")

        async def work(url: httpx2.URL) -> tuple[httpx2.URL, Raw]:
            hop = first_hop(request, url, self._user_agent)
            for _ in range(redirects_max + 1):
                self._check_guarded(hop.url)
                raw = await self._exchange(self._pages, hop, request, stop=True)
                if not raw.redirects:
                    return hop.url, raw
                hop = next_hop(hop, raw.location or "")
            raise refused(f"more than {redirects_max} redirects")

        return await self._bounded(request, work)

    async def _bounded(
        self,
        request: HttpRequest,
        work: Callable[[httpx2.URL], Awaitable[tuple[httpx2.URL, Raw]]],
    ) -> HttpReply:
        """Run ``work`` under the request's deadline. Raises only ``NetError`` and ``CalledOff``."""
        if self._closed:
            raise RuntimeError("the HTTP client is closed")
        started = self._clock.monotonic()
        host = "the URL"
        current = Transfer(request.may_send)
        before = transfer.set(current)
        try:
            async with asyncio.timeout(request.timeout_seconds) as deadline:
                url = parse_url(request.url, request.params)
                host = url.raw_host.decode("ascii")
                final, raw = await work(url)
                seconds = self._clock.monotonic() - started
                return reply_of(final, raw, secrets_of(request), seconds)
        except EXPECTED as error:
            failure = translate(error, host)
            if isinstance(error, TimeoutError) and deadline.expired():
                failure = timed_out(f"{host}: no reply within {request.timeout_seconds:g} s")
        finally:
            transfer.reset(before)
        # Raised outside the handler, so that it has no context: the original may quote a key.
        raise failure.redacted(secrets_of(request), sent=current.begun)

    async def _exchange(
        self, transport: "_Transport", hop: Hop, request: HttpRequest, *, stop: bool
    ) -> Raw:
        return await exchange(
            transport.pool,
            hop.method,
            hop.url,
            headers=hop.headers,
            content=hop.content,
            size_bytes_max=request.size_bytes_max,
            body=Body(secrets_of(request), transport.threads, large=request.large),
            stop_at_redirect=stop,
        )

    def _check_guarded(self, url: httpx2.URL) -> None:
        if len(str(url)) > URL_CHARS_MAX:
            raise refused(f"refused URL of more than {URL_CHARS_MAX} characters")
        origin = origin_of(url)
        if self._host_map.lookup(origin.host) is None:
            check_guarded(origin.host, origin.port)


class _Transport(NamedTuple):
    """A connection pool, and the threads that write its replies to disk."""

    pool: httpcore2.AsyncConnectionPool
    threads: Executor


def _transport(dialer: Dialer, tls: ssl.SSLContext, connections_max: int) -> _Transport:
    pool = httpcore2.AsyncConnectionPool(
        ssl_context=tls,
        max_connections=connections_max,
        max_keepalive_connections=IDLE_CONNECTIONS_MAX,
        keepalive_expiry=IDLE_SECONDS_MAX,
        network_backend=dialer,
    )
    return _Transport(pool, ThreadPoolExecutor(SPOOL_THREADS, "spool"))


def _tls(extra_ca: Path | None) -> ssl.SSLContext:
    context = httpcore2.default_ssl_context()
    if extra_ca is not None:
        try:
            context.load_verify_locations(extra_ca)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(
                f"SERPLINE_NET_TEST_CA={str(extra_ca)!r}: cannot be used: {reason}"
            ) from None
    return context


def _drop_debug(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


def _silence_libraries() -> None:
    # Their debug lines quote response headers, which may echo a key. A filter works at every log
    # level, and adding it twice has no effect.
    for name in ("httpx2", "httpcore2.connection", "httpcore2.http11"):
        logging.getLogger(name).addFilter(_drop_debug)
