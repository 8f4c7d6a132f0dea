"""Progress of a run: a live bar per lane on a terminal, otherwise a line per change of a lane.

Progress is the sum of chunk counters, so reading it costs the same for a run of any size.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from uuid import UUID

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from serpline.cli.common import print_message
from serpline.cli.tables import stderr
from serpline.domain.errors import UserError
from serpline.domain.phases import LaneKey, LaneView
from serpline.domain.states import ENDED_LANES, ENDED_RUNS, LaneStatus

if TYPE_CHECKING:
    from serpline.app.services import Services
    from serpline.store.runs.runs import RunRow

POLL_SECONDS = 0.5

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
) -> "RunRow":
    """Show a run's progress until it ends, and return the run. ``quiet`` shows nothing.

    ``check`` is awaited at every poll and may raise. Raises ``UserError`` if the run disappears.
    """
    from serpline.store.runs import runs

    display = _display(quiet)
    with display:
        while True:
            async with opened.database.transaction() as conn:
                run = await runs.get(conn, run_id)
                lanes = await runs.lanes(conn, run_id)
            if run is None:
                raise UserError(f"run {run_id}: there is no such run")
            display.show(lanes)
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


class _Lines(_Display):
    """A line on stderr whenever a lane starts or ends."""

    def __init__(self) -> None:
        self._seen: dict[LaneKey, LaneStatus] = {}

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
    """A live bar per lane."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            console=stderr(),
        )
        self._tasks: dict[LaneKey, TaskID] = {}

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

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
