"""The guard: every call to an external API passes breaker → limiter → budget → ledger → HTTP.

Promise: what the ledger has already is not paid again; what is refused was not sent and burns no
attempt; what is sent was intended durably before, under a lease that is asked once more as its
bytes are written, and its end is recorded whatever happens, cancellation included. There is no
retry in here: a failed attempt is the caller's to repeat, durably.

Limits: outcomes become durable within ``ledger.OUTCOME_SECONDS``; call ``flush`` before settling
what depends on them. A reply that this release cannot read although it is good (a bug in
``parse``) is kept as paid, and read again by the next release without paying.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from serpline.core.clock import Clock, SystemClock
from serpline.core.logging import get
from serpline.domain.breaker import ReportKind, classify
from serpline.domain.errors import (
    CallRefused,
    ErrorCategory,
    LeaseLost,
    ProviderError,
    UserError,
)
from serpline.domain.http import HttpReply, HttpRequest, ProviderCall
from serpline.domain.retry import parse_retry_after
from serpline.net.errors import CalledOff, NetError
from serpline.net.redaction import redact, secrets_of
from serpline.robustness import budget
from serpline.robustness.admission import Admission
from serpline.robustness.breakers import CircuitBreaker, CircuitBreakerManager, Permit
from serpline.robustness.calls import answered, call_key, failed, intent_of, unanswered, unread
from serpline.robustness.ledger import Ending, Ledger
from serpline.robustness.limiter import WAIT_SECONDS_MAX, Limiter
from serpline.robustness.policies import ProviderPolicy
from serpline.store.calls.ledger import Intent
from serpline.store.database import Database, DatabaseUnavailable, TransactionConflict

T = TypeVar("T")
Sender = Callable[[HttpRequest], Awaitable[HttpReply]]

FLUSH_SECONDS = 10.0
# So many large replies are read at once; they take memory as well as time.
READERS = 2
# A probe's permit outlives its call: so long it may wait for its turn, and as long again for a
# place among the concurrent calls and for the database.
PERMIT_SECONDS_SPARE = 2 * WAIT_SECONDS_MAX
_DAY_SECONDS = 86_400.0
_FIRST_INSTANT = datetime.min.replace(tzinfo=UTC)

_log = get("robustness")


class ReadingFailed(ProviderError):  # noqa: N818  a bug of ours, no error of theirs
    """``parse`` raised something else than it may: the reply is good, this release is not."""


def _held() -> bool:
    return True


def _never() -> int:
    return 0


def _read(call: ProviderCall[T], reply: HttpReply) -> T:
    try:
        return call.parse(reply)
    except ProviderError:
        raise
    except Exception as bug:
        what = redact(repr(bug), secrets_of(call.request))[:200]
        raise ReadingFailed(
            f"{call.provider} {call.operation}: the reply is kept, reading it failed: {what}",
            provider=call.provider,
            category=ErrorCategory.INTERNAL,
            permanent=True,
            http_status=reply.status,
        ) from bug


@dataclass(frozen=True, slots=True)
class CallScope:
    """For whom a call is made, and how fresh its reply must be.

    ``freshness`` is part of the ledger's key: two calls with the same identity and freshness are
    the same purchase. ``ttl_seconds``: how old a stored reply may be; None: any age; 0: never
    reuse (polling). ``lease`` says, by the monotonic clock, whether the chunk is still owned;
    ``lapses`` how often the worker's own lease has ended: a call that fails after another end than
    it began with was perhaps cut off with its worker, and is held against no breaker.
    ``breakers``: further, stricter breakers the call must pass as well.
    """

    freshness: str
    run_id: UUID | None = None
    chunk_id: int | None = None
    epoch: int | None = None
    lease: Callable[[], bool] = _held
    lapses: Callable[[], int] = _never
    ttl_seconds: float | None = None
    breakers: tuple[CircuitBreaker, ...] = ()

    @property
    def shared(self) -> bool:
        """Whether one reply may serve several callers."""
        return self.ttl_seconds is None or self.ttl_seconds > 0


class Guard:
    """All guarded calls of this process. One per process; ``close`` it."""

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
        """``fetcher`` (``client.fetch``) makes the calls to addresses that came from the web."""
        self._clock = clock or SystemClock()
        self._sender = sender
        self._fetcher = fetcher or sender
        self._policies = {policy.provider: policy for policy in policies}
        self.breakers = breakers or CircuitBreakerManager(db, self._clock)
        self.limiter = Limiter(db, self._clock)
        self.ledger = Ledger(db)
        self.admission = Admission(db, self._clock, self.ledger.withdraw)
        self.budgets = budget.Budgets(db)
        self._readers = ThreadPoolExecutor(READERS, "read")
        self._under_way: dict[bytes, asyncio.Future[None]] = {}
        self._recorded: dict[bytes, asyncio.Future[bool]] = {}
        self.breakers.register_defaults(policies)

    def policy(self, provider: str) -> ProviderPolicy:
        """The provider's policy. Raises ``UserError`` for one without."""
        try:
            return self._policies[provider]
        except KeyError:
            raise UserError(f"provider {provider!r} has no policy") from None

    async def execute(self, call: ProviderCall[T], scope: CallScope) -> T:
        """What the call says: from the ledger if it was paid already, otherwise over the wire.

        Raises ``ProviderError`` (an attempt failed), ``CallRefused`` (no attempt was made),
        ``LeaseLost`` (the chunk is somebody else's now; nothing was sent), and
        ``DatabaseUnavailable`` before anything is sent.
        """
        policy = self.policy(call.provider)
        key = call_key(call, scope.freshness)
        if not scope.shared:
            return await self._pay(call, scope, policy, key, None)
        while (twin := self._under_way.get(key)) is not None:
            await asyncio.shield(twin)
        self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            return await self._buy_once(call, scope, policy, key)
        finally:
            self._let_twins_go(key)

    async def flush(self) -> None:
        """Wait until every outcome handed over so far is durable.

        Raises ``DatabaseUnavailable`` when that takes longer than ``FLUSH_SECONDS``.
        """
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._write_out()
        except TimeoutError:
            raise DatabaseUnavailable("the calls' outcomes could not be written yet") from None

    async def close(self) -> None:
        """Write what is not yet written, and give back what is leased.

        What a database that is away cannot be told by then becomes ``unknown``.
        """
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._write_out()
                await self.breakers.close()
        except TimeoutError:
            _log.warning("outcomes left unsaid", action="left_unsaid")
        await self.limiter.close()
        self._readers.shutdown(wait=False)

    async def _write_out(self) -> None:
        # Admissions first: one whose caller has gone becomes a withdrawal in the ledger.
        await self.admission.flush()
        await self.ledger.flush()

    async def _buy_once(
        self, call: ProviderCall[T], scope: CallScope, policy: ProviderPolicy, key: bytes
    ) -> T:
        """What was bought before is read, whatever the state of the provider; else it is bought."""
        since = _FIRST_INSTANT
        if scope.ttl_seconds is not None:
            since = self._clock.now() - timedelta(seconds=scope.ttl_seconds)
        try:
            return await self._pay(call, scope, policy, key, since)
        except CallRefused:
            found = await self.ledger.find(key, large=call.request.large)
            if found is None or found[0] < since:
                raise
        try:
            return await self._read(call, found[1])
        except ReadingFailed:
            raise
        except ProviderError:
            _log.warning("stored reply unreadable", action="pay_again", key=key.hex())
        return await self._pay(call, scope, policy, key, None)

    async def _pay(
        self,
        call: ProviderCall[T],
        scope: CallScope,
        policy: ProviderPolicy,
        key: bytes,
        fresh_since: datetime | None,
    ) -> T:
        """One attempt, in the order that makes a refusal free: what costs least is asked first."""

        def intent_at(now: datetime) -> Intent:
            return intent_of(
                call,
                policy,
                now,
                key=key,
                freshness=scope.freshness,
                shared=scope.shared,
                run_id=scope.run_id,
                chunk_id=scope.chunk_id,
                epoch=scope.epoch,
            )

        seconds = call.request.timeout_seconds + PERMIT_SECONDS_SPARE
        breakers = self._breakers_of(call, scope, policy)
        with await Permit.of(breakers, seconds, scope.lapses) as permits:
            async with self.limiter.place(policy):
                intent = await self.admission.admit(
                    policy, intent_at, fresh_since, elsewhere=call.elsewhere
                )
                request = replace(call.request, may_send=scope.lease)
                try:
                    if not scope.lease():
                        raise CalledOff
                    return await self._send(replace(call, request=request), policy, intent, permits)
                except CalledOff:
                    self.ledger.withdraw(intent.id)
                    raise LeaseLost(f"chunk {scope.chunk_id} is no longer ours") from None

    def _breakers_of(
        self, call: ProviderCall[T], scope: CallScope, policy: ProviderPolicy
    ) -> list[CircuitBreaker]:
        if call.elsewhere or policy.breaker is None:
            return []
        return [self.breakers.get_breaker(policy.breaker), *scope.breakers]

    async def _send(
        self, call: ProviderCall[T], policy: ProviderPolicy, intent: Intent, permits: Permit
    ) -> T:
        """Over the wire. From here on something may have been paid, so every way out records."""
        send = self._fetcher if call.elsewhere else self._sender
        try:
            reply = await send(call.request)
        except NetError as error:
            failure = ProviderError(
                str(error),
                provider=call.provider,
                category=error.category,
                permanent=error.permanent,
            )
            ending = unanswered(call, intent, self._clock.now(), failure, sent=error.sent)
            self._record(intent, ending)
            await self._tell(permits.end(classify(failure)))
            raise failure from None
        except CalledOff:
            raise
        except BaseException:
            self._record(intent, unanswered(call, intent, self._clock.now(), None))
            raise
        try:
            value = await self._read(call, reply)
        except ReadingFailed:
            self._record(intent, answered(call, intent, reply, self._clock.now()))
            raise
        except ProviderError as failure:
            self._record(intent, failed(call, intent, reply, self._clock.now(), failure))
            if not call.elsewhere:  # one site's wish for a pause binds no other
                await self._tell(self._slow_down(policy, intent, reply, failure))
            await self._tell(permits.end(classify(failure)))
            raise
        except BaseException:
            self._record(intent, unread(call, intent, reply, self._clock.now()))
            raise
        self._record(intent, answered(call, intent, reply, self._clock.now()))
        await self._tell(permits.end(ReportKind.SUCCESS))
        return value

    async def _read(self, call: ProviderCall[T], reply: HttpReply) -> T:
        if reply.large is None:
            return _read(call, reply)
        # Takes seconds, in which the other tasks are to have their turns.
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, _read, call, reply)

    async def _slow_down(
        self, policy: ProviderPolicy, intent: Intent, reply: HttpReply, failure: ProviderError
    ) -> None:
        """A 429 slows everybody down; a used-up quota stops everybody until it is renewed."""
        now = self._clock.now()
        asked = failure.retry_after_seconds
        if asked is None:
            asked = parse_retry_after(reply.headers.get("retry-after"), now)
        if failure.category is ErrorCategory.RATE_LIMIT:
            await self.limiter.penalise(policy, intent.started_at, asked)
        elif failure.category is ErrorCategory.QUOTA and not failure.permanent:
            if asked is None:
                asked = (policy.day_ends_at(now) - now).total_seconds()
            await self.limiter.pause(policy, min(asked, _DAY_SECONDS), "its quota is used up")

    def _record(self, intent: Intent, ending: Ending) -> None:
        recorded = self.ledger.record(ending)
        if intent.key in self._under_way:
            self._recorded[intent.key] = recorded

    def _let_twins_go(self, key: bytes) -> None:
        """Whoever waits for the same purchase looks it up, as soon as its outcome is durable."""
        done = self._under_way[key]

        def go(_: object = None) -> None:
            del self._under_way[key]
            done.set_result(None)

        recorded = self._recorded.pop(key, None)
        if recorded is None or recorded.done():
            go()
        else:
            recorded.add_done_callback(go)

    @staticmethod
    async def _tell(telling: Awaitable[None]) -> None:
        """The call has ended and is recorded; a database that is away must not change its end."""
        try:
            await telling
        except (DatabaseUnavailable, TransactionConflict):
            _log.warning("breaker or limiter not told", action="tell_failed")
