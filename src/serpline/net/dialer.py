"""Opens connections: resolves a name once, checks every address, connects to a checked one.

The pool calls it for each new connection, so the rules hold on every redirect. There is no second
resolution that could answer differently (DNS rebinding). TLS still verifies the URL's name.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address
from typing import Any

import httpcore2

from serpline.net.addresses import Address, address_refusal, host_refusal, literal_address
from serpline.net.errors import NetError, broken, refused, timed_out
from serpline.net.hosts import Endpoint, HostMap
from serpline.net.limits import (
    ADDRESSES_MAX,
    ADDRESSES_TRIED_MAX,
    CONNECT_SECONDS_MAX,
    GUARDED_PORTS,
)
from serpline.net.stream import Connection

Resolve = Callable[[str], Awaitable[Sequence[str]]]


class SystemResolver:
    """The system's resolver in its own threads, so that slow names delay no other work."""

    def __init__(self, threads_max: int) -> None:
        self._threads = ThreadPoolExecutor(threads_max, thread_name_prefix="serpline-resolver")

    async def __call__(self, name: str) -> Sequence[str]:
        """The addresses of ``name``, in the system's order. Raises ``OSError`` if it has none."""
        look_up = partial(socket.getaddrinfo, name.encode("ascii"), None, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))

    def close(self) -> None:
        """Start no further resolutions. Running ones end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Dialer(httpcore2.AsyncNetworkBackend):
    """The pool's network backend.

    ``guarded``: whether the rules against request forgery apply. Mapped names are exempt, because
    the operator configured their addresses. ``mapped_tls``: the TLS context for mapped names.
    """

    def __init__(
        self,
        resolve: Resolve,
        host_map: HostMap,
        *,
        guarded: bool,
        mapped_tls: ssl.SSLContext | None = None,
    ) -> None:
        self._resolve = resolve
        self._host_map = host_map
        self._guarded = guarded
        self._mapped_tls = mapped_tls

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Connection:
        """Connect to ``host``. Raises ``NetError``."""
        mapped = self._host_map.lookup(host)
        if mapped is not None:
            return await _connect_any([mapped], self._mapped_tls)
        if self._guarded:
            check_guarded(host, port)
        addresses = await self._addresses(host)
        if self._guarded:
            _check_all(host, addresses)
        return await _connect_any([Endpoint(each, port) for each in addresses])

    async def _addresses(self, host: str) -> list[Address]:
        literal = literal_address(host)
        if literal is not None:
            return [literal]
        # The trailing dot keeps the resolver from trying the machine's search domains.
        name = host + "." if self._guarded else host
        try:
            found = await self._resolve(name)
        except OSError as error:
            raise broken(f"{host}: name not resolved: {error.strerror or error}") from None
        if not 0 < len(found) <= ADDRESSES_MAX:
            raise broken(f"{host}: name resolved to {len(found)} addresses")
        return [ip_address(text) for text in found]


def check_guarded(host: str, port: int) -> None:
    """Raise a permanent ``NetError`` unless pages may be fetched from ``host`` at ``port``."""
    reason = host_refusal(host)
    if reason is not None:
        raise refused(f"refused host {host[:80]!r}: {reason}")
    if port not in GUARDED_PORTS:
        raise refused(f"refused port {port} of {host}")


def _check_all(host: str, addresses: Sequence[Address]) -> None:
    # One bad address refuses the name: rebinding names mix good and bad addresses.
    for address in addresses:
        reason = address_refusal(address)
        if reason is not None:
            raise refused(f"refused host {host!r}: resolves to a {reason} address")


async def _connect_any(
    endpoints: Sequence[Endpoint], tls: ssl.SSLContext | None = None
) -> Connection:
    failure: NetError | None = None
    for endpoint in endpoints[:ADDRESSES_TRIED_MAX]:
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                return Connection(await _connect(endpoint), tls)
        except TimeoutError:
            failure = timed_out("timed out while connecting")
        except OSError as error:
            failure = broken(f"could not connect: {error.strerror or error}")
    assert failure is not None
    raise failure


async def _connect(endpoint: Endpoint) -> socket.socket:
    family = socket.AF_INET if endpoint.address.version == 4 else socket.AF_INET6
    # Cancellation must close the socket.
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        target = (str(endpoint.address), endpoint.port)
        await asyncio.get_running_loop().sock_connect(sock, target)
        return sock
    except BaseException:
        sock.close()
        raise
