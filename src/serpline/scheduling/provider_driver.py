"""The driver of schedules with ``driver: provider``: keep the provider's batches as wanted.

It is a housekeeping task that the timer wakes. ``sync`` writes what every schedule wants to
``provider_schedules``; then each row that is due is claimed and reconciled (``provider_batch``). So
the state of the work is in the database and at the provider, and a driver may die anywhere.

A batch is checked when its schedule changes, 15 minutes before each start (keywords may have
changed), and once a day.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from serpline.core.clock import Clock
from serpline.core.logging import described, get
from serpline.domain.errors import ERROR_CHARS_MAX, CallRefused, LeaseLost, ProviderError, UserError
from serpline.domain.http import ProviderCall
from serpline.domain.states import ScheduleStatus
from serpline.providers.scaleserp.batches import Batch, ResultSet
from serpline.providers.scaleserp.client import ScaleSerpClient
from serpline.providers.scaleserp.errors import PROVIDER
from serpline.providers.scaleserp.slots import credits_of_start, start_of
from serpline.robustness.charges import Start, charge_start
from serpline.robustness.guard import CallScope, Guard
from serpline.scheduling.provider_batch import BatchReconciler, WaitFor, bounded
from serpline.scheduling.provider_calendar import may_start, next_start
from serpline.scheduling.provider_wanted import Part, searches_of, wanted_of
from serpline.store.database import Connection, Database, DatabaseUnavailable, TransactionConflict
from serpline.store.maintenance import housekeeping
from serpline.store.runs import events
from serpline.store.runs.events import Event
from serpline.store.schedules import provider
from serpline.store.schedules.provider import DrivenSchedule, ProviderRow

T = TypeVar("T")

TASK: Final = "provider_schedules"
# From one look at the schedules to the next. A change makes the task due at once.
CHECK_SECONDS: Final = 60.0
# A wake-up works for so long, and then frees its slot.
BUSY_SECONDS: Final = 60.0
PREPARE: Final = timedelta(minutes=15)
DAY_SECONDS: Final = 86_400.0
_ERROR_SECONDS_MAX: Final = 900.0

log = get(__name__)


class ProviderDriver:
    """Reconciles the provider's batches in one process.

    ``zone``: that of the provider's account. ``webhook_base``: where the provider reaches us, or
    None. A call has ``call_seconds``, a running batch is looked at every ``poll_seconds``.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        guard: Guard,
        client: ScaleSerpClient,
        *,
        zone: ZoneInfo,
        webhook_base: str | None = None,
        poll_seconds: float = 30.0,
        call_seconds: float = 60.0,
    ) -> None:
        self.database = database
        self.clock = clock
        self.guard = guard
        self.client = client
        self.policy = guard.policy(PROVIDER)
        self.zone = zone
        self.webhook_base = webhook_base
        self.poll_seconds = poll_seconds
        self.call_seconds = call_seconds
        # Longer than a call and its waits; every write renews it.
        self.lease_seconds = 2 * call_seconds + 10

    async def register(self) -> None:
        """Store the task, so that the timer wakes it."""
        async with self.database.transaction() as conn:
            await housekeeping.ensure(conn, TASK, 0.0, CHECK_SECONDS)

    async def run(self) -> None:
        """Handle the task's wake-up: do what is due, for ``BUSY_SECONDS`` at most."""
        busy_until = self.clock.monotonic() + BUSY_SECONDS
        await self.sync()
        while self.clock.monotonic() < busy_until and await self._work_on_next():
            pass
        async with self.database.transaction() as conn:
            seconds = await provider.seconds_to_next_check(conn)
            wait = CHECK_SECONDS if seconds is None else min(max(seconds, 1.0), CHECK_SECONDS)
            await housekeeping.write(conn, TASK, {}, wait)

    async def sync(self) -> None:
        """Store what the schedules want, for those that have changed or are due."""
        async with self.database.transaction() as conn:
            schedules = await provider.driven(conn)
            rows = await provider.listed(conn) if schedules else []
        due = await self._due(rows)
        for schedule in schedules:
            own = [row for row in rows if row.schedule_id == schedule.id]
            if _has_changed(schedule, own) or any(row.id in due for row in own):
                await self._want(schedule)

    async def _due(self, rows: list[ProviderRow]) -> set[int]:
        if not rows:
            return set()
        async with self.database.transaction() as conn:
            return await provider.due_ids(conn)

    async def _want(self, schedule: DrivenSchedule) -> None:
        async with self.database.transaction() as conn:
            try:
                wanted = await wanted_of(conn, schedule, self.zone, self.policy, self.clock.now())
            except UserError as error:
                # Accepted once, it no longer fits: the account's time zone was changed, say.
                log.warning("schedule.not_expressible", schedule=schedule.id, error=str(error))
                return
            await provider.want(conn, schedule.id, wanted)

    async def _work_on_next(self) -> bool:
        async with self.database.transaction() as conn:
            row = await provider.claim(conn, self.lease_seconds)
        if row is None:
            return False
        session = OwnedBatch(self, row)
        try:
            await BatchReconciler(session, self._next_start(row)).reconcile()
            await session.release(self._seconds_to_check(row))
        except WaitFor as wait:
            await session.release(wait.seconds)
        except LeaseLost:
            pass
        except (DatabaseUnavailable, TransactionConflict):
            raise
        except Exception as error:
            if not isinstance(error, ProviderError | CallRefused):
                log.exception("provider_schedule.raised", batch=row.name)
            await session.fail(error)
        return True

    def _next_start(self, row: ProviderRow) -> datetime | None:
        return next_start(row.wanted, self.zone, self.clock.now()) if row.wanted else None

    def _seconds_to_check(self, row: ProviderRow) -> float:
        now = self.clock.now()
        start = self._next_start(row)
        if start is None:
            return DAY_SECONDS
        seconds = (start - PREPARE - now).total_seconds()
        if seconds <= 0:
            # It is prepared. The next check is after its start.
            seconds = (start - now).total_seconds() + PREPARE.total_seconds()
        return min(seconds, DAY_SECONDS)


class OwnedBatch:
    """A claimed row: guarded calls under its lease, fenced writes."""

    def __init__(self, driver: ProviderDriver, row: ProviderRow) -> None:
        self.row = row
        self.clock = driver.clock
        self.client = driver.client
        self.webhook_base = driver.webhook_base
        self.call_seconds = driver.call_seconds
        self.poll_seconds = driver.poll_seconds
        self._driver = driver
        self._renew()

    async def call(self, call: ProviderCall[T]) -> T:
        """Make a guarded call. ``LeaseLost`` if the lease has ended before it is sent."""
        scope = CallScope(
            freshness=f"schedule:{self.row.name}", ttl_seconds=0.0, lease=self._has_lease
        )
        return await self._driver.guard.execute(bounded(call, self.call_seconds), scope)

    async def note(
        self, event: str | None = None, detail: Mapping[str, Any] | None = None, **values: Any
    ) -> None:
        """Set columns, and append an event in the same transaction."""
        started = self.clock.monotonic()
        async with self._driver.database.transaction() as conn:
            self.row = await provider.note(conn, self.row, self._driver.lease_seconds, **values)
            await self._append(conn, event, detail)
        self._renew(started)

    async def charge(self, batch: Batch, found: ResultSet) -> None:
        """Write a start of the batch to the ledger, unless it is there."""
        now, wanted = self.clock.now(), self.row.wanted or {}
        each = wanted["credits"] / wanted["count"] if wanted.get("count") else 1.0
        spent = credits_of_start(batch, found, each)
        start = Start(batch.id, found.id, start_of(found) or now, spent)
        scope = CallScope(freshness=f"schedule:{self.row.name}")
        driver = self._driver
        await charge_start(driver.database, driver.policy, start, scope, now)

    async def forget(self) -> bool:
        """Delete the row, with an event; False if the batch is wanted again."""
        async with self._driver.database.transaction() as conn:
            is_gone = await provider.forget(conn, self.row)
            if is_gone:
                await self._append(conn, "batch.unscheduled")
        return is_gone

    async def searches(self) -> Part | None:
        """The searches of the batch now; None if the schedule has none for it any more."""
        async with self._driver.database.transaction() as conn:
            schedules = await provider.driven(conn, self.row.schedule_id)
            return await searches_of(conn, schedules[0], self.row) if schedules else None

    async def is_in_use(self) -> bool:
        """Whether a run in progress needs the batch."""
        if self.row.provider_batch_id is None:
            return False
        async with self._driver.database.transaction() as conn:
            return await provider.is_in_use(conn, self.row.provider_batch_id)

    async def release(self, seconds: float, **values: Any) -> None:
        """Give the row back and check it again in ``seconds``."""
        async with self._driver.database.transaction() as conn:
            await provider.release(conn, self.row, seconds, **values)

    async def fail(self, error: Exception) -> None:
        """Store an error and try again later; a new error is an event."""
        is_known = isinstance(error, ProviderError | CallRefused)
        text = (str(error) if is_known else described(error))[:ERROR_CHARS_MAX]
        errors = min(self.row.errors + 1, 1_000)
        seconds = min(self.poll_seconds * 2.0 ** min(errors - 1, 10), _ERROR_SECONDS_MAX)
        async with self._driver.database.transaction() as conn:
            await provider.release(conn, self.row, seconds, errors=errors, error_message=text)
            if text != self.row.error_message:
                await self._append(conn, "batch.schedule_failed", {"reason": text})

    async def _append(
        self, conn: Connection, event: str | None, more: Mapping[str, Any] | None = None
    ) -> None:
        if event is None:
            return
        detail = {
            "schedule": self.row.schedule_id,
            "batch": self.row.name,
            "provider_batch_id": self.row.provider_batch_id,
            **(more or {}),
        }
        await events.append(
            conn, [Event(event, content_type=str(self.row.content_type), detail=detail)]
        )

    def _renew(self, started: float | None = None) -> None:
        since = self.clock.monotonic() if started is None else started
        self._lease_ends = since + self._driver.lease_seconds

    def _has_lease(self) -> bool:
        return self.clock.monotonic() < self._lease_ends - self.call_seconds


def _has_changed(schedule: DrivenSchedule, rows: list[ProviderRow]) -> bool:
    """Whether its batches were wanted by another version or state of the schedule."""
    wanted = [(row.content_type, row.wanted) for row in rows if row.wanted is not None]
    is_active = schedule.status == ScheduleStatus.ACTIVE
    return not wanted or any(
        (own["version"], own["status"]) != (schedule.version, schedule.status)
        or may_start(own) != (is_active and kind not in schedule.halted)
        for kind, own in wanted
    )
