"""``serpline worker``, ``scheduler``, ``web`` and ``up``: the long-running processes.

The first SIGTERM or Ctrl-C drains the process: it settles or releases its work. A second one ends
it at once, and other workers take over its work. After ``end_seconds`` it ends in any case, even if
the database, a name lookup or the event loop hangs.
"""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serpline.cli.common import (
    ENVIRONMENT_DATA_DIR,
    configure_logging,
    load_settings,
    print_message,
)
from serpline.cli.supervise import WITH_PARENT
from serpline.core.clock import SystemClock
from serpline.core.logging import get
from serpline.core.settings import Settings

if TYPE_CHECKING:
    from serpline.cli.supervise import Supervisor

LOOPBACK = "127.0.0.1"
INTERRUPTED = 130
# After the grace: time to settle and release work.
SETTLE_SECONDS_MAX = 8.0
# Supervisors, ours included, kill 30 s after SIGTERM.
END_SECONDS_MAX = 28.0

log = get(__name__)

WithParent = Annotated[bool, typer.Option(WITH_PARENT, hidden=True, help="Stop when stdin closes.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="TCP port; 0: any free one. Default: SERPLINE_WEB_PORT."),
]


def end_seconds(settings: Settings) -> float:
    """Seconds from the first signal until the process ends at the latest."""
    return min(settings.shutdown_grace_seconds + SETTLE_SECONDS_MAX, END_SECONDS_MAX)


class _Deadline:
    """Ends this process a fixed time after ``begin``, from a daemon thread.

    The event loop cannot do it: at exit, the interpreter waits for every executor thread.
    """

    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._end, [seconds])
        self._timer.daemon = True

    def begin(self) -> None:
        """Start the timer. Later calls change nothing."""
        if self._timer.ident is None:
            self._timer.start()

    @staticmethod
    def _end(seconds: float) -> None:
        log.warning("process.abandoned", action="process.abandoned", after_seconds=seconds)
        os._exit(0)


@asynccontextmanager
async def until_stopped(
    *, with_parent: bool = False, ends_within: float | None = None
) -> AsyncIterator[asyncio.Event]:
    """Give an event that SIGTERM, SIGINT and (``with_parent``) the end of stdin set.

    The second signal cancels the task. ``ends_within``: the process ends at most this many seconds
    after the first signal or after the block, and other workers take over its work.
    """
    deadline = None if ends_within is None else _Deadline(ends_within)
    stop, loop, task = asyncio.Event(), asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def end() -> None:
        if deadline is not None:
            deadline.begin()
        stop.set()

    def on_signal() -> None:
        if stop.is_set():
            task.cancel()
        end()

    def on_stdin() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            end()

    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, on_signal)
    if with_parent:
        loop.add_reader(0, on_stdin)
    try:
        yield stop
    finally:
        if deadline is not None:
            deadline.begin()
        for number in signals:
            loop.remove_signal_handler(number)
        if with_parent:
            loop.remove_reader(0)


def worker(
    ctx: typer.Context,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Chunks at a time. Default: SERPLINE_WORKER_CONCURRENCY."),
    ] = None,
    with_parent: WithParent = False,
) -> int:
    """Run one worker process until stopped. It works on the chunks of all runs."""
    settings = load_settings(ctx, worker_concurrency=concurrency)
    configure_logging(settings, "INFO")

    async def work() -> int:
        from serpline.app.worker import run_worker

        ends_within = end_seconds(settings)
        async with until_stopped(with_parent=with_parent, ends_within=ends_within) as stop:
            await run_worker(settings, stop)
            # Stopped without a signal: other workers declared it dead. The supervisor restarts it.
            return 0 if stop.is_set() else 1

    return _run(work())


def scheduler(ctx: typer.Context, with_parent: WithParent = False) -> int:
    """Run the tick of the schedules alone until stopped. Every worker runs it too."""
    settings = load_settings(ctx)
    configure_logging(settings, "INFO")

    async def tick() -> int:
        from serpline.app.server import keep_server
        from serpline.app.services import open_services

        async with (
            until_stopped(with_parent=with_parent, ends_within=end_seconds(settings)) as stop,
            open_services(settings, pool_size=2) as opened,
        ):
            keeper = asyncio.create_task(keep_server(settings, opened.clock))
            try:
                await opened.tick.keep_running(stop)
            finally:
                keeper.cancel()
        return 0

    return _run(tick())


def web(
    ctx: typer.Context,
    host: Host = LOOPBACK,
    port: Port = None,
    with_parent: WithParent = False,
) -> int:
    """Serve webhooks and the health check over HTTP until stopped."""
    settings = load_settings(ctx, web_port=port)
    configure_logging(settings, "INFO")

    async def serve() -> int:
        from serpline.api.app import create_app
        from serpline.app.services import open_services
        from serpline.cli.webserver import serving

        async with (
            until_stopped(with_parent=with_parent, ends_within=end_seconds(settings)) as stop,
            open_services(settings) as opened,
            serving(create_app(opened.pipeline), host, settings.web_port) as (chosen, server),
        ):
            print_message(f"web on http://{host}:{chosen}")
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({stopping, server}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            return 0 if stop.is_set() else 1

    return _run(serve())


def up(
    ctx: typer.Context,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Number of worker processes.")] = 2,
    host: Host = LOOPBACK,
    port: Port = None,
) -> int:
    """Run the web process and workers until stopped. Restart those that crash.

    Workers also start the runs of schedules and send notifications: nothing else has to run.
    """
    settings = load_settings(ctx, web_port=port)
    configure_logging(settings, "INFO")

    async def supervise() -> int:
        from serpline.app.services import open_services
        from serpline.app.tools import check_configuration
        from serpline.cli.wait_log import log_waits

        check_configuration(settings)
        async with until_stopped() as stop, open_services(settings, pool_size=1) as opened:
            chosen = _free_port(host, settings.web_port)
            supervisor = _create_supervisor(settings, workers, host, chosen)
            async with supervisor.running():
                count = "1 worker" if workers == 1 else f"{workers} workers"
                print_message(f"up: web on http://{host}:{chosen} and {count}")
                ends = [asyncio.create_task(each.wait()) for each in (stop, supervisor.gave_up)]
                logging = asyncio.create_task(log_waits(opened))
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for task in (*ends, logging):
                    task.cancel()
                print_message("stopping: work in progress finishes first")
            await supervisor.check()
        return 0

    return _run(supervise())


def _free_port(host: str, port: int) -> int:
    """The port, or a free one for 0. Raises ``UserError`` if it is taken."""
    from serpline.cli.webserver import bind_socket

    with bind_socket(host, port) as listener:
        return int(listener.getsockname()[1])


def _create_supervisor(settings: Settings, workers: int, host: str, port: int) -> "Supervisor":
    from serpline.cli.supervise import Child, Supervisor

    environment = {**os.environ, ENVIRONMENT_DATA_DIR: str(settings.data_dir)}
    web_arguments = ["web", "--host", host, "--port", str(port)]
    children = [Child("web", web_arguments, environment)]
    children += [Child(f"worker {n}", ["worker"], environment) for n in range(1, workers + 1)]
    return Supervisor(children, SystemClock())


def _run(main: Coroutine[Any, Any, int]) -> int:
    try:
        return asyncio.run(main)
    except asyncio.CancelledError:
        return INTERRUPTED
