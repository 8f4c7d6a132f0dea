"""The call ledger: every paid call as a row before it starts, its raw reply after it ended.

Promise: intents and their reserved credits commit together, outcomes and their spent credits too;
each function may be repeated after a lost commit acknowledgement without counting anything twice.
Per shared key there is at most one intent at a time (a unique index says so), and an intent of an
owner that no longer owns its chunk becomes ``unknown``: possibly paid, so counted in full.

Locks are taken in one order everywhere: rates by provider, then calls by key, then budgets.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from serpline.domain.errors import ErrorCategory
from serpline.store import budgets
from serpline.store.database import Connection
from serpline.store.tables.guards import CallStatus, provider_calls

INTERNAL = ErrorCategory.INTERNAL

_LIVE = (
    "EXISTS (SELECT 1 FROM chunks WHERE chunks.id = c.chunk_id"
    " AND chunks.epoch = c.epoch AND chunks.status = 'owned')"
)


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

    @property
    def want(self) -> budgets.Want:
        """What it wants of its budgets."""
        return budgets.Want(self.provider, self.credits, self.scopes)


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


_SEEN = sa.text(
    "SELECT c.key, max(c.attempt) AS attempt,"
    " (array_agg(c.error_category ORDER BY c.attempt DESC))[1] AS error_category,"
    " array_agg(c.id) FILTER (WHERE c.id = ANY(:ids)) AS mine,"
    " array_agg(c.id) FILTER (WHERE c.status = 'intent' AND c.shared AND NOT c.id = ANY(:ids)"
    f"   AND NOT {_LIVE}) AS late,"
    " bool_or(c.status = 'intent' AND c.shared AND NOT c.id = ANY(:ids)"
    f"   AND {_LIVE}) AS is_busy,"
    " max(c.finished_at) FILTER (WHERE c.status = 'ok' AND r.call_id IS NOT NULL) AS replied_at"
    " FROM provider_calls c LEFT JOIN raw_replies r ON r.call_id = c.id"
    " WHERE c.key = ANY(:keys) GROUP BY c.key"
)
_INSERT = sa.text(
    "INSERT INTO provider_calls (id, key, provider, operation, identity, freshness, shared, status,"
    " attempt, run_id, chunk_id, epoch, started_at, credits, budget_scopes)"
    " SELECT id, key, provider, operation, identity, freshness, shared, 'intent',"
    " attempt, run_id, chunk_id, epoch, started_at, credits, scopes::jsonb"
    " FROM unnest(CAST(:id AS uuid[]), CAST(:key AS bytea[]), CAST(:provider AS text[]),"
    " CAST(:operation AS text[]), CAST(:identity AS bytea[]), CAST(:freshness AS text[]),"
    " CAST(:shared AS boolean[]), CAST(:attempt AS int[]), CAST(:run_id AS uuid[]),"
    " CAST(:chunk_id AS bigint[]), CAST(:epoch AS bigint[]), CAST(:started_at AS timestamptz[]),"
    " CAST(:credits AS numeric[]), CAST(:scopes AS text[]))"
    " AS t(id, key, provider, operation, identity, freshness, shared, attempt, run_id, chunk_id,"
    " epoch, started_at, credits, scopes)"
    " ORDER BY key ON CONFLICT DO NOTHING RETURNING id"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the ledger knew before: attempts per key, and which ids an earlier try had written.

    ``replied``: when the latest usable reply of a key came. ``failed``: keys whose latest attempt
    the provider (or the way to it) let fail. A call is not among them whose caller died or was
    cancelled, nor one that is repeated although it was good. ``busy``: keys of shared calls that
    somebody alive has under way.
    """

    attempts: Mapping[bytes, int]
    replied: Mapping[bytes, datetime]
    failed: frozenset[bytes]
    busy: frozenset[bytes]
    written: frozenset[UUID]


async def look_back(conn: Connection, intents: Sequence[Intent], now: datetime) -> Seen:
    """What was there before ``intents``; the intents of owners gone become ``unknown``."""
    values = {"keys": list({item.key for item in intents}), "ids": [item.id for item in intents]}
    rows = (await conn.execute(_SEEN, values)).all()
    await _forget(conn, [id_ for row in rows for id_ in row.late or ()], now)
    return Seen(
        {row.key: row.attempt for row in rows},
        {row.key: row.replied_at for row in rows if row.replied_at is not None},
        frozenset(row.key for row in rows if row.error_category not in (None, INTERNAL)),
        frozenset(row.key for row in rows if row.is_busy),
        frozenset(id_ for row in rows for id_ in row.mine or ()),
    )


async def insert_intents(
    conn: Connection, intents: Sequence[Intent], numbers: Sequence[int]
) -> set[UUID]:
    """Write intents with their attempt ``numbers``; the ids written.

    One is missing when somebody alive is buying the same shared key right now.
    """
    if not intents:
        return set()
    rows = sorted(zip(intents, numbers, strict=True), key=lambda pair: pair[0].key)
    values: dict[str, list[object]] = {
        "id": [intent.id for intent, _ in rows],
        "key": [intent.key for intent, _ in rows],
        "provider": [intent.provider for intent, _ in rows],
        "operation": [intent.operation for intent, _ in rows],
        "identity": [intent.identity for intent, _ in rows],
        "freshness": [intent.freshness for intent, _ in rows],
        "shared": [intent.shared for intent, _ in rows],
        "attempt": [number for _, number in rows],
        "run_id": [intent.run_id for intent, _ in rows],
        "chunk_id": [intent.chunk_id for intent, _ in rows],
        "epoch": [intent.epoch for intent, _ in rows],
        "started_at": [intent.started_at for intent, _ in rows],
        "credits": [intent.credits for intent, _ in rows],
        "scopes": [_scopes_json(intent) for intent, _ in rows],
    }
    return set((await conn.execute(_INSERT, values)).scalars())


async def remove(conn: Connection, ids: Sequence[UUID]) -> None:
    """Delete intents for which nothing was reserved."""
    if ids:
        await conn.execute(sa.delete(provider_calls).where(provider_calls.c.id.in_(ids)))


async def withdraw(conn: Connection, ids: Sequence[UUID]) -> None:
    """Take back intents whose call was never sent, with their credits.

    Also those that others gave up as ``unknown`` meanwhile: whoever did not send it knows better.
    """
    open_states = (CallStatus.INTENT, CallStatus.UNKNOWN)
    rows = await conn.execute(
        sa.delete(provider_calls)
        .where(provider_calls.c.id.in_(ids), provider_calls.c.status.in_(open_states))
        .returning(provider_calls)
    )
    await _give_back(conn, rows)


async def forgive(conn: Connection, key: bytes) -> None:
    """What was booked for calls that have been proved to be without effect costs nothing.

    To be called by who makes the calls of this key, while none of them is under way.
    """
    rows = await conn.execute(
        sa.text(
            "WITH booked AS MATERIALIZED (SELECT id, status, credits FROM provider_calls"
            " WHERE key = :key AND status <> 'ok' AND credits > 0 ORDER BY id FOR UPDATE)"
            " UPDATE provider_calls c SET status = 'failed', credits = 0,"
            " finished_at = coalesce(c.finished_at, now()) FROM booked WHERE c.id = booked.id"
            " RETURNING c.provider, c.budget_scopes, booked.status, booked.credits"
        ),
        {"key": key},
    )
    await _give_back(conn, rows)


_SETTLE = sa.text(
    "WITH opened AS MATERIALIZED (SELECT id, provider, status, credits, budget_scopes"
    " FROM provider_calls WHERE id = ANY(:id) AND status IN ('intent', 'unknown')"
    " ORDER BY key, id FOR UPDATE)"
    " UPDATE provider_calls c SET status = o.status, finished_at = o.finished_at,"
    " credits = o.credits, http_status = o.http_status, error_category = o.category,"
    " error = o.error FROM opened was, unnest(CAST(:id AS uuid[]), CAST(:status AS text[]),"
    " CAST(:finished_at AS timestamptz[]), CAST(:credits AS numeric[]),"
    " CAST(:http_status AS smallint[]), CAST(:category AS text[]), CAST(:error AS text[]))"
    " AS o(id, status, finished_at, credits, http_status, category, error)"
    " WHERE was.id = o.id AND c.id = was.id"
    " RETURNING was.id, was.provider, was.status, was.credits, was.budget_scopes"
)
_KEEP = sa.text(
    "INSERT INTO raw_replies (call_id, http_status, headers, url, body, size_bytes, stored_at)"
    " SELECT call_id, http_status, headers::jsonb, url, body, size_bytes, stored_at"
    " FROM unnest(CAST(:call_id AS uuid[]), CAST(:http_status AS smallint[]),"
    " CAST(:headers AS text[]), CAST(:url AS text[]), CAST(:body AS bytea[]),"
    " CAST(:size_bytes AS int[]), CAST(:stored_at AS timestamptz[]))"
    " AS r(call_id, http_status, headers, url, body, size_bytes, stored_at)"
)


async def settle_calls(conn: Connection, outcomes: Sequence[CallOutcome]) -> set[UUID]:
    """Write how calls ended, with their replies and credits; the ids that were still open.

    A call that has its outcome keeps it; one that was given up as ``unknown`` takes the late one.
    """
    values: dict[str, list[object]] = {
        "id": [item.id for item in outcomes],
        "status": [item.status.value for item in outcomes],
        "finished_at": [item.finished_at for item in outcomes],
        "credits": [item.credits for item in outcomes],
        "http_status": [item.http_status for item in outcomes],
        "category": [item.error_category for item in outcomes],
        "error": [item.error for item in outcomes],
    }
    opened = {row.id: row for row in await conn.execute(_SETTLE, values)}
    kept = [item for item in outcomes if item.id in opened]
    await _keep(conn, [(item, item.reply) for item in kept if item.reply is not None])
    deltas: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}
    for item in kept:
        row = opened[item.id]
        was_reserved = row.status == CallStatus.INTENT
        reserved = -row.credits if was_reserved else Decimal(0)
        spent = item.credits - (Decimal(0) if was_reserved else row.credits)
        _count(deltas, row.provider, row.budget_scopes, reserved, spent)
    await budgets.settle(conn, deltas)
    return set(opened)


_ORPHANS = sa.text(
    "SELECT c.id FROM provider_calls c WHERE c.status = 'intent'"
    " AND (c.chunk_id IS NOT NULL OR c.started_at < :before)"
    f" AND NOT {_LIVE} ORDER BY c.key, c.id LIMIT :limit FOR UPDATE SKIP LOCKED"
)


async def reconcile(conn: Connection, *, now: datetime, before: datetime, limit: int = 1000) -> int:
    """Make ``unknown`` the intents that nobody alive owns; how many.

    Those of no chunk have no owner: they are given up when they are from before ``before``.
    """
    found = await conn.execute(_ORPHANS, {"before": before, "limit": limit})
    ids = found.scalars().all()
    await _forget(conn, ids, now)
    return len(ids)


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


async def _forget(conn: Connection, ids: Sequence[UUID], now: datetime) -> None:
    """Intents become ``unknown``; what was reserved counts as spent."""
    if not ids:
        return
    rows = await conn.execute(
        sa.update(provider_calls)
        .where(provider_calls.c.id.in_(ids), provider_calls.c.status == CallStatus.INTENT)
        .values(status=CallStatus.UNKNOWN, finished_at=now)
        .returning(provider_calls)
    )
    deltas: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}
    for row in rows:
        _count(deltas, row.provider, row.budget_scopes, -row.credits, row.credits)
    await budgets.settle(conn, deltas)


async def _give_back(conn: Connection, calls: Iterable[Any]) -> None:
    """The credits of calls that cost nothing: reserved by an intent, spent by any other."""
    deltas: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}
    zero = Decimal(0)
    for call in calls:
        was_reserved = call.status == CallStatus.INTENT
        back = (-call.credits, zero) if was_reserved else (zero, -call.credits)
        _count(deltas, call.provider, call.budget_scopes, *back)
    await budgets.settle(conn, deltas)


def _count(
    deltas: dict[tuple[str, str], tuple[Decimal, Decimal]],
    provider: str,
    scopes: Sequence[str],
    reserved: Decimal,
    spent: Decimal,
) -> None:
    for scope in scopes:
        before = deltas.get((provider, scope), (Decimal(0), Decimal(0)))
        deltas[provider, scope] = (before[0] + reserved, before[1] + spent)


def _scopes_json(intent: Intent) -> str:
    """The names of the scopes whose rows hold the credits: none for a free call."""
    names = [scope for scope, _ in intent.scopes] if intent.credits > 0 else []
    return "[" + ",".join(f'"{name}"' for name in names) + "]"


async def _keep(conn: Connection, replies: Sequence[tuple[CallOutcome, StoredReply]]) -> None:
    if not replies:
        return
    values: dict[str, list[object]] = {
        "call_id": [outcome.id for outcome, _ in replies],
        "http_status": [reply.http_status for _, reply in replies],
        "headers": [json.dumps(dict(reply.headers)) for _, reply in replies],
        "url": [reply.url for _, reply in replies],
        "body": [reply.body for _, reply in replies],
        "size_bytes": [reply.size_bytes for _, reply in replies],
        "stored_at": [outcome.finished_at for outcome, _ in replies],
    }
    await conn.execute(_KEEP, values)
