"""Backfills of a schedule's past slots: one visible object with its cost, progress and state.

A backfill names its slots when it is made. Its runs are started by the tick (``backfilling``), so
every method here is one short transaction. Stored figures of earlier runs never change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from serpline.core.clock import Clock
from serpline.domain.errors import UserError
from serpline.domain.schedules import BackfillKind
from serpline.pipeline.estimate import Providers
from serpline.robustness.budget import limit_backfill
from serpline.robustness.policies import check_providers
from serpline.scheduling.backfill_runs import estimate_runs
from serpline.scheduling.backfilling import event, spent_limit
from serpline.scheduling.changes import unknown_schedule
from serpline.scheduling.slot_runs import read_name
from serpline.store.database import Connection, Database
from serpline.store.runs import events
from serpline.store.schedules import backfill_slots, backfills, schedules
from serpline.store.schedules.backfill_slots import FillableSlot
from serpline.store.schedules.backfills import BackfillRow

SLOTS_MAX = 10_000
RUNS_AT_ONCE_MAX = 100
LISTED_MAX = 1_000
# The provider keeps result sets for 14 days after their end, which is later than their start.
HELD_DAYS = 14

_NOTHING = {
    BackfillKind.REFETCH: f"no run of the last {HELD_DAYS} days has a batch that was not read;"
    " kind late takes new searches",
    BackfillKind.LATE: "no slot there was missed, skipped or refused",
    BackfillKind.RECOMPUTE: "no slot there has a run that has ended",
}
_PAST = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}


@dataclass(frozen=True, slots=True)
class BackfillRequest:
    """The slots from ``first`` to ``last``, both included, and how to fill them.

    ``credit_limits``: credits that all runs together may spend, by provider.
    """

    schedule: str
    first: datetime
    last: datetime
    kind: BackfillKind = BackfillKind.REFETCH
    runs_at_once: int = 1
    credit_limits: Mapping[str, float] | None = None


class BackfillService:
    """Plan, make, show and control backfills."""

    def __init__(self, database: Database, clock: Clock, providers: Providers) -> None:
        self._database = database
        self._clock = clock
        self._providers = providers

    async def plan(self, request: BackfillRequest) -> dict[str, Any]:
        """Return what a backfill would do and cost; store nothing.

        Raises ``UserError`` as ``start`` does.
        """
        async with self._database.transaction() as conn:
            slots = await self._slots(conn, request)
            estimate = await self._estimate(conn, request, slots)
        return {
            "schedule": request.schedule,
            "kind": str(request.kind),
            "from": request.first,
            "to": request.last,
            "slots": [_slot_view(slot) for slot in slots],
            "estimate": estimate,
        }

    async def start(self, request: BackfillRequest) -> dict[str, Any]:
        """Make a backfill, which the tick works off; return it.

        Raises ``UserError`` if the schedule is unknown, if no slot can be filled, or if there are
        more than ``SLOTS_MAX``.
        """
        limits = dict(request.credit_limits or {})
        now = self._clock.now()
        async with self._database.transaction() as conn:
            # The lock keeps another backfill from taking the same slots.
            await schedules.lock(conn, request.schedule)
            slots = await self._slots(conn, request)
            row = await backfills.insert(
                conn,
                request.schedule,
                request.kind,
                (request.first, request.last),
                runs_at_once=request.runs_at_once,
                credit_limits=limits,
                estimate=await self._estimate(conn, request, slots),
                now=now,
            )
            await backfill_slots.insert(conn, row.id, slots)
            await limit_backfill(conn, str(row.id), limits)
            made = event("started", row, slots=len(slots), runs=row.estimate["runs"])
            await events.append(conn, [made])
        return await self.get(request.schedule, row.id)

    async def listed(self, schedule: str, *, limit: int = 100) -> list[dict[str, Any]]:
        """Return a schedule's backfills with their progress, newest first."""
        if type(limit) is not int or not 1 <= limit <= LISTED_MAX:
            raise UserError(f"limit={limit!r}: must be 1 to {LISTED_MAX}")
        async with self._database.transaction() as conn:
            await _known(conn, schedule)
            rows = await backfills.listed(conn, schedule, limit)
            return await _views(conn, rows)

    async def get(self, schedule: str, backfill_id: int) -> dict[str, Any]:
        """Return a backfill with each of its slots, newest first."""
        async with self._database.transaction() as conn:
            row = await _chosen(conn, schedule, backfill_id)
            (view,) = await _views(conn, [row])
            view["slots_by_time"] = await backfill_slots.listed(conn, row.id, SLOTS_MAX)
        return view

    async def change(
        self,
        schedule: str,
        what: str,
        backfill_id: int | None = None,
        *,
        credit_limits: Mapping[str, float] | None = None,
    ) -> dict[str, Any]:
        """Pause, resume or cancel a backfill: the named one, or the only one that has not ended.

        A pause starts no further run; runs in progress go on. A cancellation also cancels those.
        ``credit_limits`` replace its limits for these providers. Raises ``UserError`` also for a
        resumption while a limit is spent.
        """
        now = self._clock.now()
        async with self._database.transaction() as conn:
            row = await _chosen(conn, schedule, backfill_id)
            held = await backfills.lock(conn, row.id)
            if held is None or not await backfills.change_status(conn, row.id, what, now):
                state = row.status if held is None else held.status
                raise UserError(f"backfill {row.id} is {state}: {what!r} is not possible")
            detail: dict[str, Any] = {}
            if credit_limits:
                await limit_backfill(conn, str(row.id), credit_limits)
                await backfills.set_credit_limits(conn, row.id, credit_limits)
                detail["credit_limits"] = dict(credit_limits)
                held = replace(held, credit_limits={**held.credit_limits, **credit_limits})
            if what == "resume" and (spent := await spent_limit(conn, held)):
                raise UserError(f"backfill {row.id}: {spent}; resume it with more (--credits)")
            if what == "cancel":
                reason = "the backfill was cancelled"
                detail["skipped"] = await backfill_slots.skip_waiting(conn, row.id, reason, now)
            await events.append(conn, [event(_PAST[what], row, **detail)])
        return await self.get(schedule, row.id)

    async def _slots(self, conn: Connection, request: BackfillRequest) -> list[FillableSlot]:
        _check(request)
        await _known(conn, request.schedule)
        slots = await backfill_slots.fillable(
            conn,
            request.schedule,
            request.kind,
            request.first,
            request.last,
            held_since=self._clock.now() - timedelta(days=HELD_DAYS),
            limit=SLOTS_MAX + 1,
        )
        if len(slots) > SLOTS_MAX:
            raise UserError(f"more than {SLOTS_MAX} slots: choose a shorter time")
        if not slots:
            raise UserError(
                f"schedule {request.schedule!r} has nothing to backfill from"
                f" {request.first.isoformat()} to {request.last.isoformat()}:"
                f" {_NOTHING[request.kind]}"
            )
        return slots

    async def _estimate(
        self, conn: Connection, request: BackfillRequest, slots: Sequence[FillableSlot]
    ) -> dict[str, Any]:
        return await estimate_runs(
            conn, request.schedule, request.kind, slots, self._clock.now(), self._providers
        )


def _check(request: BackfillRequest) -> None:
    read_name(request.schedule)
    if request.first > request.last:
        raise UserError(
            f"from={request.first.isoformat()}: must not be after to={request.last.isoformat()}"
        )
    check_providers("credits", request.credit_limits or {})
    at_once = request.runs_at_once
    if type(at_once) is not int or not 1 <= at_once <= RUNS_AT_ONCE_MAX:
        raise UserError(f"at_once={at_once!r}: must be 1 to {RUNS_AT_ONCE_MAX}")


async def _known(conn: Connection, schedule: str) -> None:
    if await schedules.get(conn, schedule) is None:
        raise unknown_schedule(schedule)


async def _chosen(conn: Connection, schedule: str, backfill_id: int | None) -> BackfillRow:
    """The backfill of this number, or the only one of the schedule that has not ended."""
    await _known(conn, schedule)
    rows = await backfills.listed(conn, schedule, LISTED_MAX)
    if backfill_id is None:
        rows = [row for row in rows if row.ended_at is None]
        if not rows:
            raise UserError(f"schedule {schedule!r} has no backfill that has not ended")
        if len(rows) > 1:
            numbers = ", ".join(str(row.id) for row in reversed(rows))
            raise UserError(
                f"schedule {schedule!r} has several backfills that have not ended; name one:"
                f" {numbers}"
            )
        return rows[0]
    found = [row for row in rows if row.id == backfill_id]
    if not found:
        raise UserError(f"schedule {schedule!r} has no backfill {backfill_id}")
    return found[0]


async def _views(conn: Connection, rows: Sequence[BackfillRow]) -> list[dict[str, Any]]:
    ids = [row.id for row in rows]
    counted, spent = await backfill_slots.counts(conn, ids), await backfills.spent(conn, ids)
    return [_view(row, counted.get(row.id, {}), spent.get(row.id, {})) for row in rows]


def _view(
    row: BackfillRow, counted: Mapping[str, int], spent: Mapping[str, float]
) -> dict[str, Any]:
    slots = {name: count for name, count in counted.items() if name != "runs"}
    return {
        "id": row.id,
        "schedule": row.schedule_id,
        "kind": str(row.kind),
        "status": str(row.status),
        "from": row.slots_from,
        "to": row.slots_to,
        "slots": {"total": sum(slots.values()), **slots},
        "runs_at_once": row.runs_at_once,
        "credit_limits": row.credit_limits,
        "credits": dict(spent),
        "estimate": row.estimate,
        "reason": row.reason,
        "created_at": row.created_at,
        "ended_at": row.ended_at,
    }


def _slot_view(slot: FillableSlot) -> dict[str, Any]:
    return {
        "scheduled_for": slot.scheduled_for,
        "content_type": str(slot.content_type),
        "outcome": slot.outcome,
        "reason": slot.reason,
        "run_id": slot.run_id,
    }
