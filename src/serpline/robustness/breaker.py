"""One circuit breaker in this process, and its permits.

Promise: a cached row decides without the database until it is stale. When the row is stale or a
probe may be due, one database call decides for all callers of this process. Each permit ends
exactly once, however its call ends.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from serpline.core.clock import Clock
from serpline.domain.breaker import Decision, Report, ReportKind, classify
from serpline.domain.errors import CallRefused, ProviderError
from serpline.domain.states import BreakerState
from serpline.domain.waits import WaitCause, WaitReason
from serpline.store.calls.breakers import BreakerRow, SettingsUpdate

T = TypeVar("T")

# The lease of a permit whose call gives no duration.
DEFAULT_CALL_SECONDS = 300.0
# How long a refused probe refuses every caller of this process.
_REFUSAL_SECONDS = 0.2

# Reads the breaker and applies the settings if they are newer. Given the seconds that a call may
# take, it also decides on the call.
ReadRow = Callable[[SettingsUpdate | None, float | None], Awaitable[tuple[BreakerRow, Decision]]]
# Writes how a call ended. A failure counts if the second argument returns True at that time.
WriteReport = Callable[[Report, Callable[[], bool]], asyncio.Future[BreakerRow]]


class BreakerOpen(CallRefused):
    """The breaker refuses calls. When it closes, it wakes the chunks that wait on it."""

    def __init__(self, breaker: str, state: BreakerState, until: datetime | None) -> None:
        wait = WaitReason(WaitCause.BREAKER, breaker)
        reason = f"breaker {breaker} is {state}"
        super().__init__(reason, until=until, waits_on=breaker, wait=wait)
        self.state = state


def _always() -> bool:
    return True


class CircuitBreaker:
    """One breaker in this process. Only ``CircuitBreakerManager.get_breaker`` makes one."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        read_row: ReadRow,
        write_report: WriteReport,
        *,
        cache_seconds: float,
    ) -> None:
        self.name = name
        self._clock = clock
        self._read_row = read_row
        self._write_report = write_report
        self._cache_seconds = cache_seconds
        self._first_proposed: dict[frozenset[tuple[str, Any]], datetime] = {}
        self._update: SettingsUpdate | None = None
        self._row: BreakerRow | None = None
        self._read_at = float("-inf")
        self._refused: Decision | None = None
        self._refused_at = float("-inf")
        self._successes: dict[int, tuple[int, datetime]] = {}
        self._last_report: asyncio.Future[BreakerRow] | None = None
        self._lock = asyncio.Lock()
        self.pending_decisions: set[asyncio.Task[Decision]] = set()

    async def permit(self, call_seconds: float = DEFAULT_CALL_SECONDS) -> "Permit":
        """The right to make one call, see ``Permit.of``. Raises ``BreakerOpen``."""
        return await Permit.of([self], call_seconds)

    async def call(self, fn: Callable[..., Awaitable[T]], *args: object, **kwargs: object) -> T:
        """``await fn(*args, **kwargs)`` under a permit. Raises ``BreakerOpen``.

        A ``ProviderError`` counts by its category (``classify``). ``CallRefused`` and cancellation
        are neutral; any other exception is a failure.
        """
        with await self.permit() as permit:
            try:
                result = await fn(*args, **kwargs)
            except ProviderError as error:
                await permit.end(classify(error))
                raise
            except CallRefused:
                raise
            except Exception:
                await permit.failed()
                raise
            await permit.succeeded()
            return result

    async def state(self) -> BreakerRow:
        """Read the breaker's row from the database."""
        async with self._lock:
            row, _ = await self._read(None)
            return row

    def propose_settings(self, overrides: Mapping[str, Any], at: datetime | None) -> None:
        """Override settings at the next use, unless newer overrides are known.

        ``at`` is when they were given. None means when this process first proposed these values.
        """
        if at is None:
            key = frozenset(overrides.items())
            at = self._first_proposed.setdefault(key, self._clock.now())
        if self._row is not None and not self._row.is_older(at):
            return
        if self._update is None or at >= self._update.at:
            self._update = SettingsUpdate(overrides, at)

    def update_cache(self, row: BreakerRow) -> None:
        """Cache a row read from the database, unless a newer one is cached."""
        known = self._row
        if known is not None and known.breaker.generation > row.breaker.generation:
            return
        self._row, self._read_at = row, self._clock.monotonic()
        self._refused = None

    async def decide(self, call_seconds: float) -> Decision:
        """Allow a call. Raises ``BreakerOpen``.

        If the caller is cancelled during the database call, its permit is given back.
        """
        decision = self._from_cache()
        if decision is not None:
            return decision
        pending = asyncio.create_task(self._decide_by_database(call_seconds))
        self.pending_decisions.add(pending)
        pending.add_done_callback(self.pending_decisions.discard)
        try:
            return await asyncio.shield(pending)
        except asyncio.CancelledError:
            pending.add_done_callback(self._give_back)
            raise

    def report(
        self, kind: ReportKind, decision: Decision, counts: Callable[[], bool] = _always
    ) -> asyncio.Future[BreakerRow] | None:
        """Record how a permitted call ended, and start writing it if the database needs it.

        Returns the future of that write, or None without a write. A success while closed is
        counted in memory. It is written only if a call failed recently.
        """
        now = self._clock.now()
        if kind is ReportKind.FAILURE or decision.permit is not None:
            self._write_successes(decision.generation)
            return self._write(Report(kind, now, decision.generation, decision.permit), counts)
        if kind is ReportKind.SUCCESS:
            count, _ = self._successes.get(int(now.timestamp()), (0, now))
            self._successes[int(now.timestamp())] = (count + 1, now)
            row = self._row
            if row is not None and len(self._successes) > row.settings.rate_window_seconds + 1:
                del self._successes[min(self._successes)]
            if row is not None and row.breaker.failure_count:
                self.write_successes()
        return None

    def write_successes(self) -> None:
        """Start writing the counted successes, if a call failed recently."""
        if self._row is not None and self._row.breaker.recent.has_failures:
            self._write_successes(self._row.breaker.generation)

    async def wait_for_reports(self) -> None:
        """Wait until every report so far is written. Returns at once if there is none."""
        if self._last_report is not None and not self._last_report.done():
            await asyncio.wait([self._last_report])

    def _write_successes(self, generation: int) -> None:
        taken, self._successes = sorted(self._successes.items()), {}
        for _, (count, at) in taken:
            self._write(Report(ReportKind.SUCCESS, at, generation, count=count), _always)

    def _write(self, report: Report, counts: Callable[[], bool]) -> asyncio.Future[BreakerRow]:
        self._last_report = self._write_report(report, counts)
        return self._last_report

    def _from_cache(self) -> Decision | None:
        """Decide from the cache; None if the database must decide. Raises ``BreakerOpen``."""
        row, now = self._row, self._clock.monotonic()
        if row is not None and self._refused and now - self._refused_at < _REFUSAL_SECONDS:
            raise BreakerOpen(self.name, row.breaker.state, self._refused.until)
        if row is None or self._update or now - self._read_at >= self._cache_seconds:
            return None
        breaker = row.breaker
        if breaker.state is BreakerState.CLOSED:
            return Decision(True, breaker.generation)
        if breaker.state is BreakerState.ISOLATED:
            raise BreakerOpen(self.name, breaker.state, None)
        until, seconds = breaker.open_until, breaker.open_seconds
        # A time further ahead was written before the clock was set back: ask the database.
        if until is not None and 0 < (until - self._clock.now()).total_seconds() <= seconds:
            raise BreakerOpen(self.name, breaker.state, until)
        return None

    async def _decide_by_database(self, call_seconds: float) -> Decision:
        async with self._lock:
            cached = self._from_cache()
            if cached is not None:
                return cached
            row, decision = await self._read(call_seconds)
        if decision.allowed:
            return decision
        self._refused, self._refused_at = decision, self._clock.monotonic()
        raise BreakerOpen(self.name, row.breaker.state, decision.until)

    async def _read(self, call_seconds: float | None) -> tuple[BreakerRow, Decision]:
        update = self._update
        row, decision = await self._read_row(update, call_seconds)
        if self._update is update:
            self._update = None
        self.update_cache(row)
        self.write_successes()
        return row, decision

    def _give_back(self, pending: asyncio.Task[Decision]) -> None:
        if not pending.cancelled() and pending.exception() is None:
            self.report(ReportKind.CANCELLED, pending.result())


class Permit:
    """The right to one call, from one or more breakers. Only its first end counts.

    Leaving the ``with`` block without an end cancels it.
    """

    def __init__(self, counts: Callable[[], bool]) -> None:
        """Use ``of`` instead."""
        self._counts = counts
        self._held: list[tuple[CircuitBreaker, Decision]] = []

    @classmethod
    async def of(
        cls,
        breakers: Sequence[CircuitBreaker],
        call_seconds: float,
        lapses: Callable[[], int] = lambda: 0,
    ) -> "Permit":
        """Get a permit from every breaker, or from none. Raises the first ``BreakerOpen``.

        ``call_seconds``: how long the call may take, including its waits. It is the lease of a
        probe's permit, unless the settings fix one. ``lapses`` counts how often this worker lost
        its lease. If it changes during the call, a failure of the call counts for no breaker.
        """
        before = lapses()
        permit = cls(lambda: lapses() == before)
        try:
            for breaker in breakers:
                permit._held.append((breaker, await breaker.decide(call_seconds)))
        except BaseException:
            permit.cancelled()
            raise
        return permit

    def __enter__(self) -> "Permit":
        return self

    def __exit__(self, *exc: object) -> None:
        self.cancelled()

    async def succeeded(self) -> None:
        """Report that the provider is healthy, after pending failure reports.

        A call that succeeds among failures must not run ahead of them. A probe's own report is
        also waited for.
        """
        await self.end(ReportKind.SUCCESS)

    async def failed(self) -> None:
        """Report that the provider is unhealthy. Returns when the report is durable."""
        await self.end(ReportKind.FAILURE)

    def cancelled(self) -> None:
        """Give the permit back. The call proves nothing about the provider."""
        self._report(ReportKind.CANCELLED)

    async def end(self, kind: ReportKind) -> None:
        """Report the end as ``kind``. Cancelling this wait loses no report."""
        reports = self._report(kind)
        if kind is ReportKind.CANCELLED:
            return
        for breaker, report in reports:
            await (breaker.wait_for_reports() if report is None else asyncio.shield(report))

    def _report(
        self, kind: ReportKind
    ) -> list[tuple[CircuitBreaker, asyncio.Future[BreakerRow] | None]]:
        held, self._held = self._held, []
        return [(breaker, breaker.report(kind, end, self._counts)) for breaker, end in held]
