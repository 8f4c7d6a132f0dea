"""A request can be called off until its last byte is written."""

import asyncio
import socket

import pytest
from tests.integration.test_net import Authority, authority, reply, serve

from serpline.domain.http import HttpRequest
from serpline.net.client import HttpClient
from serpline.net.errors import CalledOff

__all__ = ["authority"]
BODY_BYTES = 16_000_000


def never() -> bool:
    return False


async def test_nothing_is_written_once_the_request_may_not_be_sent() -> None:
    """The open connection stays unused, and the next request is served."""
    async with serve(lambda _: reply()) as site, HttpClient(trusted_bases=[site.base]) as client:
        with pytest.raises(CalledOff):
            await client.send(HttpRequest("GET", site.base, may_send=never))
        await client.send(HttpRequest("GET", f"{site.base}/next"))
    assert [received.target for received in site.requests] == ["/next"]


async def test_nor_on_a_connection_that_served_before(authority: Authority) -> None:
    """The check also precedes every write of TLS."""
    async with serve(lambda _: reply(), authority.server("localhost")) as site:
        base = f"https://localhost:{site.port}"
        async with HttpClient(trusted_bases=[base], test_ca=authority.file) as client:
            await client.send(HttpRequest("GET", f"{base}/first"))
            with pytest.raises(CalledOff):
                await client.send(HttpRequest("GET", f"{base}/second", may_send=never))
            await client.send(HttpRequest("GET", f"{base}/third"))
    assert [received.target for received in site.requests] == ["/first", "/third"]


async def test_a_request_half_written_stays_half_written() -> None:
    """Bytes that did not fit into the socket are not sent after the request is called off."""
    loop = asyncio.get_running_loop()
    may, blocked = True, asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"

        def may_send() -> bool:
            loop.call_soon(blocked.set)  # runs when the writing waits for room
            return may

        async with HttpClient(trusted_bases=[base]) as client:
            request = HttpRequest("POST", base, json="x" * BODY_BYTES, may_send=may_send)
            sending = asyncio.create_task(client.send(request))
            peer, _ = await loop.sock_accept(listening)
            with peer:
                await blocked.wait()
                may, received = False, 0
                while data := await loop.sock_recv(peer, 1_000_000):
                    received += len(data)
            with pytest.raises(CalledOff):
                await sending
    assert 0 < received < BODY_BYTES
