"""Automatic retention: workers share one prune pass, a portion at a time.

A pass starts every ``every_seconds``, whichever workers are running. Its position is stored in a
``housekeeping`` row, which a worker locks for one portion. The deletions of a portion and the new
position commit together. So the counts are exact, and a killed worker loses no progress: the timer
wakes another worker, as it does for runs.

Limits: a wake-up works for ``BUSY_SECONDS``, resting half of that time, and then frees its slot. A
step that raises is logged, and skipped until the next pass.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from serpline.core.clock import Clock
from serpline.core.logging import described, get
from serpline.store.database import Connection, Database, DatabaseUnavailable, TransactionConflict
from serpline.store.maintenance import housekeeping
from serpline.store.maintenance.housekeeping import Task
from serpline.store.maintenance.passes import AUTOMATIC, FINISHED, STEPS
from serpline.store.maintenance.prune import Terms, longest_ttl_days
from serpline.store.maintenance.retention import Retention
from serpline.store.runs import events
from serpline.store.runs.events import Event

log = get(__name__)

FIRST_SECONDS: Final = 3600.0
BUSY_SECONDS: Final = 10.0
# How long a pass waits after its worker used up ``BUSY_SECONDS``, or died.
NEXT_SECONDS: Final = 5.0


class Pruner:
    """Prune for one process. ``every_seconds=0`` disables it."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        retention: Retention,
        every_seconds: float,
        **bounds: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._retention = retention
        self._every_seconds = every_seconds
        self._bounds = bounds

    async def register(self) -> None:
        """Store the prune task, so that the timer wakes it. Does nothing if pruning is disabled."""
        if self._every_seconds:
            async with self._database.transaction() as conn:
                await housekeeping.ensure(conn, AUTOMATIC, FIRST_SECONDS, self._every_seconds)

    async def run(self) -> None:
        """Handle the task's wake-up: prune for ``BUSY_SECONDS`` at most."""
        busy_until = self._clock.monotonic() + BUSY_SECONDS
        while (started := self._clock.monotonic()) < busy_until:
            if not await self._prune_portion():
                return
            await self._clock.sleep(self._clock.monotonic() - started)

    async def _prune_portion(self) -> bool:
        """Prune the next portion; return False if none is due or another worker holds the pass."""
        summary: dict[str, Any] | None = None
        name: str | None = None
        try:
            async with self._database.transaction() as conn:
                held = await housekeeping.hold(conn, AUTOMATIC)
                state = await self._current_pass(conn, held) if held else None
                if held is None or state is None:
                    return False
                name = str(state["step"])
                portion = await STEPS[name](conn, self._terms(held, state), state["place"])
                _add_counts(state, portion.deleted)
                _advance(state, name, portion.place)
                summary = await self._write(conn, held, state)
        except (DatabaseUnavailable, TransactionConflict):
            raise
        except Exception as error:
            if name is None:
                raise
            log.exception("prune.step_failed", action="prune.step_failed", step=name)
            summary = await self._skip_step(name, described(error))
        if summary is not None:
            log.info(FINISHED, action=FINISHED, **summary)
        return summary is None

    async def _current_pass(self, conn: Connection, held: Task) -> dict[str, Any] | None:
        """Return the state of the current pass, or of a new one; None if none is due."""
        state = held.state
        if state.get("step") is not None and state["step"] in STEPS:
            return state
        if not self._every_seconds:
            await housekeeping.write(conn, AUTOMATIC, state, None)
            return None
        if state.get("started_at"):
            since = (held.now - datetime.fromisoformat(state["started_at"])).total_seconds()
            # A start in the future was written before the clock was set back: start a new pass.
            if 0 <= since < self._every_seconds:
                await housekeeping.write(conn, AUTOMATIC, state, self._every_seconds - since)
                return None
        return {
            "started_at": held.now.isoformat(),
            "finished_at": None,
            "ttl_days": await longest_ttl_days(conn),
            "step": next(iter(STEPS)),
            "place": [],
            "rows": {},
            "errors": {},
        }

    def _terms(self, held: Task, state: dict[str, Any]) -> Terms:
        days = max(self._retention.reference_days, state["ttl_days"])
        retention = replace(self._retention, reference_days=days)
        # Use the start of the pass as "now", so that a long pass has a fixed amount of work.
        now = datetime.fromisoformat(state["started_at"])
        return Terms.of(retention, min(now, held.now), **self._bounds)

    async def _write(
        self, conn: Connection, held: Task, state: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Store the position of the pass; when it has finished, record and return its summary."""
        if state["step"] is not None:
            await housekeeping.write(conn, AUTOMATIC, state, NEXT_SECONDS)
            return None
        state["finished_at"] = held.now.isoformat()
        started = datetime.fromisoformat(state["started_at"])
        seconds = (held.now - started) / timedelta(seconds=1)
        wait_seconds = (
            max(self._every_seconds - seconds, NEXT_SECONDS) if self._every_seconds else None
        )
        await housekeeping.write(conn, AUTOMATIC, state, wait_seconds)
        summary = {"rows": state["rows"], "seconds": seconds, "errors": state["errors"]}
        await events.append(conn, [Event(FINISHED, detail=summary)])
        return summary

    async def _skip_step(self, name: str, error: str) -> dict[str, Any] | None:
        async with self._database.transaction() as conn:
            held = await housekeeping.hold(conn, AUTOMATIC)
            state = await self._current_pass(conn, held) if held else None
            if held is None or state is None or state["step"] != name:
                return None
            state["errors"][name] = error
            _advance(state, name, None)
            return await self._write(conn, held, state)


def _add_counts(state: dict[str, Any], gone: Any) -> None:
    for table, rows in gone.items():
        if rows:
            state["rows"][table] = state["rows"].get(table, 0) + rows


def _advance(state: dict[str, Any], name: str, place: Any) -> None:
    """Move to ``place`` in this step; without a place, to the next step, or to the end (None)."""
    names = list(STEPS)
    state["place"] = [] if place is None else place
    if place is None:
        number = names.index(name) + 1
        state["step"] = names[number] if number < len(names) else None
