"""Circuit breakers shared by all workers: the pure machine, kept in PostgreSQL, cached shortly.

Promise: while closed and unblemished, a call that succeeds costs no database call; every failure
is written at once, with the event of the transition it caused in the same transaction; half-open
permits are leases given under the row's lock, so all processes together never probe with more
calls than successes are missing; a cancelled call is neutral and gives its permit back; the chunks
that wait on a breaker are woken in the transaction that closes it.

Settings belong to the row. The code's own only make it; after that, what was said last holds for
every process: by an operator, by a program when it first said it, or by a schedule when the run
that brings it was made. An older word never replaces a newer one, so no two can go on replacing
each other, and the start of a worker changes nothing.

A failure counts if the process that saw it was not cut off itself: its lease has not ended since
the call began, and the database heard of the failure within ``REPORT_SECONDS``.

Limits: another process sees a transition after at most ``cache_seconds``; its calls in that time
are in flight. Successes of other processes enter the failure rate within the same time.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from serpline.core.clock import Clock, SystemClock
from serpline.domain.breaker import (
    Breaker,
    BreakerEvent,
    Report,
    ReportKind,
    Step,
    fit,
    isolate,
    record,
    reset,
)
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.names import JobPriority
from serpline.robustness.breaker import BreakerOpen, CircuitBreaker, Said, verdict
from serpline.robustness.groups import GroupCommitter
from serpline.robustness.permits import Permit, Permits
from serpline.robustness.policies import ProviderPolicy
from serpline.store.calls import breakers as store
from serpline.store.calls.breakers import BreakerRow
from serpline.store.database import Connection, Database
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.runs import looks

__all__ = ["BreakerOpen", "CircuitBreaker", "CircuitBreakerManager", "Permit", "Permits", "verdict"]

CACHE_SECONDS = 1.0
# How long a failure may be on its way to the database and still count.
REPORT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Told:
    """How a call ended, and whether a failure of it ``counts``; told ``at`` a monotonic instant."""

    name: str
    report: Report
    counts: Callable[[], bool]
    at: float

    def judged(self, now: float) -> Report:
        """The report as it is written at the monotonic instant ``now``.

        A failure that the database heard late came from a process that was cut off from it: the
        same cut may have made the call fail.
        """
        late = now - self.at > REPORT_SECONDS
        if self.report.kind is ReportKind.FAILURE and (late or not self.counts()):
            return replace(self.report, kind=ReportKind.CANCELLED)
        return self.report


class CircuitBreakerManager:
    """All breakers of this process, by name. What waits on one is woken when it closes."""

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
        self.cache_seconds = cache_seconds
        self._chance = chance
        self._known: dict[str, BreakerSettings] = {}
        self._breakers: dict[str, CircuitBreaker] = {}
        self._reports: GroupCommitter[_Told, BreakerRow] = GroupCommitter(
            self._write_reports, keep=True
        )

    def know(self, policies: Iterable[ProviderPolicy]) -> Sequence[str]:
        """The providers' breakers, by name: their rows start with the policies' settings, be it at
        a first call or because somebody names one."""
        known = {policy.breaker: policy.breaker_settings for policy in policies if policy.breaker}
        self._known |= known
        return list(known)

    def get_breaker(
        self,
        name: str,
        failure_threshold: int | None = None,
        success_threshold: int | None = None,
        timeout_seconds: float | None = None,
        *,
        settings: BreakerSettings | None = None,
        said_at: datetime | None = None,
    ) -> CircuitBreaker:
        """The breaker of that name; its row is made at its first use.

        Settings given here replace those in force (counted up, with an event) at the next use, if
        they were said later: at ``said_at``, or when this process first said them. Without any,
        those in force stay. Raises ``UserError`` for impossible ones.
        """
        chosen = _chosen(failure_threshold, success_threshold, timeout_seconds)
        if chosen and settings is None:
            settings = replace(BreakerSettings(), **chosen)
        breaker = self._breakers.setdefault(name, CircuitBreaker(self, name))
        if settings is not None:
            breaker.want(settings, said_at)
        return breaker

    async def list_all(self) -> Sequence[BreakerRow]:
        """Every breaker any process has used, by name."""
        async with self.db.transaction() as conn:
            return await store.list_all(conn)

    async def isolate(self, name: str) -> BreakerRow:
        """Refuse every call by hand, until ``reset``. Raises ``LookupError`` if unknown."""
        return await self._by_hand(name, isolate)

    async def reset(self, name: str) -> BreakerRow:
        """Close by hand and forget the failures. Raises ``LookupError`` if unknown."""
        return await self._by_hand(name, reset)

    async def configure(
        self,
        name: str,
        failure_threshold: int | None = None,
        success_threshold: int | None = None,
        timeout_seconds: float | None = None,
    ) -> BreakerRow:
        """Change settings by hand; what is not given stays. Every process goes by them.

        Raises ``LookupError`` if the breaker is unknown, ``UserError`` for impossible settings.
        """
        chosen = _chosen(failure_threshold, success_threshold, timeout_seconds)
        async with self._held(name) as (conn, before):
            settings = replace(before.settings, **chosen)
            after = await self._apply(conn, before, Said(settings, self.clock.now()))
        return self._learn(after)

    async def close(self) -> None:
        """Write what is not yet written."""
        asking = [task for breaker in self._breakers.values() for task in breaker.asking]
        await asyncio.gather(*asking, return_exceptions=True)
        for breaker in self._breakers.values():
            breaker.hand_over_successes()
        await self._reports.flush()

    def report(
        self, name: str, report: Report, counts: Callable[[], bool]
    ) -> asyncio.Future[BreakerRow]:
        """Write how a call ended; the future answers with the breaker after it."""
        return self._reports.put(_Told(name, report, counts, self.clock.monotonic()))

    async def save(self, conn: Connection, before: BreakerRow, step: Step) -> BreakerRow:
        """Save a step of a locked breaker; its closing wakes the chunks that wait on it."""
        after = await store.save(conn, before, step, self.clock.now())
        if step.event in (BreakerEvent.RECOVERED, BreakerEvent.RESET):
            waiting = await looks.look_at_waiting(conn, before.name)
            await wake(conn, [WakeUp("chunk", str(id_), JobPriority(p)) for id_, p in waiting])
        return after

    async def ensure(self, conn: Connection, name: str, said: Said | None) -> BreakerRow:
        """The breaker, locked: made if absent, and given what was ``said`` if that is news."""
        settings, at = self._known.get(name, BreakerSettings()), None
        if said is not None:
            settings, at = said.settings, said.at
        await store.make(conn, name, settings, at, self.clock.now())
        row = await store.lock(conn, name)
        if said is None or not said.is_news(row.settings_at):
            return row
        return await self._apply(conn, row, said)

    async def _apply(self, conn: Connection, before: BreakerRow, said: Said) -> BreakerRow:
        """Other settings for a locked breaker, and what they make of it."""
        step = fit(before.breaker, before.settings, said.settings)
        now = self.clock.now()
        changed = await store.change_settings(conn, before, said.settings, said.at, now)
        return await self.save(conn, changed, step)

    @asynccontextmanager
    async def _held(self, name: str) -> AsyncIterator[tuple[Connection, BreakerRow]]:
        """A breaker that somebody named, locked. Raises ``LookupError`` if it is unknown."""
        async with self.db.transaction() as conn:
            known = name in self._known
            yield conn, await (self.ensure(conn, name, None) if known else store.lock(conn, name))

    async def _by_hand(self, name: str, move: Callable[[Breaker], Step]) -> BreakerRow:
        async with self._held(name) as (conn, before):
            after = await self.save(conn, before, move(before.breaker))
        return self._learn(after)

    def _learn(self, row: BreakerRow) -> BreakerRow:
        if row.name in self._breakers:
            self._breakers[row.name].learn(row)
        return row

    async def _write_reports(self, reports: Sequence[_Told]) -> Sequence[BreakerRow]:
        """One transaction per breaker: a breaker's row is never locked for another's sake."""
        rows: dict[str, BreakerRow] = {}
        for name in dict.fromkeys(told.name for told in reports):
            async with self.db.transaction() as conn:
                row = await store.lock(conn, name)
                now = self.clock.monotonic()
                for told in (told for told in reports if told.name == name):
                    step = record(row.breaker, row.settings, told.judged(now), self._chance())
                    row = await self.save(conn, row, step)
            rows[name] = row
            self._breakers[name].learn(row)
        return [rows[told.name] for told in reports]


def _chosen(
    failure_threshold: int | None, success_threshold: int | None, timeout_seconds: float | None
) -> dict[str, Any]:
    given = {
        "failure_threshold": failure_threshold,
        "success_threshold": success_threshold,
        "timeout_seconds": timeout_seconds,
    }
    return {key: value for key, value in given.items() if value is not None}
