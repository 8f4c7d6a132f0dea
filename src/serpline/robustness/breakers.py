"""Circuit breakers shared by all workers: rows in PostgreSQL, cached for a second.

Promise: while a breaker is closed and has no recent failures, a successful call costs no database
call. Every failure is written at once, in one transaction with the event of the transition that it
caused. Half-open permits are leases given under the row's lock, so all processes together make no
more probes than successes are missing. A cancelled call is neutral and gives its permit back. The
transaction that closes a breaker also wakes the chunks that wait on it.

The code's settings apply where the row has none. The newest settings win, whether an operator, a
program or a schedule set them. A program's settings date from their first use in the process, a
schedule's from its run.

A failure counts only if the process was connected: its lease has not ended since the call began,
and the database received the failure within ``REPORT_SECONDS``.

Limits: another process sees a transition, and successes in the failure rate, after at most
``cache_seconds``. It may start calls in that time.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from serpline.core.clock import Clock, SystemClock
from serpline.core.ids import new_id
from serpline.domain.breaker import (
    Breaker,
    Decision,
    Report,
    ReportKind,
    Step,
    close_if_probed,
    decide,
    isolate,
    record,
    reset,
)
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.names import JobPriority
from serpline.domain.states import BreakerEvent, BreakerState
from serpline.robustness.breaker import BreakerOpen, CircuitBreaker, Permit
from serpline.robustness.groups import GroupCommitter
from serpline.robustness.policies import ProviderPolicy
from serpline.store.calls import breakers as store
from serpline.store.calls.breakers import BreakerRow, SettingsUpdate
from serpline.store.database import Connection, Database
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.runs import due, events
from serpline.store.runs.events import Event, acted

__all__ = ["BreakerOpen", "CircuitBreaker", "CircuitBreakerManager", "Permit"]

CACHE_SECONDS = 1.0
# A failure that takes longer than this to reach the database does not count.
REPORT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _CallEnd:
    """How a call ended, and whether its failure ``counts``. ``at`` is a monotonic instant."""

    name: str
    report: Report
    counts: Callable[[], bool]
    at: float

    def as_written(self, now: float) -> Report:
        """The report to write at the monotonic instant ``now``.

        A late failure came from a process that was disconnected. The same network fault may have
        made the call fail, so the report becomes neutral.
        """
        late = now - self.at > REPORT_SECONDS
        if self.report.kind is ReportKind.FAILURE and (late or not self.counts()):
            return replace(self.report, kind=ReportKind.CANCELLED)
        return self.report


class CircuitBreakerManager:
    """All breakers of this process, by name. A breaker that closes wakes what waits on it."""

    def __init__(
        self,
        db: Database,
        clock: Clock | None = None,
        *,
        chance: Callable[[], float] = random.random,
        cache_seconds: float = CACHE_SECONDS,
    ) -> None:
        self.db = db
        self.clock = clock or SystemClock()
        self._cache_seconds = cache_seconds
        self._chance = chance
        self._defaults: dict[str, BreakerSettings] = {}
        self._breakers: dict[str, CircuitBreaker] = {}
        self._reports: GroupCommitter[_CallEnd, BreakerRow] = GroupCommitter(self._write_reports)

    def register_defaults(self, policies: Iterable[ProviderPolicy]) -> Sequence[str]:
        """Use the policies' settings as their breakers' defaults. Returns the breakers' names."""
        defaults = {one.breaker: one.breaker_settings for one in policies if one.breaker}
        self._defaults |= defaults
        return list(defaults)

    def get_breaker(
        self,
        name: str,
        failure_threshold: int | None = None,
        success_threshold: int | None = None,
        timeout_seconds: float | None = None,
        *,
        settings: BreakerSettings | None = None,
        settings_at: datetime | None = None,
    ) -> CircuitBreaker:
        """Return the breaker of that name. Its first use inserts its row.

        Settings given here override the code's from the next use on, in every process and with an
        event, unless newer overrides are known. ``settings_at`` is when they were given. None
        means when this process first gave these values. Without any, the settings in force stay.
        Raises ``UserError`` for impossible settings.
        """
        if name not in self._breakers:
            read_row = partial(self._read_row, name)
            write_report = partial(self._queue_report, name)
            self._breakers[name] = CircuitBreaker(
                name, self.clock, read_row, write_report, cache_seconds=self._cache_seconds
            )
        breaker = self._breakers[name]
        if settings is not None:
            breaker.propose_settings(asdict(settings), settings_at)
        elif overrides := _given(failure_threshold, success_threshold, timeout_seconds):
            replace(self._default(name), **overrides)  # raises for impossible settings
            breaker.propose_settings(overrides, settings_at)
        return breaker

    async def list_all(self) -> Sequence[BreakerRow]:
        """Every breaker that any process has used, by name."""
        async with self.db.transaction() as conn:
            return await store.list_all(conn, self._defaults)

    async def isolate(self, name: str, *, by: str | None = None) -> BreakerRow:
        """Refuse every call by hand, until ``reset``. Raises ``LookupError`` if unknown."""
        return await self._by_hand(name, isolate, Event("breaker.isolate", detail=acted(by)))

    async def reset(self, name: str, *, by: str | None = None) -> BreakerRow:
        """Close by hand and forget the failures. Raises ``LookupError`` if unknown."""
        return await self._by_hand(name, reset, Event("breaker.reset", detail=acted(by)))

    async def configure(
        self,
        name: str,
        failure_threshold: int | None = None,
        success_threshold: int | None = None,
        timeout_seconds: float | None = None,
    ) -> BreakerRow:
        """Override settings by hand, for every process. Settings that are not given stay.

        Raises ``LookupError`` if the breaker is unknown, ``UserError`` for impossible settings.
        """
        given = _given(failure_threshold, success_threshold, timeout_seconds)
        async with self._locked_by_name(name) as (conn, before):
            overrides = {**(before.overrides or {}), **given}
            update = SettingsUpdate(overrides, self.clock.now())
            after = await self._override(conn, before, update)
        return self._update_cache(after)

    async def close(self) -> None:
        """Write all pending reports."""
        pending = [
            task for breaker in self._breakers.values() for task in breaker.pending_decisions
        ]
        await asyncio.gather(*pending, return_exceptions=True)
        for breaker in self._breakers.values():
            breaker.write_successes()
        await self._reports.flush()

    async def save(self, conn: Connection, before: BreakerRow, step: Step) -> BreakerRow:
        """Save a step of a locked breaker. Closing it wakes the chunks that wait on it."""
        after = replace(before, breaker=step.breaker)
        await store.save(conn, before, after, step.event, self.clock.now())
        if step.event in (BreakerEvent.RECOVERED, BreakerEvent.RESET):
            waiting = await due.make_waiting_due(conn, before.name)
            await wake(conn, [WakeUp("chunk", str(id_), JobPriority(p)) for id_, p in waiting])
        return after

    async def _read_row(
        self, name: str, update: SettingsUpdate | None, call_seconds: float | None
    ) -> tuple[BreakerRow, Decision]:
        """Implement ``breaker.ReadRow``. A closed breaker is read without a lock."""
        async with self.db.transaction() as conn:
            row = None if update else await store.load(conn, name, self._default(name))
            if row is None:
                row = await self._ensure(conn, name, update)
            is_closed = row.breaker.state is BreakerState.CLOSED
            if is_closed or call_seconds is None:
                return row, Decision(is_closed, row.breaker.generation)
            row = await store.lock(conn, name, self._default(name))
            step, decision = decide(
                row.breaker,
                row.settings,
                now=self.clock.now(),
                lease_now=await store.lease_now(conn),
                permit_id=str(new_id()),
                call_seconds=call_seconds,
            )
            return await self.save(conn, row, step), decision

    def _queue_report(
        self, name: str, report: Report, counts: Callable[[], bool]
    ) -> asyncio.Future[BreakerRow]:
        """Implement ``breaker.WriteReport``."""
        return self._reports.put(_CallEnd(name, report, counts, self.clock.monotonic()))

    def _default(self, name: str) -> BreakerSettings:
        return self._defaults.get(name, BreakerSettings())

    async def _ensure(
        self, conn: Connection, name: str, update: SettingsUpdate | None
    ) -> BreakerRow:
        """Lock the breaker, inserting its row if absent, and apply ``update`` if it is newer."""
        await store.make(conn, name, update, self.clock.now())
        row = await store.lock(conn, name, self._default(name))
        if update is not None and row.is_older(update.at):
            row = await self._override(conn, row, update)
        return row

    async def _override(
        self, conn: Connection, before: BreakerRow, update: SettingsUpdate
    ) -> BreakerRow:
        """Change a locked breaker's settings. A lower success threshold may close it."""
        settings = replace(self._default(before.name), **update.overrides)
        is_change = settings != before.settings
        after = replace(
            before,
            settings=settings,
            settings_version=before.settings_version + is_change,
            overrides=update.overrides,
            settings_at=update.at,
        )
        event = store.SETTINGS_CHANGED if is_change else None
        await store.save(conn, before, after, event, self.clock.now())
        return await self.save(conn, after, close_if_probed(after.breaker, settings))

    @asynccontextmanager
    async def _locked_by_name(self, name: str) -> AsyncIterator[tuple[Connection, BreakerRow]]:
        """Lock a breaker that a person named. Raises ``LookupError`` if it is unknown."""
        async with self.db.transaction() as conn:
            if name in self._defaults:
                yield conn, await self._ensure(conn, name, None)
            else:
                yield conn, await store.lock(conn, name)

    async def _by_hand(
        self, name: str, move: Callable[[Breaker], Step], event: Event
    ) -> BreakerRow:
        async with self._locked_by_name(name) as (conn, before):
            after = await self.save(conn, before, move(before.breaker))
            event.detail["breaker"] = name
            await events.append(conn, [event])
        return self._update_cache(after)

    def _update_cache(self, row: BreakerRow) -> BreakerRow:
        if row.name in self._breakers:
            self._breakers[row.name].update_cache(row)
        return row

    async def _write_reports(self, ends: Sequence[_CallEnd]) -> Sequence[BreakerRow]:
        """Write the reports in one transaction per breaker: each locks one row only."""
        rows: dict[str, BreakerRow] = {}
        for name in dict.fromkeys(end.name for end in ends):
            async with self.db.transaction() as conn:
                row = await store.lock(conn, name, self._default(name))
                now = self.clock.monotonic()
                for end in (end for end in ends if end.name == name):
                    step = record(row.breaker, row.settings, end.as_written(now), self._chance())
                    row = await self.save(conn, row, step)
            rows[name] = self._update_cache(row)
        return [rows[end.name] for end in ends]


def _given(
    failure_threshold: int | None, success_threshold: int | None, timeout_seconds: float | None
) -> dict[str, Any]:
    given = {
        "failure_threshold": failure_threshold,
        "success_threshold": success_threshold,
        "timeout_seconds": timeout_seconds,
    }
    return {key: value for key, value in given.items() if value is not None}
