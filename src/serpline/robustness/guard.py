"""The guard: every call to an external API passes breaker → limiter → ledger → HTTP → ledger.

Promise: a reply in the ledger is not paid for again. Refused calls are never sent and use no
attempt. Every sent call has a committed intent. The lease is checked again before the first byte is
written. Every call's end is first recorded and then reported to breaker and limiter, including
cancellation. The guard retries nothing: the caller repeats a failed attempt, durably.

Limits: ends become durable within ``ledger.OUTCOME_SECONDS``. Call ``flush`` before settling what
depends on them. A good reply that this release cannot read (a bug in ``parse``) is stored as paid.
The next release reads it without paying.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from serpline.core.clock import Clock, SystemClock
from serpline.core.logging import get
from serpline.domain.breaker import ReportKind, classify
from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError, UserError
from serpline.domain.http import HttpReply, HttpRequest, ProviderCall
from serpline.domain.retry import parse_retry_after
from serpline.net.errors import CalledOff
from serpline.net.redaction import secrets_of
from serpline.robustness.breakers import CircuitBreaker, CircuitBreakerManager, Permit
from serpline.robustness.budget import Budgets
from serpline.robustness.calls import (
    CallScope,
    ReadingFailed,
    call_key,
    end_of,
    failure_of,
    purchase_of,
    read,
)
from serpline.robustness.ledger import Ledger
from serpline.robustness.limiter import QUOTA_USED_UP, WAIT_SECONDS_MAX, Limiter
from serpline.robustness.policies import ProviderPolicy
from serpline.robustness.replay import stored_reply
from serpline.store.calls.ledger import Intent
from serpline.store.calls.reference import Purchase
from serpline.store.calls.replies import Lookup
from serpline.store.database import Database, DatabaseUnavailable, TransactionConflict

__all__ = ["CallScope", "Guard", "ReadingFailed"]

T = TypeVar("T")
Sender = Callable[[HttpRequest], Awaitable[HttpReply]]

FLUSH_SECONDS = 10.0
# Large replies read at once: each takes memory as well as time.
READER_THREADS = 2
# A probe's permit must outlive its call. The call may wait this long for its rate slot, and as long
# again for a concurrency slot and the database.
PERMIT_SECONDS_SPARE = 2 * WAIT_SECONDS_MAX
_DAY_SECONDS = 86_400.0
_FIRST_INSTANT = datetime.min.replace(tzinfo=UTC)

_log = get("robustness")


class Guard:
    """All guarded calls of this process. Make one per process and ``close`` it."""

    def __init__(
        self,
        db: Database,
        sender: Sender,
        policies: Sequence[ProviderPolicy],
        *,
        fetcher: Sender | None = None,
        clock: Clock | None = None,
        breakers: CircuitBreakerManager | None = None,
    ) -> None:
        """``fetcher`` (``client.fetch``) sends the calls to addresses from the web."""
        self._clock = clock or SystemClock()
        self._sender = sender
        self._fetcher = fetcher or sender
        self._policies = {policy.provider: policy for policy in policies}
        self.breakers = breakers or CircuitBreakerManager(db, self._clock)
        self.limiter = Limiter(db, self._clock)
        self.ledger = Ledger(db, self._clock)
        self.budgets = Budgets(db)
        self._readers = ThreadPoolExecutor(READER_THREADS, "read")
        self._in_flight: dict[bytes, asyncio.Future[None]] = {}
        self._recorded: dict[bytes, asyncio.Future[bool]] = {}
        self.breakers.register_defaults(policies)

    def policy(self, provider: str) -> ProviderPolicy:
        """The provider's policy. Raises ``UserError`` if it has none."""
        try:
            return self._policies[provider]
        except KeyError:
            raise UserError(f"provider {provider!r} has no policy") from None

    async def execute(self, call: ProviderCall[T], scope: CallScope) -> T:
        """Return the call's value, from the ledger if it was already paid, else over HTTP.

        Raises ``ProviderError`` (an attempt failed), ``CallRefused`` (no attempt was made),
        ``LeaseLost`` (the chunk has another owner, nothing was sent), and ``DatabaseUnavailable``
        before anything is sent.
        """
        policy = self.policy(call.provider)
        if scope.replay is not None:
            reply = await stored_reply(self.ledger, call, scope.freshness, scope.replay)
            return await self._read(call, reply)
        if not scope.shared:
            return await self._attempt(call, scope, policy, None)
        key = call_key(call, scope.freshness)
        while (same := self._in_flight.get(key)) is not None:
            await asyncio.shield(same)
        self._in_flight[key] = asyncio.get_running_loop().create_future()
        try:
            return await self._buy_once(call, scope, policy, key)
        finally:
            self._release_waiters(key)

    async def flush(self) -> None:
        """Wait until every end recorded so far is durable.

        Raises ``DatabaseUnavailable`` after ``FLUSH_SECONDS``.
        """
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self.ledger.flush()
        except TimeoutError:
            raise DatabaseUnavailable("ends of calls are not yet written") from None

    async def close(self) -> None:
        """Write pending ends and reports, and give back leases.

        Calls whose ends are not written within ``FLUSH_SECONDS`` become ``unknown``.
        """
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self.ledger.flush()
                await self.breakers.close()
        except TimeoutError:
            _log.warning("ends of calls are not written", action="ends_unwritten")
        await self.limiter.close()
        self._readers.shutdown(wait=False)

    async def _buy_once(
        self, call: ProviderCall[T], scope: CallScope, policy: ProviderPolicy, key: bytes
    ) -> T:
        """Use a stored reply, even if the provider is unavailable. Otherwise make the call."""
        since = _FIRST_INSTANT
        if scope.ttl_seconds is not None:
            since = self._clock.now() - timedelta(seconds=scope.ttl_seconds)
        try:
            return await self._attempt(call, scope, policy, since)
        except CallRefused:
            found = await self.ledger.find(Lookup(key), large=call.request.large)
            if found is None or found[0] < since:
                raise
        came_at, reply = found
        try:
            value = await self._read(call, reply)
        except ReadingFailed:
            raise
        except ProviderError:
            _log.warning("stored reply unreadable", action="pay_again", key=key.hex())
            return await self._attempt(call, scope, policy, None)
        # Its parsing may have been cancelled when it came.
        if purchase := purchase_of(scope, value, came_at):
            await self.ledger.store(purchase)
        return value

    async def _attempt(
        self,
        call: ProviderCall[T],
        scope: CallScope,
        policy: ProviderPolicy,
        fresh_since: datetime | None,
    ) -> T:
        """Make one attempt. The cheapest check comes first, so that a refusal is free."""
        seconds = call.request.timeout_seconds + PERMIT_SECONDS_SPARE
        breakers = self._breakers_of(call, scope, policy)
        with await Permit.of(breakers, seconds, scope.lapses) as permit:
            async with self.limiter.concurrency_slot(policy):
                intent = await self.ledger.admit(call, scope, policy, fresh_since)
                request = replace(call.request, may_send=scope.lease)
                call = replace(call, request=request)
                return await self._send(call, scope, policy, intent, permit)

    def _breakers_of(
        self, call: ProviderCall[T], scope: CallScope, policy: ProviderPolicy
    ) -> list[CircuitBreaker]:
        if call.third_party or policy.breaker is None:
            return []
        return [self.breakers.get_breaker(policy.breaker), *scope.breakers]

    async def _send(
        self,
        call: ProviderCall[T],
        scope: CallScope,
        policy: ProviderPolicy,
        intent: Intent,
        permit: Permit,
    ) -> T:
        """Send the call. From here on it may be billed, so every exit records an end."""
        send = self._fetcher if call.third_party else self._sender
        reply: HttpReply | None = None
        try:
            if not call.request.may_send():
                raise CalledOff
            reply = await send(call.request)
            value = await self._read(call, reply)
        except BaseException as error:
            failure = failure_of(call, intent, error)
            self._record(call, intent, reply, error)
            await self._report(call, policy, intent, permit, reply, failure)
            if failure is error:
                raise
            raise failure from None
        self._record(call, intent, reply, None, purchase_of(scope, value, self._clock.now()))
        await self._report(call, policy, intent, permit, reply, None)
        return value

    async def _read(self, call: ProviderCall[T], reply: HttpReply) -> T:
        if reply.large is None:
            return read(call, reply)
        # Parsing takes seconds: a thread keeps the event loop free.
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, read, call, reply)

    def _record(
        self,
        call: ProviderCall[T],
        intent: Intent,
        reply: HttpReply | None,
        error: BaseException | None,
        purchase: Purchase | None = None,
    ) -> None:
        end = end_of(call, intent, self._clock.now(), reply, error)
        recorded = self.ledger.end(end, reply, secrets_of(call.request), purchase)
        if intent.key in self._in_flight:
            self._recorded[intent.key] = recorded

    async def _report(
        self,
        call: ProviderCall[T],
        policy: ProviderPolicy,
        intent: Intent,
        permit: Permit,
        reply: HttpReply | None,
        failure: BaseException | None,
    ) -> None:
        """Report a call's end to limiter and breakers. A database error does not change the end.

        Only a ``ProviderError`` counts as the provider's failure.
        """
        try:
            if failure is None:
                await permit.end(ReportKind.SUCCESS)
            elif isinstance(failure, ProviderError):
                if reply is not None and not call.third_party:  # one site's pause is not another's
                    await self._slow_down(policy, intent, reply, failure)
                await permit.end(classify(failure))
        except (DatabaseUnavailable, TransactionConflict):
            _log.warning("a call's end is not reported", action="report_failed")

    async def _slow_down(
        self, policy: ProviderPolicy, intent: Intent, reply: HttpReply, failure: ProviderError
    ) -> None:
        """Slow all workers down after a 429. Pause them until a used-up quota renews."""
        now = self._clock.now()
        retry_after = failure.retry_after_seconds
        if retry_after is None:
            retry_after = parse_retry_after(reply.headers.get("retry-after"), now)
        if failure.category is ErrorCategory.RATE_LIMIT:
            await self.limiter.penalise(policy, intent.started_at, retry_after)
        elif failure.category is ErrorCategory.QUOTA and not failure.permanent:
            if retry_after is None:
                retry_after = (policy.day_ends_at(now) - now).total_seconds()
            await self.limiter.pause(policy, min(retry_after, _DAY_SECONDS), QUOTA_USED_UP)

    def _release_waiters(self, key: bytes) -> None:
        """Wake callers that wait for the same purchase as soon as its end is durable."""
        done = self._in_flight[key]

        def release(_: object = None) -> None:
            del self._in_flight[key]
            done.set_result(None)

        recorded = self._recorded.pop(key, None)
        if recorded is None or recorded.done():
            release()
        else:
            recorded.add_done_callback(release)
