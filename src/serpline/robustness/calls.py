"""The values of a paid call: its scope, key, intent, parsed reply and end."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID

from serpline.core.ids import digest, new_id
from serpline.domain.errors import ERROR_CHARS_MAX, ErrorCategory, LeaseLost, ProviderError
from serpline.domain.http import HttpReply, ProviderCall
from serpline.domain.names import ContentType
from serpline.net.errors import CalledOff, NetError
from serpline.net.redaction import redact, secrets_of
from serpline.robustness import budget
from serpline.robustness.breakers import CircuitBreaker
from serpline.robustness.policies import ProviderPolicy
from serpline.store.calls.ledger import End, Intent
from serpline.store.calls.reference import Purchase
from serpline.store.tables.guards import CallStatus

T = TypeVar("T")

_SUCCESS = range(200, 300)
_FREE = Decimal(0)


class ReadingFailed(ProviderError):  # noqa: N818  our bug, not the provider's error
    """``parse`` raised an unexpected exception. The reply is good, this release has a bug."""


def _always() -> bool:
    return True


def _zero() -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Replay:
    """The run whose calls are answered again: by its own replies, else by those of ``until``."""

    run_id: UUID
    until: datetime


@dataclass(frozen=True, slots=True)
class CallScope:
    """Who makes a call, and how fresh its reply must be.

    ``freshness`` is part of the ledger's key: two calls with the same identity and freshness are
    the same purchase. ``ttl_seconds``: how old a stored reply may be. None allows any age, 0 never
    reuses a reply (polling). ``lease`` returns whether the chunk is still owned, by the monotonic
    clock. ``lapses`` counts how often the worker's own lease has ended. If it changes during a
    call, the worker may have been disconnected, and a failure counts for no breaker. ``breakers``:
    further, stricter breakers that the call must pass. ``reference_kind``: the call's value is
    reference data of this kind, payloads by key. It is stored with the call's end. ``replay``: only
    a stored reply may answer. Nothing is sent, and nothing is written. ``backfill_id``: its budget
    counts the call too. ``content_type``: of the lane that calls. Each has its own retry budget.
    """

    freshness: str
    run_id: UUID | None = None
    chunk_id: int | None = None
    epoch: int | None = None
    lease: Callable[[], bool] = _always
    lapses: Callable[[], int] = _zero
    ttl_seconds: float | None = None
    breakers: tuple[CircuitBreaker, ...] = ()
    reference_kind: str | None = None
    replay: Replay | None = None
    backfill_id: str | None = None
    content_type: ContentType = ContentType.ALL

    @property
    def shared(self) -> bool:
        """Whether several callers may share one reply."""
        return self.ttl_seconds is None or self.ttl_seconds > 0


def purchase_of(scope: CallScope, value: Any, at: datetime) -> Purchase | None:
    """The reference data in a call's value, if any."""
    if scope.reference_kind is None or not value:
        return None
    return Purchase(scope.reference_kind, value, at)


def call_key(call: ProviderCall[T], freshness: str) -> bytes:
    """The ledger's key of a purchase: 32 bytes from provider, operation, identity, freshness."""
    whole = digest([call.provider, call.operation, call.identity, freshness])
    return bytes.fromhex(whole)


def intent_of(
    call: ProviderCall[T], scope: CallScope, policy: ProviderPolicy, now: datetime
) -> Intent:
    """The row that is committed before the call is sent."""
    return Intent(
        id=new_id(),
        key=call_key(call, scope.freshness),
        provider=call.provider,
        operation=call.operation,
        identity=sha256(digest(call.identity).encode()).digest(),
        freshness=scope.freshness,
        # Without an owning chunk, a dead caller cannot be told from a slow one.
        shared=scope.shared and scope.chunk_id is not None,
        run_id=scope.run_id,
        chunk_id=scope.chunk_id,
        epoch=scope.epoch,
        started_at=now,
        credits=budget.amount(call.credits),
        scopes=budget.scopes(policy, scope.run_id, now, scope.backfill_id),
        content_type=scope.content_type,
    )


def read(call: ProviderCall[T], reply: HttpReply) -> T:
    """Parse the reply. Raises ``ProviderError``: ``ReadingFailed`` for a bug in ``parse``."""
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


def end_of(
    call: ProviderCall[T],
    intent: Intent,
    now: datetime,
    reply: HttpReply | None,
    error: BaseException | None,
) -> End:
    """The call's end, from its reply (if any) and what sending or parsing raised."""
    if isinstance(error, CalledOff):
        return End(intent.id)
    if reply is None:
        status, price = _unanswered(intent, error)
    else:
        status, price = _answered(call, intent, reply, error)
    category, message = None, None
    if status is not CallStatus.OK:
        category, message = ErrorCategory.INTERNAL, "cancelled in flight"
        if isinstance(error, NetError | ProviderError):
            category = error.category
            message = redact(str(error), secrets_of(call.request))[:ERROR_CHARS_MAX]
    return End(
        intent.id,
        status,
        now,
        price,
        http_status=None if reply is None else reply.status,
        error_category=category,
        error=message,
    )


def failure_of(call: ProviderCall[T], intent: Intent, error: BaseException) -> BaseException:
    """The exception that the caller gets for ``error``."""
    if isinstance(error, NetError):
        return ProviderError(
            str(error), provider=call.provider, category=error.category, permanent=error.permanent
        )
    if isinstance(error, CalledOff):
        return LeaseLost(f"chunk {intent.chunk_id} has another owner")
    return error


def _unanswered(intent: Intent, error: BaseException | None) -> tuple[CallStatus, Decimal]:
    """Status and price without a reply: free if nothing was sent or taken, else perhaps billed."""
    if isinstance(error, NetError) and (error.permanent or not error.sent):
        return CallStatus.FAILED, _FREE
    return (CallStatus.UNKNOWN if intent.credits else CallStatus.FAILED), intent.credits


def _answered(
    call: ProviderCall[T], intent: Intent, reply: HttpReply, error: BaseException | None
) -> tuple[CallStatus, Decimal]:
    """Status and price of a reply that was parsed, rejected by ``parse``, or cancelled in it."""
    if error is None or isinstance(error, ReadingFailed):
        return CallStatus.OK, _billed(call, intent, reply)
    # Only a 2xx reply is billed, unless the provider's replies state the bill.
    is_free = call.billed is None and reply.status not in _SUCCESS
    # A reply whose parsing was cancelled is kept and parsed later.
    is_kept = not isinstance(error, ProviderError) and reply.status in _SUCCESS
    status = CallStatus.OK if is_kept else CallStatus.FAILED
    return status, _FREE if is_free else _billed(call, intent, reply)


def _billed(call: ProviderCall[T], intent: Intent, reply: HttpReply) -> Decimal:
    """The reply's stated cost, or the maximum if it states none that can be read."""
    if call.billed is None:
        return intent.credits
    try:
        bill = budget.amount(call.billed(reply))
    except Exception:  # noqa: BLE001  a broken reply may raise anything: charge the maximum
        return intent.credits
    return bill if bill <= budget.BILL_MAX else intent.credits
