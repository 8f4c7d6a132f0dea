"""Serve the web application on a socket, in the caller's event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Generator
from typing import TYPE_CHECKING

import uvicorn

from serpline.cli.connections import REQUEST_SECONDS, bounded_protocol, default_connections_max
from serpline.domain.errors import UserError

if TYPE_CHECKING:
    from fastapi import FastAPI

GRACE_SECONDS = 10
BACKLOG = 2048


class _Server(uvicorn.Server):
    """A server that leaves signal handling to the command."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def bind_socket(host: str, port: int) -> socket.socket:
    """Bind a socket to the address. Raises ``UserError`` if that fails."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise UserError(f"web on {host}:{port}: {error.strerror or error}") from None
    return listener


@contextlib.asynccontextmanager
async def serving(
    app: "FastAPI",
    host: str,
    port: int,
    *,
    connections_max: int | None = None,
    request_seconds: float = REQUEST_SECONDS,
) -> AsyncIterator[tuple[int, asyncio.Task[None]]]:
    """Serve until the block ends. Gives the port and the task, which ends early only on a bug.

    ``connections_max`` and ``request_seconds`` limit connections (``connections``). URLs are not
    logged: webhook paths are secrets.
    """
    protocol = bounded_protocol(connections_max or default_connections_max(), request_seconds)
    with contextlib.closing(bind_socket(host, port)) as listener:
        listener.listen(BACKLOG)  # accept connections while the server still starts
        settings = uvicorn.Config(
            app,
            http=protocol,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        server = _Server(settings)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield int(listener.getsockname()[1]), task
        finally:
            server.should_exit = True
            await task
