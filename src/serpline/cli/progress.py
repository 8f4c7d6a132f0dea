"""Progress of a run, what it waits for, and what people do to it, until it ends.

On a terminal these are live bars, otherwise lines as things change. Progress is the sum of chunk
counters, so reading it costs the same for a run of any size.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import typer
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from serpline.cli.common import print_message
from serpline.cli.invocation import command
from serpline.cli.run_events import is_action, words
from serpline.cli.tables import ID_CHARACTERS, stderr
from serpline.cli.times import minute
from serpline.core.escaping import terminal_text
from serpline.domain.errors import UserError
from serpline.domain.phases import LaneKey, LaneView
from serpline.domain.states import ENDED_LANES, ENDED_RUNS, LaneStatus
from serpline.domain.waits import WaitCause

if TYPE_CHECKING:
    from serpline.app.services import Services
    from serpline.domain.waits import Waiting
    from serpline.store.runs.runs import RunRow

POLL_SECONDS = 0.5
# Between two looks at what the run waits for.
LOOK_SECONDS = 2.0

_COLOURS: Mapping[LaneStatus, str] = {
    LaneStatus.PENDING: "dim",
    LaneStatus.RUNNING: "cyan",
    LaneStatus.COMPLETED: "green",
    LaneStatus.FAILED: "red",
    LaneStatus.BLOCKED: "red",
    LaneStatus.SKIPPED: "dim",
    LaneStatus.CANCELLED: "yellow",
}


async def follow(
    opened: "Services",
    run_id: UUID,
    *,
    quiet: bool = False,
    check: Callable[[], Awaitable[None]] | None = None,
    ctx: typer.Context | None = None,
) -> "RunRow":
    """Show a run's progress, and what it waits for, until it ends; return the run.

    ``quiet`` shows nothing. ``check``, of a caller that keeps its own workers running, is awaited
    at every poll and may raise. ``ctx``: of the command whose interruption leaves the run going on;
    then this and the next commands are told. Raises ``UserError`` if the run disappears.
    """
    display = _display(quiet)
    try:
        with display:
            return await _follow(opened, run_id, display, check)
    except asyncio.CancelledError:
        if ctx is not None:
            print_message(f"run {run_id} goes on. To watch it again, and to cancel it:")
            for verb in ("watch", "cancel"):
                print_message(f"  {command(ctx.obj, 'run', verb, str(run_id)[:ID_CHARACTERS])}")
        raise


async def _follow(
    opened: "Services",
    run_id: UUID,
    display: "_Display",
    check: Callable[[], Awaitable[None]] | None,
) -> "RunRow":
    from serpline.pipeline.waiting import read_waiting
    from serpline.store.runs import events, runs

    last_event, looked_at = 0, float("-inf")
    while True:
        looks = opened.clock.monotonic() >= looked_at + LOOK_SECONDS
        async with opened.database.transaction() as conn:
            run = await runs.get(conn, run_id)
            lanes = await runs.lanes(conn, run_id)
            if run is None:
                raise UserError(f"run {run_id}: there is no such run")
            display.show(lanes)
            if looks or run.status in ENDED_RUNS:
                looked_at = opened.clock.monotonic()
                waiting, now = await read_waiting(conn, run_id)
                if check is not None:
                    # The caller keeps its workers running: some may only be starting.
                    waits = [w for w in waiting.waits if w.cause is not WaitCause.NO_WORKER]
                    waiting = replace(waiting, waits=waits)
                display.wait(waiting, now)
                while found := await events.of_run(conn, run_id, last_id=last_event):
                    last_event = found[-1]["id"]
                    for event in filter(is_action, found):
                        display.tell(f"{minute(event['occurred_at'])} UTC: {words(event)}")
        if run.status in ENDED_RUNS:
            return run
        if check is not None:
            await check()
        await opened.clock.sleep(POLL_SECONDS)


class _Display(AbstractContextManager["_Display"]):
    """Shows nothing."""

    def __exit__(self, *_: object) -> None:
        """Stop the display."""

    def show(self, lanes: list[LaneView]) -> None:
        """Show the current lanes."""

    def wait(self, waiting: "Waiting", now: datetime) -> None:
        """Show what the run waits for."""

    def tell(self, line: str) -> None:
        """Show what a person did."""


class _Lines(_Display):
    """A line on stderr whenever a lane starts or ends, or what the run waits for changes."""

    def __init__(self) -> None:
        from serpline.pipeline.waiting import WaitLog

        self._seen: dict[LaneKey, LaneStatus] = {}
        self._waits = WaitLog()

    def wait(self, waiting: "Waiting", now: datetime) -> None:
        for line in self._waits.changed(waiting, now):
            print_message(line)

    def tell(self, line: str) -> None:
        print_message(line)

    def show(self, lanes: list[LaneView]) -> None:
        for lane in lanes:
            before = self._seen.get(lane.key, LaneStatus.PENDING)
            self._seen[lane.key] = lane.status
            if lane.status is before or lane.status is LaneStatus.SKIPPED:
                continue
            if lane.status in ENDED_LANES:
                print_message(
                    f"{lane.key} {lane.status}: {lane.completed} of {lane.planned} completed,"
                    f" {lane.failed} failed, {lane.skipped} skipped"
                )
            else:
                print_message(f"{lane.key} {lane.status}")


class _Bars(_Display):
    """A live bar per lane, and below them what the run does and waits for."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
        )
        self._tasks: dict[LaneKey, TaskID] = {}
        self._live = Live(self._progress, console=stderr())

    def __enter__(self) -> "_Bars":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def wait(self, waiting: "Waiting", now: datetime) -> None:
        from serpline.pipeline.waiting import lines

        below = [Text(terminal_text(line), style="yellow") for line in lines(waiting, now)]
        self._live.update(Group(self._progress, *below))

    def tell(self, line: str) -> None:
        self._live.console.print(Text(terminal_text(line)))

    def show(self, lanes: list[LaneView]) -> None:
        for lane in lanes:
            if lane.status is LaneStatus.SKIPPED:
                continue
            task = self._tasks.get(lane.key)
            if task is None:
                name = f"{lane.key.phase:<27} {lane.key.content_type:<8}"
                task = self._progress.add_task(name, total=None, words="")
                self._tasks[lane.key] = task
            failed = f", {lane.failed} failed" if lane.failed else ""
            colour = _COLOURS[lane.status]
            ended = lane.status in ENDED_LANES
            # A bar without a total pulses: working, amount unknown.
            pulsing = lane.status is LaneStatus.RUNNING and not lane.is_planned
            total = None if pulsing else max(lane.planned, 1)
            done = lane.completed + lane.failed + lane.skipped
            self._progress.update(
                task,
                total=total,
                completed=max(done, 1) if ended and not lane.planned else done,
                words=f"[{colour}]{lane.status}{failed}[/]",
            )


def _display(quiet: bool) -> _Display:
    if quiet:
        return _Display()
    return _Bars() if stderr().is_terminal else _Lines()
