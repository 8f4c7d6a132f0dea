"""Retention by itself: one of all workers takes the next portion of the pass that is under way.

The promise: every ``every_seconds`` a pass begins, whichever workers there are, and it is one pass:
where it is stands in the row of ``housekeeping``, which a worker holds for one portion. What a
portion deletes and how far the pass has come commit together, so the counts are exact, and a worker
that is killed leaves the pass where it was. The timer wakes another, as it does for runs.

The limits: a wake-up works for ``BUSY_SECONDS``, half of them resting, and gives its place back. A
step that raises is told and passed over until the next pass.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from serpline.core.clock import Clock
from serpline.core.logging import described, get
from serpline.domain.errors import UserError
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
# How long the pass rests when its worker has had its time, or died.
NEXT_SECONDS: Final = 5.0


class Pruner:
    """Prunes for one process. ``every_seconds`` 0: never."""

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
        """Have the timer look after the passes. A worker that never prunes changes nothing."""
        if self._every_seconds:
            async with self._database.transaction() as conn:
                await housekeeping.ensure(conn, AUTOMATIC, FIRST_SECONDS, self._every_seconds)

    async def run(self, task: str) -> None:
        """The handler of a task's wake-up. ``UserError`` for a task that is not known."""
        if task != AUTOMATIC:
            raise UserError(f"task={task!r}: there is no such task")
        ends = self._clock.monotonic() + BUSY_SECONDS
        while (began := self._clock.monotonic()) < ends:
            if not await self._portion():
                return
            await self._clock.sleep(self._clock.monotonic() - began)

    async def _portion(self) -> bool:
        """Do the pass's next portion; False if there is none for us."""
        told: dict[str, Any] | None = None
        name: str | None = None
        try:
            async with self._database.transaction() as conn:
                held = await housekeeping.hold(conn, AUTOMATIC)
                state = await self._begun(conn, held) if held else None
                if held is None or state is None:
                    return False
                name = str(state["step"])
                portion = await STEPS[name](conn, self._terms(held, state), state["place"])
                _add(state, portion.deleted)
                _go_on(state, name, portion.place)
                told = await self._write(conn, held, state)
        except (DatabaseUnavailable, TransactionConflict):
            raise
        except Exception as error:
            if name is None:
                raise
            log.exception("prune.step_failed", action="prune.step_failed", step=name)
            told = await self._pass_over(name, described(error))
        if told is not None:
            log.info(FINISHED, action=FINISHED, **told)
        return told is None

    async def _begun(self, conn: Connection, held: Task) -> dict[str, Any] | None:
        """The state of the pass under way, or of the one that is due now; None: it is not due."""
        state = held.state
        if state.get("step") is not None and state["step"] in STEPS:
            return state
        if not self._every_seconds:
            await housekeeping.write(conn, AUTOMATIC, state, None)
            return None
        if state.get("started_at"):
            since = (held.now - datetime.fromisoformat(state["started_at"])).total_seconds()
            # A pass that began in the future began before the clock was set back.
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
        # The pass's own time, so that a pass that takes long comes to an end.
        now = datetime.fromisoformat(state["started_at"])
        return Terms.of(retention, min(now, held.now), **self._bounds)

    async def _write(
        self, conn: Connection, held: Task, state: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Write how far the pass is; when it has ended, what it did, which is returned too."""
        if state["step"] is not None:
            await housekeeping.write(conn, AUTOMATIC, state, NEXT_SECONDS)
            return None
        state["finished_at"] = held.now.isoformat()
        began = datetime.fromisoformat(state["started_at"])
        passed = (held.now - began) / timedelta(seconds=1)
        waits = max(self._every_seconds - passed, NEXT_SECONDS) if self._every_seconds else None
        await housekeeping.write(conn, AUTOMATIC, state, waits)
        told = {"rows": state["rows"], "seconds": passed, "errors": state["errors"]}
        await events.append(conn, [Event(FINISHED, detail=told)])
        return told

    async def _pass_over(self, name: str, error: str) -> dict[str, Any] | None:
        async with self._database.transaction() as conn:
            held = await housekeeping.hold(conn, AUTOMATIC)
            state = await self._begun(conn, held) if held else None
            if held is None or state is None or state["step"] != name:
                return None
            state["errors"][name] = error
            _go_on(state, name, None)
            return await self._write(conn, held, state)


def _add(state: dict[str, Any], gone: Any) -> None:
    for table, rows in gone.items():
        if rows:
            state["rows"][table] = state["rows"].get(table, 0) + rows


def _go_on(state: dict[str, Any], name: str, place: Any) -> None:
    """To ``place`` in the same step, else to the next step, else to the end (None)."""
    names = list(STEPS)
    state["place"] = [] if place is None else place
    if place is None:
        number = names.index(name) + 1
        state["step"] = names[number] if number < len(names) else None
