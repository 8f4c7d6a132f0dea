"""The right to make one call: of one breaker, or of several at once.

Promise: whatever way a call ends, its permit is ended exactly once.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from serpline.domain.breaker import Decision, ReportKind
from serpline.store.calls.breakers import BreakerRow

if TYPE_CHECKING:
    from serpline.robustness.breaker import CircuitBreaker


def _always() -> bool:
    return True


class Permit:
    """The right to one call. Exactly one of its three ends counts: the first."""

    def __init__(self, breaker: "CircuitBreaker", decision: Decision) -> None:
        """Made by ``CircuitBreaker.permit`` only."""
        self._counts: Callable[[], bool] = _always
        self._breaker = breaker
        self._decision = decision
        self._ended = False

    def counts_while(self, counts: Callable[[], bool]) -> None:
        """A failure is held against the breaker only if this is true when it is written."""
        self._counts = counts

    async def end(self, kind: ReportKind) -> None:
        """Report the end by its kind."""
        if kind is ReportKind.SUCCESS:
            await self.succeeded()
        elif kind is ReportKind.FAILURE:
            await self.failed()
        else:
            self.cancelled()

    async def succeeded(self) -> None:
        """The provider is well. Waits for the database when this was a probe, or while failures
        are being written: whoever succeeded among them must not run ahead of the verdict."""
        if self._end():
            if self._decision.permit is None:
                self._breaker.count_success()
                await self._breaker.judged()
            else:
                await asyncio.shield(self._report(ReportKind.SUCCESS))

    async def failed(self) -> None:
        """The provider is unwell; returns when that is durable."""
        if self._end():
            await asyncio.shield(self._report(ReportKind.FAILURE))

    def cancelled(self) -> None:
        """The call said nothing about the provider."""
        if self._end() and self._decision.permit is not None:
            self._report(ReportKind.CANCELLED)

    def _end(self) -> bool:
        ended, self._ended = self._ended, True
        return not ended

    def _report(self, kind: ReportKind) -> asyncio.Future[BreakerRow]:
        return self._breaker.report(kind, self._decision, self._counts)


class Permits:
    """Permits of several breakers as one; leaving its block unended is a cancellation of all."""

    def __init__(self) -> None:
        self._permits: list[Permit] = []

    @classmethod
    async def of(
        cls,
        breakers: Sequence["CircuitBreaker"],
        call_seconds: float,
        lapses: Callable[[], int] = lambda: 0,
    ) -> "Permits":
        """A permit of each, or of none, for a call that may take so long, its waits included.

        ``lapses`` counts how often this worker was cut off. A failure of a call that was begun
        before the latest time is its own, and is held against none of the breakers.
        Raises the first ``BreakerOpen``.
        """
        permits, lapses_before = cls(), lapses()
        try:
            for breaker in breakers:
                permit = await breaker.permit(call_seconds)
                permit.counts_while(lambda: lapses() == lapses_before)
                permits._permits.append(permit)
        except BaseException:
            permits.cancelled()
            raise
        return permits

    def __enter__(self) -> "Permits":
        return self

    def __exit__(self, *exc: object) -> None:
        self.cancelled()

    async def end(self, kind: ReportKind) -> None:
        """Report the same end to all of them; a cancellation meanwhile loses none."""
        for task in [asyncio.ensure_future(permit.end(kind)) for permit in self._permits]:
            await asyncio.shield(task)

    def cancelled(self) -> None:
        """Give all back that have not ended."""
        for permit in self._permits:
            permit.cancelled()
