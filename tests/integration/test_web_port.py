"""Facts about the web port: what silent, slow and rude peers can take of it."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import psutil
import pytest

from serpline.api.app import create_app
from serpline.cli import webserver
from serpline.cli.webserver import bind_socket, serving
from serpline.pipeline.service import PipelineService

PLACES = 20
HOST = "127.0.0.1"


class Pipeline:
    """Awaits the webhook of one path."""

    async def awaits_webhook(self, secret: str) -> bool:
        return secret == "known"

    async def record_webhook(self, *_: Any) -> bool:
        return True


@asynccontextmanager
async def web(*, seconds: float = 30.0) -> AsyncIterator[int]:
    """The port of a server with few places."""
    app = create_app(cast(PipelineService, Pipeline()))
    async with serving(app, HOST, 0, connections_max=PLACES, request_seconds=seconds) as (port, _):
        yield port


async def answer(port: int, request: bytes, *, seconds: float = 10.0) -> bytes:
    """The status line of the answer; empty if the connection is cut first."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(request)
        async with asyncio.timeout(seconds):
            return (await reader.readline()).strip()
    except ConnectionError:
        return b""
    finally:
        writer.close()


HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_silent_connections_keep_nobody_out(caplog: pytest.LogCaptureFixture) -> None:
    """Three times the limit: the oldest are aborted, the others are served, no error is logged."""
    caplog.set_level(logging.WARNING)
    async with web() as port, AsyncExitStack() as stack:
        readers = []
        for _ in range(3 * PLACES):
            reader, writer = await asyncio.open_connection(HOST, port)
            stack.callback(writer.close)
            readers.append(reader)
        assert await answer(port, HEALTH) == b"HTTP/1.1 200 OK"
        assert await asyncio.wait_for(readers[0].read(), 10) == b""
        held = [c for c in psutil.Process().net_connections() if c.laddr and c.laddr.port == port]
        assert len([c for c in held if c.status == psutil.CONN_ESTABLISHED]) <= PLACES + 1
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"GET /health HTTP/1.1\r\nHost:",
        b"POST /webhooks/scaleserp/known HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{",
    ],
    ids=["nothing", "half a head", "half a body"],
)
async def test_a_request_that_does_not_arrive_is_cut(part: bytes) -> None:
    """Head and body have one deadline; a connection is not held beyond it."""
    async with web(seconds=0.2) as port:
        assert b"200" not in await answer(port, part)


async def test_a_second_request_has_its_own_time() -> None:
    """A connection that is kept alive is not cut by the deadline of its first request."""
    async with web(seconds=0.5) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        for pause in (0.4, 0.4, 0.4):
            writer.write(HEALTH)
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            await reader.readuntil(b'"ok"}')
            await asyncio.sleep(pause)
        writer.close()


async def test_a_second_request_that_does_not_arrive_is_cut() -> None:
    """Peers that were answered once hold no place with half a request, and keep nobody out."""
    async with web() as port, AsyncExitStack() as stack:
        readers = []
        for _ in range(PLACES):
            reader, writer = await asyncio.open_connection(HOST, port)
            stack.callback(writer.close)
            writer.write(HEALTH)
            await reader.readuntil(b'"ok"}')
            writer.write(b"GET /health HTTP/1.1\r\nHost:")
            readers.append(reader)
        assert await answer(port, HEALTH) == b"HTTP/1.1 200 OK"
        assert await asyncio.wait_for(readers[0].read(), 10) == b""
    async with web(seconds=0.2) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(HEALTH)
        await reader.readuntil(b'"ok"}')
        writer.write(b"GET")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_a_peer_that_reads_no_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many requests it sends: it holds a place for no longer than a silent one."""

    def narrow(host: str, port: int) -> socket.socket:
        listener = bind_socket(host, port)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        return listener

    monkeypatch.setattr(webserver, "bind_socket", narrow)
    async with web(seconds=0.2) as port:
        with socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            peer.connect((HOST, port))
            peer.setblocking(False)
            gives_up, is_cut = time.monotonic() + 20, False
            while not is_cut and time.monotonic() < gives_up:
                try:
                    peer.send(HEALTH * 20)
                except BlockingIOError:
                    pass
                except ConnectionError:
                    is_cut = True
                await asyncio.sleep(0.01)
        assert is_cut


async def test_the_body_of_an_unknown_path_is_not_read() -> None:
    """404 comes before the body, and the connection ends: unfinished bodies take no memory."""
    async with web() as port:
        head = (
            b"POST /webhooks/scaleserp/unknown HTTP/1.1\r\n"
            b"Host: a\r\nContent-Length: 999999\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(head + b"x" * 1_000)
        async with asyncio.timeout(10):
            whole = await reader.read()
        assert whole.startswith(b"HTTP/1.1 404")
        writer.close()


async def test_a_sender_that_leaves_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """An aborted body is no error of ours: no traceback."""
    caplog.set_level(logging.INFO)
    async with web() as port:
        _, writer = await asyncio.open_connection(HOST, port)
        writer.write(
            b"POST /webhooks/scaleserp/known HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{"
        )
        await writer.drain()
        await answer(port, HEALTH)
        writer.transport.abort()
        await answer(port, HEALTH)
    assert [record for record in caplog.records if record.exc_info] == []
