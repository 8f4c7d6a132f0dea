"""The HTTP client against peers that are slow, endless, cut, lying or hostile, and cancelled."""

import asyncio
import contextlib
import gzip
import os
import random
import socket
import struct
import threading
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from serpline.domain.errors import ErrorCategory
from serpline.domain.http import HttpReply, HttpRequest
from serpline.net import dialer
from serpline.net.client import HttpClient
from serpline.net.errors import NetError
from serpline.net.limits import (
    HEAD_BYTES_MAX,
    PAGE_CONNECTIONS_MAX,
    PAGE_RESOLVER_THREADS,
    WIRE_BYTES_PER_BODY_BYTE,
    WIRE_BYTES_SPARE,
)

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GZIPPED = OK + b"Content-Encoding: gzip\r\n\r\n"
SIZE_MAX = 20_000_000
DEADLINE_SECONDS = 0.4
Behave = Callable[["Peer", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Peer:
    """A server that behaves badly, and what became of it."""

    port: int = 0
    accepted: int = 0
    sent_bytes: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    handlers: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = field(default_factory=dict)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()
        self.sent_bytes += len(data)


@contextlib.asynccontextmanager
async def peer(behave: Behave) -> AsyncIterator[Peer]:
    """Read a request's head on every connection, then ``behave`` until the client goes away."""
    site = Peer()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        site.handlers[asyncio.current_task()] = writer
        site.accepted += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await behave(site, reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        for writer in site.handlers.values():
            writer.transport.abort()
        await asyncio.gather(*filter(None, site.handlers))


def saying(*parts: bytes) -> Behave:
    """Say ``parts`` and hang up."""

    async def behave(site: Peer, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            await site.send(writer, part)
        writer.close()

    return behave


def repeating(start: bytes, part: bytes, *, pause_seconds: float = 0.0) -> Behave:
    """Say ``start``, then ``part`` for ever; the pause is how slow this peer is."""

    async def behave(site: Peer, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await site.send(writer, start)
        while True:
            await site.send(writer, part)
            await asyncio.sleep(pause_seconds)

    return behave


async def hang(site: Peer, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Never answer; end when the client hangs up."""
    site.reached.set()
    await reader.read()


async def outcome(client: HttpClient, url: str, **fields: Any) -> HttpReply | NetError:
    try:
        return await client.send(HttpRequest("GET", url, **fields))
    except NetError as error:
        return error


async def failure(behave: Behave, **fields: Any) -> tuple[NetError, Peer]:
    """The error of one call to such a peer; afterwards no connection is left on either side."""
    async with peer(behave) as site, HttpClient(trusted_bases=[site.base]) as client:
        got = await outcome(client, site.base, **fields)
        _, still_open = await asyncio.wait(list(filter(None, site.handlers)), timeout=5)
    assert not still_open
    assert isinstance(got, NetError), got
    return got, site


# --- slow peers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behave",
    [
        hang,
        repeating(b"H", b"T", pause_seconds=0.02),
        repeating(OK, b"X-A: 1\r\n", pause_seconds=0.02),
        repeating(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause_seconds=0.02),
        repeating(OK + b"Content-Length: 100000\r\n\r\n", b"x", pause_seconds=0.02),
        repeating(CHUNKED, b"1\r\nx\r\n", pause_seconds=0.02),
        repeating(OK + b"\r\n", b"x", pause_seconds=0.02),
    ],
    ids=["silent", "status line", "headers", "1xx", "body", "chunks", "body until close"],
)
async def test_slow_peer_is_left_at_the_deadline(behave: Behave) -> None:
    """However often a slow peer shows life, the call ends at its deadline."""
    started = time.monotonic()
    error, site = await failure(behave, timeout_seconds=DEADLINE_SECONDS)
    assert DEADLINE_SECONDS <= time.monotonic() - started < DEADLINE_SECONDS + 1
    assert (error.category, error.permanent) == (ErrorCategory.TIMEOUT, False)
    assert f"{DEADLINE_SECONDS:g} s" in str(error)
    assert site.accepted == 1


async def test_deadline_covers_all_redirects_together() -> None:
    """Redirects that each take a little do not add up beyond the one deadline."""

    async def behave(site: Peer, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(DEADLINE_SECONDS / 3)
        await site.send(writer, b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")

    async with peer(behave) as site:
        client = HttpClient(host_map={"a.test": f"127.0.0.1:{site.port}"})
        async with client:
            request = HttpRequest("GET", "http://a.test/", timeout_seconds=DEADLINE_SECONDS)
            with pytest.raises(NetError) as caught:
                await client.fetch(request, redirects_max=20)
    assert caught.value.category is ErrorCategory.TIMEOUT
    assert site.accepted in (2, 3)


async def test_deadline_covers_look_up_connect_and_handshake() -> None:
    """A resolver, a listener or a TLS peer that never answers is left at the deadline."""
    asked = asyncio.Event()

    async def never(_: str) -> Sequence[str]:
        asked.set()
        await asyncio.Event().wait()
        return []

    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with contextlib.ExitStack() as stack:
            # Two connections fill the backlog; the next is left hanging by the kernel.
            for _ in range(2):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(address)
            bases = [f"https://a.sim:{address[1]}", f"http://127.0.0.1:{address[1]}"]
            async with HttpClient(trusted_bases=bases, resolve=never) as client:
                for base in bases:
                    got = await outcome(client, base, timeout_seconds=DEADLINE_SECONDS)
                    assert isinstance(got, NetError)
                    assert got.category is ErrorCategory.TIMEOUT
    assert asked.is_set()
    async with peer(hang) as site:
        base = site.base.replace("http:", "https:")
        async with HttpClient(trusted_bases=[base]) as client:
            got = await outcome(client, base, timeout_seconds=DEADLINE_SECONDS)
    assert isinstance(got, NetError)
    assert (got.category, site.accepted) == (ErrorCategory.TIMEOUT, 1)


async def test_each_address_gets_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that does not answer gives way to the next one."""
    monkeypatch.setattr(dialer, "CONNECT_SECONDS_MAX", 0.1)
    real = dialer._connect
    dialled: list[str] = []

    async def connect(endpoint: Any) -> Any:
        dialled.append(str(endpoint.address))
        if len(dialled) == 1:
            await asyncio.Event().wait()
        return await real(endpoint)

    monkeypatch.setattr(dialer, "_connect", connect)

    async def resolve(_: str) -> Sequence[str]:
        return ["127.0.0.2", "127.0.0.1"]

    async with peer(saying(OK + b"Content-Length: 0\r\n\r\n")) as site:
        base = f"http://api.sim:{site.port}"
        async with HttpClient(trusted_bases=[base], resolve=resolve) as client:
            got = await outcome(client, base, timeout_seconds=3.0)
    assert isinstance(got, HttpReply)
    assert dialled == ["127.0.0.2", "127.0.0.1"]


# --- endless peers -------------------------------------------------------------------------------


def bomb(kilobytes: int) -> bytes:
    """A gzip stream that inflates a thousandfold, without an end."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    block = packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block + again * kilobytes


@pytest.mark.parametrize(
    ("behave", "sent_bytes_max"),
    [
        (repeating(OK, b"X-A: " + b"a" * 50 + b"\r\n"), HEAD_BYTES_MAX),
        (repeating(OK + b"X-A: ", b"a" * 4096), HEAD_BYTES_MAX),
        (repeating(b"", b"HTTP/1.1 103 X\r\n\r\n" * 100), HEAD_BYTES_MAX),
        (saying(OK + b"Content-Length: 10000000000\r\n\r\n"), 0),
        (repeating(CHUNKED, b"10000\r\n" + bytes(65536) + b"\r\n"), SIZE_MAX),
        (repeating(OK + b"\r\n", bytes(65536)), SIZE_MAX),
        (repeating(GZIPPED + bomb(10_000), b"\0"), SIZE_MAX),
        (
            repeating(CHUNKED, b"1;" + b"x" * 9000 + b"\r\ny\r\n"),
            SIZE_MAX * WIRE_BYTES_PER_BODY_BYTE + WIRE_BYTES_SPARE,
        ),
        (repeating(GZIPPED + gzip.compress(b"")[:10], b"\0\0\0\xff\xff" * 8000), SIZE_MAX),
    ],
    ids=["headers", "one header", "1xx", "announced", "chunks", "until close", "gzip bomb",
         "chunk extensions", "empty blocks"],
)  # fmt: skip
async def test_endless_reply_ends_at_its_limit_with_bounded_memory(
    behave: Behave, sent_bytes_max: int
) -> None:
    """A reply without an end is left soon after its limit, and is a permanent error."""
    tracemalloc.start()
    try:
        error, site = await failure(behave, timeout_seconds=20.0, size_bytes_max=SIZE_MAX)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (error.category, error.permanent) == (ErrorCategory.BAD_REQUEST, True)
    # What lies in the sockets' buffers was sent, but not taken in.
    assert site.sent_bytes < sent_bytes_max + 8_000_000 + len(bomb(1)) * 20
    assert peak_bytes < 50_000_000


async def test_other_calls_go_on_while_a_peer_floods() -> None:
    """Tiny chunks, 1xx floods and bombs never hold up the event loop for long."""
    floods = (
        repeating(CHUNKED, b"1\r\nx\r\n" * 10_000),
        repeating(b"", b"HTTP/1.1 103 X\r\n\r\n" * 5_000),
        saying(GZIPPED, bomb(5_000)),
    )
    for flood in floods:
        async with peer(flood) as bad, HttpClient(trusted_bases=[bad.base]) as client:
            call = asyncio.create_task(outcome(client, bad.base, timeout_seconds=1.0))
            longest = 0.0
            while not call.done():
                started = time.thread_time()
                await asyncio.sleep(0)
                longest = max(longest, time.thread_time() - started)
            assert isinstance(call.result(), NetError)
        # CPU time of one turn of the loop, the flooding server's own work included.
        assert longest < 0.05


async def test_hanging_pages_leave_the_providers_their_connections() -> None:
    """With every page connection taken, a provider is called as if nothing were."""
    async with (
        peer(hang) as pages,
        peer(saying(OK + b"Content-Length: 2\r\n\r\nok")) as provider,
        HttpClient(
            trusted_bases=[provider.base], host_map={"*.test": f"127.0.0.1:{pages.port}"}
        ) as client,
    ):
        stuck = [
            asyncio.create_task(client.fetch(HttpRequest("GET", f"http://p{number}.test/")))
            for number in range(PAGE_CONNECTIONS_MAX + 10)
        ]
        while pages.accepted < PAGE_CONNECTIONS_MAX:
            await asyncio.sleep(0)
        got = await outcome(client, provider.base, timeout_seconds=5.0)
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
        assert pages.accepted == PAGE_CONNECTIONS_MAX
    assert isinstance(got, HttpReply)


async def test_hanging_look_ups_of_pages_leave_the_providers_their_resolver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With every page look-up stuck in the system's resolver, a provider's name is resolved."""
    release = threading.Event()
    waiting = threading.Semaphore(0)
    real = socket.getaddrinfo

    def slow(name: Any, *args: Any, **options: Any) -> Any:
        if b"example.com" in name:
            waiting.release()
            release.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "slow")
        return real(name, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    async with peer(saying(OK + b"Content-Length: 0\r\n\r\n")) as site:
        base = f"http://localhost:{site.port}"
        async with HttpClient(trusted_bases=[base]) as client:
            stuck = [
                asyncio.create_task(client.fetch(HttpRequest("GET", f"http://{n}.example.com/")))
                for n in range(PAGE_RESOLVER_THREADS * 2)
            ]
            for _ in range(PAGE_RESOLVER_THREADS):
                await asyncio.to_thread(waiting.acquire)
            got = await outcome(client, base, timeout_seconds=5.0)
            release.set()
            failures = await asyncio.gather(*stuck, return_exceptions=True)
    assert isinstance(got, HttpReply)
    assert {type(each) for each in failures} == {NetError}


# --- cut and lying peers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"HTTP/1.1 200",),
        (OK + b"Content-Length: 10\r\n",),
        (OK + b"Content-Length: 10\r\n\r\nhalf",),
        (CHUNKED + b"5\r\nhello\r\n5\r\nhe",),
        (CHUNKED + b"5\r\nhello\r\n",),
        (CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n",),
        (GZIPPED + gzip.compress(b"some words" * 50, mtime=0)[:-9],),
        (GZIPPED + b"\x00\x01 is no gzip",),
        (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",),
        (OK + b"Content-Length: -1\r\n\r\n",),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc",),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n",),
        (b"\x00\x01\x02" * 100,),
    ],
    ids=["nothing", "status", "headers", "body", "chunk", "last chunk", "chunk size", "gzip cut",
         "no gzip", "two lengths", "negative", "switch", "not HTTP", "binary"],
)  # fmt: skip
async def test_cut_or_broken_reply_is_an_error_and_never_a_shorter_page(
    parts: tuple[bytes, ...],
) -> None:
    """A reply that does not arrive whole and well-formed is no reply."""
    error, _ = await failure(saying(*parts), timeout_seconds=5.0)
    assert (error.category, error.permanent) == (ErrorCategory.NETWORK, False)


async def test_unasked_encoding_is_refused() -> None:
    """A body in an encoding that was not asked for is refused for good: it would come again."""
    said = OK + b"Content-Encoding: br\r\nContent-Length: 1\r\n\r\nx"
    error, _ = await failure(saying(said), timeout_seconds=5.0)
    assert (error.category, error.permanent) == (ErrorCategory.BAD_REQUEST, True)


async def test_reset_in_the_body_is_an_error() -> None:
    """A connection reset half-way is a NETWORK error."""

    async def behave(site: Peer, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await site.send(writer, OK + b"Content-Length: 10\r\n\r\nhalf")
        linger = struct.pack("ii", 1, 0)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    error, _ = await failure(behave, timeout_seconds=5.0)
    assert error.category is ErrorCategory.NETWORK


async def test_plain_text_where_tls_was_asked_is_an_error() -> None:
    """A server without TLS on an https URL is a NETWORK error."""

    async def answer_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(answer_at_once, "127.0.0.1", 0)
    base = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, HttpClient(trusted_bases=[base]) as client:
        got = await outcome(client, base, timeout_seconds=5.0)
    assert isinstance(got, NetError)
    assert (got.category, got.permanent) == (ErrorCategory.NETWORK, False)


async def test_bytes_behind_a_reply_are_never_taken_for_the_next_one() -> None:
    """A second reply that nobody asked for is not given to the next request."""

    async def behave(
        site: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await site.send(
            writer, OK + b"Content-Length: 2\r\n\r\nok" + OK + b"Content-Length: 4\r\n\r\nevil"
        )
        await reader.read()

    async with peer(behave) as site, HttpClient(trusted_bases=[site.base]) as client:
        first = await outcome(client, site.base)
        second = await outcome(client, site.base)
        third = await outcome(client, site.base)
    assert isinstance(first, HttpReply)
    assert first.body == b"ok"
    assert isinstance(second, NetError)
    assert second.category is ErrorCategory.NETWORK
    assert isinstance(third, HttpReply)
    assert (third.body, site.accepted) == (b"ok", 2)


@pytest.mark.parametrize("seed", [1, 2])
async def test_mutated_replies_raise_nothing_but_net_errors(seed: int) -> None:
    """150 replies with random bytes changed, cut or doubled end as replies or as NetError."""
    rng = random.Random(seed)
    whole = (
        OK
        + b"Content-Type: text/html; charset=utf-8\r\nContent-Encoding: gzip\r\n"
        + b"Location: /x\r\nTransfer-Encoding: chunked\r\n\r\n26\r\n"
        + gzip.compress(b"some words of a page", mtime=0)
        + b"\r\n0\r\n\r\n"
    )

    async def behave(site: Peer, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = bytearray(whole)
        for _change in range(rng.randint(1, 6)):
            at = rng.randrange(len(data))
            data[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        await site.send(writer, bytes(data))
        writer.close()

    seen: set[type] = set()
    async with peer(behave) as site, HttpClient(trusted_bases=[site.base]) as client:
        for _ in range(150):
            seen.add(type(await outcome(client, site.base, timeout_seconds=5.0)))
    assert seen == {HttpReply, NetError}


# --- cancellation --------------------------------------------------------------------------------


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def files_at_most(number: int) -> None:
    """Wait until both ends have closed what they opened; a leak ends in a timeout."""
    async with asyncio.timeout(5):
        while open_files() > number:
            await asyncio.sleep(0)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_cancelled_calls_leave_no_socket_behind(scheme: str) -> None:
    """120 calls cancelled after 0, 1, 2 … turns of the loop leave no file open on either side."""

    async def behave(
        site: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await site.send(writer, OK + b"Content-Length: 100000\r\n\r\n")
        await reader.read()

    async with peer(behave) as site:
        base = f"{scheme}://127.0.0.1:{site.port}"
        async with HttpClient(trusted_bases=[base]) as client:
            before = open_files()
            for turns in range(120):
                call = asyncio.create_task(outcome(client, base))
                for _ in range(turns):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
                assert call.cancelled()
            assert site.accepted > 60
            await files_at_most(before)
            assert "0 active, 0 queued | Connections: 0 active" in repr(client._providers)


async def test_many_calls_cancelled_at_once_free_the_pool() -> None:
    """300 calls, in flight and waiting for a connection, are cancelled; the next one works."""
    good = False

    async def behave(
        site: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if good:
            await site.send(writer, OK + b"Content-Length: 0\r\n\r\n")
        await reader.read()

    async with peer(behave) as site, HttpClient(trusted_bases=[site.base]) as client:
        before = open_files()
        calls = [asyncio.create_task(outcome(client, site.base)) for _ in range(300)]
        while site.accepted < 256:
            await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert all(call.cancelled() for call in calls)
        await files_at_most(before)
        good = True
        got = await outcome(client, site.base, timeout_seconds=5.0)
    assert isinstance(got, HttpReply)
    assert site.accepted == 257
