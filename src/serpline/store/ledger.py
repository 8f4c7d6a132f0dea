"""The call ledger: every paid call as a row before it starts, its raw reply after it ended.

Promise: intents and their reserved credits commit together, outcomes and their spent credits too,
each group in one statement: no row that others need is locked while the server waits for a worker.
Each function may be repeated after a lost commit acknowledgement without counting anything twice.
Per shared key there is at most one intent at a time (a unique index says so), and an intent of an
owner that no longer owns its chunk becomes ``unknown``: possibly paid, so counted in full.

Locks are taken in one order everywhere: rates by provider, then calls by key, then budgets.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa

from serpline.store.database import Connection
from serpline.store.tables.guards import CallStatus, provider_calls


@dataclass(frozen=True, slots=True)
class Intent:
    """A call about to be made. ``shared``: its reply may serve whoever asks for the same key."""

    id: UUID
    key: bytes
    provider: str
    operation: str
    identity: bytes
    freshness: str
    shared: bool
    run_id: UUID | None
    chunk_id: int | None
    epoch: int | None
    started_at: datetime
    credits: Decimal
    scopes: tuple[tuple[str, Decimal | None], ...]


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A raw reply as stored: ``body`` is zlib-compressed and holds no secret."""

    http_status: int
    headers: Mapping[str, str]
    url: str
    body: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """How a call ended. ``credits``: what it did cost, or may have cost if that is unknown."""

    id: UUID
    status: CallStatus
    finished_at: datetime
    credits: Decimal
    http_status: int | None = None
    error_category: str | None = None
    error: str | None = None
    reply: StoredReply | None = None


@dataclass(frozen=True, slots=True)
class CallTotals:
    """Calls made for a run to one provider, and their credits. ``unknown`` ones are in both."""

    calls: int
    credits: Decimal
    unknown: int


_FIND = sa.text(
    "SELECT DISTINCT ON (c.key) c.key, c.finished_at,"
    " r.http_status, r.headers, r.url, r.body, r.size_bytes"
    " FROM provider_calls c JOIN raw_replies r ON r.call_id = c.id"
    " WHERE c.key = ANY(:keys) AND c.status = 'ok' ORDER BY c.key, c.finished_at DESC"
)


async def find_replies(
    conn: Connection, keys: Sequence[bytes]
) -> dict[bytes, tuple[datetime, StoredReply]]:
    """The latest usable reply of each key that has one, with the time it came."""
    rows = await conn.execute(_FIND, {"keys": list(set(keys))})
    return {
        row.key: (
            row.finished_at,
            StoredReply(row.http_status, row.headers, row.url, row.body, row.size_bytes),
        )
        for row in rows
    }


class Answer(StrEnum):
    """What becomes of a call that wants to be made."""

    ADMITTED = "admitted"
    WRITTEN = "written"
    """Admitted by an earlier try, of which nothing was heard."""
    SLOT = "slot"
    """Its slot comes in ``wait_seconds``; then it asks again."""
    LIMITED = "limited"
    BOUGHT = "bought"
    BUSY = "busy"
    """The same call is under way for an owner who is alive."""
    RETRIES = "retries"
    HELD = "held"
    SPENT = "spent"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call that would be made. ``fresh_since``: a reply from then on serves as well; None: none.

    ``third_party``: it goes to an address of the web. ``has_slot``: it was given one, and has
    waited for it.
    """

    intent: Intent
    fresh_since: datetime | None = None
    third_party: bool = False
    has_slot: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider allows: calls a second, and retries as shares, a minute, and saved up."""

    rate: float
    retry_share: float
    retry_floor: float
    tokens_max: float


@dataclass(frozen=True, slots=True)
class Decision:
    """``detail``: why a provider is paused, or which budget has no room."""

    answer: Answer
    wait_seconds: float = 0.0
    detail: str | None = None


_ADMIT = sa.text(
    "SELECT * FROM admit_calls(CAST(:wishes AS jsonb), CAST(:policies AS jsonb),"
    " make_interval(secs => :horizon), :at)"
)


async def admit(
    conn: Connection,
    calls: Sequence[Wanted],
    limits: Mapping[str, Limits],
    *,
    horizon_seconds: float,
    at: datetime | None = None,
) -> list[Decision]:
    """Decide on calls, in their order; intents and credits of the admitted ones are written.

    Slots are given no further ahead than ``horizon_seconds``. ``at`` None: now, by the server.
    """
    rows = await conn.execute(
        _ADMIT,
        {
            "wishes": json.dumps([_wish(call) for call in calls]),
            "policies": json.dumps({name: asdict(value) for name, value in limits.items()}),
            "horizon": horizon_seconds,
            "at": at,
        },
    )
    return [Decision(Answer(row.answer), row.wait_seconds or 0.0, row.detail) for row in rows]


def _wish(call: Wanted) -> dict[str, object]:
    """A row of ``provider_calls`` to be, as JSON, and what is asked of it."""
    intent = call.intent
    return {
        "id": str(intent.id),
        "key": f"\\x{intent.key.hex()}",
        "provider": intent.provider,
        "operation": intent.operation,
        "identity": f"\\x{intent.identity.hex()}",
        "freshness": intent.freshness,
        "shared": intent.shared,
        "run_id": intent.run_id and str(intent.run_id),
        "chunk_id": intent.chunk_id,
        "epoch": intent.epoch,
        "started_at": intent.started_at.isoformat(),
        "credits": str(intent.credits),
        # The names of the scopes whose rows hold the credits: none for a free call.
        "budget_scopes": [name for name, _ in intent.scopes] if intent.credits > 0 else [],
        "scopes": [[name, None if limit is None else str(limit)] for name, limit in intent.scopes],
        "fresh_since": call.fresh_since and call.fresh_since.isoformat(),
        "third_party": call.third_party,
        "has_slot": call.has_slot,
    }


# What ``moved`` (provider, budget_scopes, reserved, spent) is added to its budgets.
_BOOK = " SELECT book_credits((SELECT jsonb_agg(to_jsonb(moved)) FROM moved))"
# The credits of calls that cost nothing: reserved by an intent, spent by any other.
_GIVEN_BACK = (
    " CASE WHEN was.status = 'intent' THEN -was.credits ELSE 0 END AS reserved,"
    " CASE WHEN was.status = 'intent' THEN 0 ELSE -was.credits END AS spent"
)
_WITHDRAW = sa.text(
    "WITH was AS MATERIALIZED (SELECT id, status, credits FROM provider_calls"
    " WHERE id = ANY(:ids) AND status IN ('intent', 'unknown') ORDER BY key, id FOR UPDATE),"
    " moved AS (DELETE FROM provider_calls c USING was WHERE c.id = was.id"
    f" RETURNING c.provider, c.budget_scopes, {_GIVEN_BACK})" + _BOOK
)
_FORGIVE = sa.text(
    "WITH was AS MATERIALIZED (SELECT id, status, credits FROM provider_calls"
    " WHERE key = :key AND (status <> 'ok' OR :is_refunded) AND credits > 0"
    " ORDER BY id FOR UPDATE), moved AS (UPDATE provider_calls c"
    " SET status = CASE c.status WHEN 'ok' THEN 'ok' ELSE 'failed' END, credits = 0,"
    " finished_at = coalesce(c.finished_at, now()) FROM was WHERE c.id = was.id"
    f" RETURNING c.provider, c.budget_scopes, {_GIVEN_BACK})" + _BOOK
)


async def withdraw(conn: Connection, ids: Sequence[UUID]) -> None:
    """Take back intents whose call was never sent, with their credits.

    Also those that others gave up as ``unknown`` meanwhile: whoever did not send it knows better.
    """
    await conn.execute(_WITHDRAW, {"ids": list(ids)})


async def forgive(conn: Connection, key: bytes, *, is_refunded: bool = False) -> None:
    """What was booked for calls that have been proved to be without effect costs nothing.

    ``is_refunded``: nor do those that were answered well. To be called by who makes the calls of
    this key, while none of them is under way.
    """
    await conn.execute(_FORGIVE, {"key": key, "is_refunded": is_refunded})


_SETTLE = sa.text(
    "WITH was AS MATERIALIZED (SELECT id, status, credits FROM provider_calls"
    " WHERE id = ANY(:id) AND status IN ('intent', 'unknown') ORDER BY key, id FOR UPDATE),"
    " moved AS (UPDATE provider_calls c SET status = o.status, finished_at = o.finished_at,"
    " credits = o.credits, http_status = o.http_status, error_category = o.category,"
    " error = o.error FROM was, unnest(CAST(:id AS uuid[]), CAST(:status AS text[]),"
    " CAST(:finished_at AS timestamptz[]), CAST(:credits AS numeric[]),"
    " CAST(:http_status AS smallint[]), CAST(:category AS text[]), CAST(:error AS text[]))"
    " AS o(id, status, finished_at, credits, http_status, category, error)"
    " WHERE was.id = o.id AND c.id = was.id"
    " RETURNING c.id, c.provider, c.budget_scopes,"
    " CASE WHEN was.status = 'intent' THEN -was.credits ELSE 0 END AS reserved,"
    " CASE WHEN was.status = 'intent' THEN o.credits ELSE o.credits - was.credits END AS spent),"
    " kept AS (INSERT INTO raw_replies"
    " (call_id, http_status, headers, url, body, size_bytes, stored_at)"
    " SELECT r.call_id, r.http_status, r.headers::jsonb, r.url, r.body, r.size_bytes, r.stored_at"
    " FROM unnest(CAST(:reply_id AS uuid[]), CAST(:reply_status AS smallint[]),"
    " CAST(:headers AS text[]), CAST(:url AS text[]), CAST(:body AS bytea[]),"
    " CAST(:size_bytes AS int[]), CAST(:stored_at AS timestamptz[]))"
    " AS r(call_id, http_status, headers, url, body, size_bytes, stored_at)"
    " JOIN moved ON moved.id = r.call_id),"
    " booked AS MATERIALIZED (SELECT book_credits((SELECT jsonb_agg(to_jsonb(moved)) FROM moved)))"
    " SELECT moved.id FROM moved, booked"
)


async def settle_calls(conn: Connection, outcomes: Sequence[CallOutcome]) -> set[UUID]:
    """Write how calls ended, with their replies and credits; the ids that were still open.

    A call that has its outcome keeps it; one that was given up as ``unknown`` takes the late one.
    """
    replies = [(item, item.reply) for item in outcomes if item.reply is not None]
    values: dict[str, list[object]] = {
        "id": [item.id for item in outcomes],
        "status": [item.status.value for item in outcomes],
        "finished_at": [item.finished_at for item in outcomes],
        "credits": [item.credits for item in outcomes],
        "http_status": [item.http_status for item in outcomes],
        "category": [item.error_category for item in outcomes],
        "error": [item.error for item in outcomes],
        "reply_id": [item.id for item, _ in replies],
        "reply_status": [reply.http_status for _, reply in replies],
        "headers": [json.dumps(dict(reply.headers)) for _, reply in replies],
        "url": [reply.url for _, reply in replies],
        "body": [reply.body for _, reply in replies],
        "size_bytes": [reply.size_bytes for _, reply in replies],
        "stored_at": [item.finished_at for item, _ in replies],
    }
    return set((await conn.execute(_SETTLE, values)).scalars())


_RECONCILE = sa.text(
    "WITH was AS MATERIALIZED (SELECT c.id FROM provider_calls c WHERE c.status = 'intent'"
    " AND (c.chunk_id IS NOT NULL OR c.started_at < :before)"
    " AND NOT EXISTS (SELECT 1 FROM chunks WHERE chunks.id = c.chunk_id"
    " AND chunks.epoch = c.epoch AND chunks.status = 'owned')"
    " ORDER BY c.key, c.id LIMIT :limit FOR UPDATE SKIP LOCKED),"
    " moved AS (UPDATE provider_calls c SET status = 'unknown', finished_at = :now FROM was"
    " WHERE c.id = was.id AND c.status = 'intent' RETURNING c.provider, c.budget_scopes,"
    " -c.credits AS reserved, c.credits AS spent),"
    " booked AS MATERIALIZED (SELECT book_credits((SELECT jsonb_agg(to_jsonb(moved)) FROM moved)))"
    " SELECT count(moved) FROM booked LEFT JOIN moved ON true"
)


async def reconcile(conn: Connection, *, now: datetime, before: datetime, limit: int = 1000) -> int:
    """Make ``unknown`` the intents that nobody alive owns; how many.

    What was reserved counts as spent. Those of no chunk have no owner: they are given up when they
    are from before ``before``.
    """
    values = {"now": now, "before": before, "limit": limit}
    return int((await conn.execute(_RECONCILE, values)).scalar_one())


async def totals(conn: Connection, run_id: UUID) -> dict[str, CallTotals]:
    """Calls and credits of a run by provider; calls still in flight are not in it."""
    calls = provider_calls.c
    rows = await conn.execute(
        sa.select(
            calls.provider,
            sa.func.count(),
            sa.func.sum(calls.credits),
            sa.func.count().filter(calls.status == CallStatus.UNKNOWN),
        )
        .where(calls.run_id == run_id, calls.status != CallStatus.INTENT)
        .group_by(calls.provider)
        .order_by(calls.provider)
    )
    return {provider: CallTotals(n, credit, unknown) for provider, n, credit, unknown in rows}
