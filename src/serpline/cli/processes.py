"""``serpline worker``, ``web`` and ``up``: the processes that do the work.

The first SIGTERM or Ctrl-C drains: work in hand is settled or given back. A second one ends the
process at once, which loses nothing either: others take over.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serpline.cli.common import ENVIRONMENT_DATA_DIR, configure_logging, say, settings_of
from serpline.core.clock import SystemClock
from serpline.core.settings import Settings

if TYPE_CHECKING:
    from serpline.cli.supervise import Supervisor

LOOPBACK = "127.0.0.1"
INTERRUPTED = 130

WithParent = Annotated[
    bool, typer.Option("--with-parent", hidden=True, help="Stop when stdin ends.")
]
Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="SERPLINE_WEB_PORT; 0: any free one.")
]


@asynccontextmanager
async def until_stopped(*, with_parent: bool = False) -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM, SIGINT and (``with_parent``) the end of stdin set.

    The second signal cancels the task.
    """
    stop, loop, task = asyncio.Event(), asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def on_signal() -> None:
        if stop.is_set():
            task.cancel()
        stop.set()

    def on_stdin() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            stop.set()

    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, on_signal)
    if with_parent:
        loop.add_reader(0, on_stdin)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
        if with_parent:
            loop.remove_reader(0)


def worker(
    ctx: typer.Context,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Chunks at once (SERPLINE_WORKER_CONCURRENCY)."),
    ] = None,
    with_parent: WithParent = False,
) -> int:
    """Work on runs until stopped."""
    settings = settings_of(ctx, worker_concurrency=concurrency)
    configure_logging(settings, "INFO")

    async def work() -> int:
        from serpline.app import run_worker

        async with until_stopped(with_parent=with_parent) as stop:
            await run_worker(settings, stop)
            # Ended although nobody asked: declared dead by others. Whoever supervises starts anew.
            return 0 if stop.is_set() else 1

    return _run(work())


def web(
    ctx: typer.Context,
    host: Host = LOOPBACK,
    port: Port = None,
    with_parent: WithParent = False,
) -> int:
    """Serve webhooks (and a health check) until stopped."""
    settings = settings_of(ctx, web_port=port)
    configure_logging(settings, "INFO")

    async def serve() -> int:
        from serpline.api.app import create_app
        from serpline.app import open_services
        from serpline.cli.webserver import serving

        async with (
            until_stopped(with_parent=with_parent) as stop,
            open_services(settings) as opened,
            serving(create_app(opened.pipeline), host, settings.web_port) as (chosen, server),
        ):
            say(f"web on http://{host}:{chosen}")
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({stopping, server}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            return 0 if stop.is_set() else 1

    return _run(serve())


def up(
    ctx: typer.Context,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 2,
    host: Host = LOOPBACK,
    port: Port = None,
) -> int:
    """Run the web application and workers, and restart what dies, until stopped."""
    settings = settings_of(ctx, web_port=port)
    configure_logging(settings, "INFO")

    async def supervise() -> int:
        async with until_stopped() as stop:
            supervisor = await _prepared(settings, workers, host)
            async with supervisor.running():
                say(f"up: web on http://{host}:{settings.web_port} and {workers} workers")
                await stop.wait()
                say("stopping: work in hand is settled first")
        return 0

    return _run(supervise())


async def _prepared(settings: Settings, workers: int, host: str) -> "Supervisor":
    """The supervisor, once it is sure that no child must fail for want of a database or a port."""
    from serpline.app import open_services
    from serpline.cli.supervise import Child, Supervisor
    from serpline.cli.webserver import bound

    async with open_services(settings):
        pass
    bound(host, settings.web_port).close()
    environment = {**os.environ, ENVIRONMENT_DATA_DIR: str(settings.data_dir)}
    web_arguments = ["web", "--host", host, "--port", str(settings.web_port)]
    children = [Child("web", web_arguments, environment)]
    children += [Child(f"worker {n}", ["worker"], environment) for n in range(1, workers + 1)]
    return Supervisor(children, SystemClock())


def _run(main: Coroutine[Any, Any, int]) -> int:
    try:
        return asyncio.run(main)
    except asyncio.CancelledError:
        return INTERRUPTED
