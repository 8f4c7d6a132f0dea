"""The call ledger: every paid call as a row before it starts, its raw reply after it ended.

Promise: intents and their reserved credits commit together, ends and their spent credits too, each
group in one statement: no row that others need is locked while the server waits for a worker. Each
function may be repeated after a lost commit acknowledgement without counting anything twice. Per
shared key there is at most one intent at a time (a unique index says so), and an intent of an owner
that no longer owns its chunk becomes ``unknown``: possibly paid, so counted in full.

Every call ends by the database's function ``end_calls``. Locks are taken in one order everywhere:
rates by provider, then calls by key, then budgets.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa

from serpline.store.calls import reference
from serpline.store.calls.reference import Purchase
from serpline.store.database import Connection
from serpline.store.rows import document
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
class End:
    """How a call ended. Without a ``status`` it was never sent: it leaves no row and costs nothing.

    ``credits``: what it did cost, or may have cost if that is unknown.
    """

    id: UUID
    status: CallStatus | None = None
    finished_at: datetime | None = None
    credits: Decimal = Decimal(0)
    http_status: int | None = None
    error_category: str | None = None
    error: str | None = None


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
    """The answer to an admission request."""

    ADMITTED = "admitted"
    WRITTEN = "written"
    """Admitted by an earlier try whose answer was lost."""
    SLOT = "slot"
    """Its slot comes in ``wait_seconds``; then it asks again."""
    LIMITED = "limited"
    CACHED = "cached"
    IN_FLIGHT = "in_flight"
    """The same call is under way for an owner who is alive."""
    RETRIES = "retries"
    RESERVED = "reserved"
    """Calls under way hold what is left of a budget."""
    SPENT = "spent"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider allows: calls a second, and retries as shares, a minute, and saved up."""

    rate: float
    retry_share: float
    retry_floor: float
    tokens_max: float


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """A call that would be made, and its provider's limits.

    ``fresh_since``: a stored reply from then on serves as well; None: none does. ``third_party``:
    the call goes to an address of the web. ``has_slot``: it was given a slot and has waited for it.
    """

    intent: Intent
    limits: Limits
    fresh_since: datetime | None = None
    third_party: bool = False
    has_slot: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """``detail``: why a provider is paused, or which budget has no room."""

    answer: Answer
    wait_seconds: float = 0.0
    detail: str | None = None


_ADMIT = sa.text(
    "SELECT * FROM admit_calls(CAST(:requests AS jsonb), CAST(:policies AS jsonb),"
    " make_interval(secs => :horizon), :at)"
)


async def admit(
    conn: Connection,
    requests: Sequence[AdmissionRequest],
    *,
    horizon_seconds: float,
    at: datetime | None = None,
) -> list[Decision]:
    """Decide on requests, in their order; intents and credits of the admitted ones are written.

    Slots are given no further ahead than ``horizon_seconds``. ``at`` None: now, by the server.
    """
    limits = {request.intent.provider: asdict(request.limits) for request in requests}
    rows = await conn.execute(
        _ADMIT,
        {
            "requests": document([_as_row(request) for request in requests]),
            "policies": json.dumps(limits),
            "horizon": horizon_seconds,
            "at": at,
        },
    )
    return [Decision(Answer(row.answer), row.wait_seconds or 0.0, row.detail) for row in rows]


def _as_row(request: AdmissionRequest) -> dict[str, object]:
    """A row of ``provider_calls`` to be, and what is asked of it."""
    intent = request.intent
    return asdict(intent) | {
        "key": f"\\x{intent.key.hex()}",
        "identity": f"\\x{intent.identity.hex()}",
        # The names of the scopes whose rows hold the credits: none for a free call.
        "budget_scopes": [name for name, _ in intent.scopes] if intent.credits > 0 else [],
        "fresh_since": request.fresh_since,
        "third_party": request.third_party,
        "has_slot": request.has_slot,
    }


# Reference data is stored before the calls are ended: who waits for a row of it keeps no budget.
_END = sa.text(
    f"WITH stored AS ({reference.STORE}), ended AS MATERIALIZED (SELECT id FROM end_calls("
    "CASE WHEN (SELECT count(*) FROM stored) >= 0 THEN CAST(:ends AS jsonb) END) AS e(id)),"
    " kept AS (INSERT INTO raw_replies"
    " (call_id, http_status, headers, url, body, size_bytes, stored_at)"
    " SELECT r.call_id, r.http_status, r.headers::jsonb, r.url, r.body, r.size_bytes, r.stored_at"
    " FROM unnest(CAST(:reply_id AS uuid[]), CAST(:reply_status AS smallint[]),"
    " CAST(:headers AS text[]), CAST(:url AS text[]), CAST(:body AS bytea[]),"
    " CAST(:size_bytes AS int[]), CAST(:stored_at AS timestamptz[]))"
    " AS r(call_id, http_status, headers, url, body, size_bytes, stored_at)"
    " JOIN ended ON ended.id = r.call_id)"
    " SELECT id FROM ended"
)


async def end_calls(
    conn: Connection,
    ends: Sequence[End],
    replies: Mapping[UUID, StoredReply],
    purchases: Sequence[Purchase] = (),
) -> set[UUID]:
    """Write how calls ended, with their credits, their replies (by call) and the reference data
    that they brought; the ids that were open.

    A call that has its outcome keeps it; one that was given up as ``unknown`` takes the late one.
    """
    kept = [(end, replies[end.id]) for end in ends if end.id in replies]
    values: dict[str, object] = {
        "ends": document([asdict(end) for end in ends]),
        "purchases": reference.as_document(purchases),
        "reply_id": [end.id for end, _ in kept],
        "reply_status": [reply.http_status for _, reply in kept],
        "headers": [json.dumps(dict(reply.headers)) for _, reply in kept],
        "url": [reply.url for _, reply in kept],
        "body": [reply.body for _, reply in kept],
        "size_bytes": [reply.size_bytes for _, reply in kept],
        "stored_at": [end.finished_at for end, _ in kept],
    }
    return set((await conn.execute(_END, values)).scalars())


_VOID = sa.text(
    "SELECT end_calls((SELECT jsonb_agg(to_jsonb(c) || jsonb_build_object("
    "'status', CASE c.status WHEN 'ok' THEN 'ok' ELSE 'failed' END,"
    " 'credits', 0, 'finished_at', coalesce(c.finished_at, now()), 'is_void', true))"
    " FROM provider_calls c WHERE c.key = :key AND (c.status <> 'ok' OR :is_refunded)"
    " AND c.credits > 0))"
)


async def void_charges(conn: Connection, key: bytes, *, is_refunded: bool = False) -> None:
    """Calls of this key that were proved to have had no effect cost nothing.

    ``is_refunded``: nor do those that were answered well. The caller is the one who makes the calls
    of this key, and none of them is under way.
    """
    await conn.execute(_VOID, {"key": key, "is_refunded": is_refunded})


_ORPHANS = (
    "SELECT c.* FROM provider_calls c WHERE c.status = 'intent'"
    " AND (c.chunk_id IS NOT NULL OR c.started_at < :before)"
    " AND NOT EXISTS (SELECT 1 FROM chunks WHERE chunks.id = c.chunk_id"
    " AND chunks.epoch = c.epoch AND chunks.status = 'owned')"
)
_RECONCILE = sa.text(
    "SELECT count(*) FROM end_calls((SELECT jsonb_agg(to_jsonb(gone) || jsonb_build_object("
    "'status', 'unknown', 'finished_at', CAST(:now AS timestamptz)))"
    f" FROM ({_ORPHANS}"
    " ORDER BY c.key, c.id LIMIT :limit FOR UPDATE SKIP LOCKED) AS gone))"
)


async def has_orphans(conn: Connection, *, before: datetime) -> bool:
    """Whether ``reconcile`` may find something."""
    found = await conn.execute(sa.text(f"SELECT EXISTS ({_ORPHANS})"), {"before": before})
    return bool(found.scalar_one())


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
