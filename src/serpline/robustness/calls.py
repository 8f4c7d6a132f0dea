"""From a provider's call to the ledger's words: its key, its intent, and how it ended."""

from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import TypeVar
from uuid import UUID

from serpline.core.ids import digest, new_id
from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply, ProviderCall
from serpline.net.redaction import secrets_of
from serpline.robustness import budget
from serpline.robustness.ledger import Ending
from serpline.robustness.policies import ProviderPolicy
from serpline.store.calls.ledger import CallOutcome, Intent
from serpline.store.tables.guards import CallStatus

T = TypeVar("T")

_SUCCESS = range(200, 300)


def call_key(call: ProviderCall[T], freshness: str) -> bytes:
    """32 bytes that are equal for equal purchases: provider, operation, identity, freshness."""
    whole = digest([call.provider, call.operation, call.identity, freshness])
    return bytes.fromhex(whole)


def intent_of(
    call: ProviderCall[T],
    policy: ProviderPolicy,
    now: datetime,
    *,
    key: bytes,
    freshness: str,
    shared: bool,
    run_id: UUID | None,
    chunk_id: int | None,
    epoch: int | None,
) -> Intent:
    """The row that is committed before the call is made."""
    return Intent(
        id=new_id(),
        key=key,
        provider=call.provider,
        operation=call.operation,
        identity=sha256(digest(call.identity).encode()).digest(),
        freshness=freshness,
        # Without an owner nobody could tell a dead buyer from a slow one.
        shared=shared and chunk_id is not None,
        run_id=run_id,
        chunk_id=chunk_id,
        epoch=epoch,
        started_at=now,
        credits=budget.amount(call.credits),
        scopes=budget.scopes(policy, run_id, now),
    )


def answered(call: ProviderCall[T], intent: Intent, reply: HttpReply, now: datetime) -> Ending:
    """A usable reply, at the price it names, or else the call's."""
    return _ending(call, intent, CallStatus.OK, now, _billed(call, intent, reply), reply)


def failed(
    call: ProviderCall[T], intent: Intent, reply: HttpReply, now: datetime, error: ProviderError
) -> Ending:
    """A reply that is an error. What is not a success is not billed, unless the reply says so."""
    return _ending(call, intent, CallStatus.FAILED, now, _price(call, intent, reply), reply, error)


def unread(call: ProviderCall[T], intent: Intent, reply: HttpReply, now: datetime) -> Ending:
    """A reply whose reading was broken off: whoever reads it next sees what it is."""
    status = CallStatus.OK if reply.status in _SUCCESS else CallStatus.FAILED
    return _ending(call, intent, status, now, _price(call, intent, reply), reply)


def unanswered(
    call: ProviderCall[T],
    intent: Intent,
    now: datetime,
    error: ProviderError | None,
    *,
    sent: bool = True,
) -> Ending:
    """No reply came: nothing was ``sent``, so it is free; or sent and possibly billed."""
    if not sent or (error is not None and error.permanent):
        return _ending(call, intent, CallStatus.FAILED, now, Decimal(0), None, error)
    status = CallStatus.UNKNOWN if intent.credits else CallStatus.FAILED
    return _ending(call, intent, status, now, intent.credits, None, error)


def _ending(
    call: ProviderCall[T],
    intent: Intent,
    status: CallStatus,
    now: datetime,
    price: Decimal,
    reply: HttpReply | None,
    error: ProviderError | None = None,
) -> Ending:
    category: str | None = None if error is None else error.category
    message = None if error is None else str(error)
    if error is None and status is not CallStatus.OK:
        category, message = ErrorCategory.INTERNAL, "cancelled while under way"
    outcome = CallOutcome(
        id=intent.id,
        status=status,
        finished_at=now,
        credits=price,
        http_status=None if reply is None else reply.status,
        error_category=category,
        error=message,
    )
    return Ending(outcome, reply, secrets_of(call.request))


def _price(call: ProviderCall[T], intent: Intent, reply: HttpReply) -> Decimal:
    free = call.billed is None and reply.status not in _SUCCESS
    return Decimal(0) if free else _billed(call, intent, reply)


def _billed(call: ProviderCall[T], intent: Intent, reply: HttpReply) -> Decimal:
    """What the reply says it cost; the most it can have cost if it says nothing readable."""
    if call.billed is None:
        return intent.credits
    try:
        bill = budget.amount(call.billed(reply))
    except Exception:  # noqa: BLE001  whatever a broken reply does to the reader: it is the maximum
        return intent.credits
    return bill if bill <= budget.BILL_MAX else intent.credits
