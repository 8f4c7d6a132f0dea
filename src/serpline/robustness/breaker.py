"""One circuit breaker as this process sees it.

Promise: a fresh cached row answers without the database; a row that is stale, or a probe that
might be due, asks once for all callers of this process.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from serpline.core.ids import new_id
from serpline.domain.breaker import (
    BreakerState,
    Decision,
    Report,
    ReportKind,
    decide,
)
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError
from serpline.robustness.permits import Permit
from serpline.store.calls import breakers as store
from serpline.store.calls.breakers import BreakerRow

if TYPE_CHECKING:
    from serpline.robustness.breakers import CircuitBreakerManager

T = TypeVar("T")

# For how long a permit is lent for a call of which nobody says how long it may take.
CALL_SECONDS_USUAL = 300.0
# How long one refusal of a probe answers for every caller of this process.
_REFUSAL_SECONDS = 0.2
# Neither well nor unwell: too fast, out of credits, never sent, or a mistake of ours.
_NEUTRAL = frozenset(
    {
        ErrorCategory.RATE_LIMIT,
        ErrorCategory.QUOTA,
        ErrorCategory.REFUSED_BY_PEER,
        ErrorCategory.INTERNAL,
        ErrorCategory.POISON,
    }
)


def verdict(error: ProviderError) -> ReportKind:
    """What a failed call says about its provider."""
    if error.breaker_failure:
        return ReportKind.FAILURE
    return ReportKind.CANCELLED if error.category in _NEUTRAL else ReportKind.SUCCESS


@dataclass(frozen=True, slots=True)
class Said:
    """Settings, and when they were said: they replace what was said before, and nothing newer."""

    settings: BreakerSettings
    at: datetime

    def is_news(self, known_at: datetime | None) -> bool:
        """Whether that was said later than what is known; ``None``: nobody has said anything."""
        return known_at is None or self.at > known_at


class BreakerOpen(CallRefused):
    """The breaker lets nothing through; its closing wakes what waits on it."""

    def __init__(self, breaker: str, state: BreakerState, until: datetime | None) -> None:
        super().__init__(f"breaker {breaker} is {state}", until=until, waits_on=breaker)
        self.state = state


class CircuitBreaker:
    """One breaker as this process sees it."""

    def __init__(self, manager: "CircuitBreakerManager", name: str) -> None:
        """Made by ``CircuitBreakerManager.get_breaker`` only."""
        self.name = name
        self._manager = manager
        self._said: dict[BreakerSettings, datetime] = {}
        self._wanted: Said | None = None
        self._row: BreakerRow | None = None
        self._read_at = float("-inf")
        self._refused: BreakerOpen | None = None
        self._refused_at = float("-inf")
        self._successes: dict[int, tuple[int, datetime]] = {}
        self._last: asyncio.Future[BreakerRow] | None = None
        self._lock = asyncio.Lock()
        self.asking: set[asyncio.Task[Permit]] = set()

    async def permit(self, call_seconds: float = CALL_SECONDS_USUAL) -> Permit:
        """The right to make one call; its end must be reported on it. Raises ``BreakerOpen``.

        That of a probe is lent for ``call_seconds``, unless the settings say for how long.
        Whoever is cancelled while the database is asked gets none: it is given back.
        """
        allowed = self._from_cache()
        if allowed is not None:
            return allowed
        asking = asyncio.create_task(self._ask_in_turn(call_seconds))
        self.asking.add(asking)
        asking.add_done_callback(self.asking.discard)
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(_give_back)
            raise

    async def call(self, fn: Callable[..., Awaitable[T]], *args: object, **kwargs: object) -> T:
        """``await fn(*args, **kwargs)`` under a permit.

        A ``ProviderError`` counts by its category (``verdict``); any other exception is a failure,
        save ``CallRefused`` and cancellation, which are neutral. Raises ``BreakerOpen``.
        """
        permit = await self.permit()
        try:
            result = await fn(*args, **kwargs)
        except ProviderError as error:
            await permit.end(verdict(error))
            raise
        except CallRefused:
            permit.cancelled()
            raise
        except Exception:
            await permit.failed()
            raise
        except BaseException:
            permit.cancelled()
            raise
        await permit.succeeded()
        return result

    async def state(self) -> BreakerRow:
        """The breaker as the database has it."""
        async with self._lock:
            return await self._read()

    def want(self, settings: BreakerSettings, at: datetime | None) -> None:
        """Settings to be put in force at the next use, unless newer ones are.

        ``at`` is when they were said; None: the first time that this process said just these.
        """
        if at is None:
            at = self._said.setdefault(settings, self._manager.clock.now())
        said = Said(settings, at)
        if self._row is not None and not said.is_news(self._row.settings_at):
            return
        if self._wanted is None or at >= self._wanted.at:
            self._wanted = said

    def learn(self, row: BreakerRow) -> None:
        """Take over what the database just said."""
        known = self._row
        if known is not None and known.breaker.generation > row.breaker.generation:
            return
        self._row, self._read_at = row, self._manager.clock.monotonic()
        self._refused = None

    def count_success(self) -> None:
        """A success while closed: kept here, written only if something has failed lately."""
        at = self._manager.clock.now()
        second = int(at.timestamp())
        count, _ = self._successes.get(second, (0, at))
        self._successes[second] = (count + 1, at)
        row = self._row
        if row is not None and len(self._successes) > row.settings.rate_window_seconds + 1:
            del self._successes[min(self._successes)]
        if row is not None and row.breaker.failure_times:
            self.hand_over_successes()

    def hand_over_successes(self) -> None:
        """Send the counted successes on their way to the database, oldest first."""
        if self._row is not None and self._row.breaker.blemished:
            for report in self._take_successes(self._row.breaker.generation):
                self._put(report)

    def report(
        self, kind: ReportKind, decision: Decision, counts: Callable[[], bool]
    ) -> asyncio.Future[BreakerRow]:
        """Write how a permitted call ended, after the successes before it.

        A failure is written as one only if it still ``counts`` then.
        """
        for earlier in self._take_successes(decision.generation):
            self._put(earlier)
        now = self._manager.clock.now()
        return self._put(Report(kind, now, decision.generation, decision.permit), counts)

    async def judged(self) -> None:
        """Wait until every end reported so far is written; at once while nothing fails."""
        if self._last is not None and not self._last.done():
            await asyncio.wait([self._last])

    def _put(
        self, report: Report, counts: Callable[[], bool] = lambda: True
    ) -> asyncio.Future[BreakerRow]:
        self._last = self._manager.report(self.name, report, counts)
        return self._last

    def _take_successes(self, generation: int) -> list[Report]:
        taken = sorted(self._successes.items())
        self._successes = {}
        return [Report(ReportKind.SUCCESS, at, generation, count=count) for _, (count, at) in taken]

    def _from_cache(self) -> Permit | None:
        """A permit without the database; None if it must be asked. Raises ``BreakerOpen``."""
        now = self._manager.clock.monotonic()
        if self._refused is not None and now - self._refused_at < _REFUSAL_SECONDS:
            raise BreakerOpen(self.name, self._refused.state, self._refused.until)
        is_old = now - self._read_at >= self._manager.cache_seconds
        if self._row is None or self._wanted is not None or is_old:
            return None
        breaker = self._row.breaker
        if breaker.state is BreakerState.CLOSED:
            return Permit(self, Decision(True, breaker.generation))
        if breaker.state is BreakerState.ISOLATED:
            raise BreakerOpen(self.name, breaker.state, None)
        until, seconds = breaker.open_until, breaker.open_seconds
        # One that lies further ahead was written before the clock was set back: ask.
        if until is not None and 0 < (until - self._manager.clock.now()).total_seconds() <= seconds:
            raise BreakerOpen(self.name, breaker.state, until)
        return None

    async def _ask_in_turn(self, call_seconds: float) -> Permit:
        async with self._lock:
            return self._from_cache() or await self._ask(call_seconds)

    async def _ask(self, call_seconds: float) -> Permit:
        row = await self._read()
        if row.breaker.state is BreakerState.CLOSED:
            return Permit(self, Decision(True, row.breaker.generation))
        manager = self._manager
        async with manager.db.transaction() as conn:
            before = await store.lock(conn, self.name)
            step, decision = decide(
                before.breaker,
                before.settings,
                now=manager.clock.now(),
                lease_now=await store.lease_now(conn),
                permit_id=str(new_id()),
                call_seconds=call_seconds,
            )
            row = await manager.save(conn, before, step)
        self.learn(row)
        if decision.allowed:
            return Permit(self, decision)
        self._refused = BreakerOpen(self.name, row.breaker.state, decision.until)
        self._refused_at = manager.clock.monotonic()
        raise BreakerOpen(self.name, row.breaker.state, decision.until)

    async def _read(self) -> BreakerRow:
        """The row, made or given new settings if that is due; refreshes the cache."""
        manager = self._manager
        wanted, first = self._wanted, self._row is None
        async with manager.db.transaction() as conn:
            row = None if first or wanted else await store.load(conn, self.name)
            if row is None:
                row = await manager.ensure(conn, self.name, wanted)
        if self._wanted is wanted:
            self._wanted = None
        self.learn(row)
        self.hand_over_successes()
        return row


def _give_back(asking: "asyncio.Task[Permit]") -> None:
    if not asking.cancelled() and asking.exception() is None:
        asking.result().cancelled()
