"""The call ledger: every paid call has a row before it starts, and its raw reply after it ended.

Promise: a group of intents and their reserved credits commit together, in one statement; so do a
group of ends and their spent credits. No shared row is locked while the server waits for a worker.
Each function may be repeated after a lost commit acknowledgement and counts nothing twice. A unique
index allows one intent at a time per shared key. The intent of a worker that lost its chunk becomes
``unknown``: possibly paid, so its credits count in full.

The database function ``end_calls`` ends every call. Locks are taken in one order everywhere: rates
by provider, then calls by key, then budgets.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa

from serpline.domain.names import ContentType
from serpline.store.calls import reference
from serpline.store.calls.reference import Purchase
from serpline.store.calls.replies import StoredReply
from serpline.store.database import Connection
from serpline.store.rows import document
from serpline.store.tables.guards import CallStatus, provider_calls


@dataclass(frozen=True, slots=True)
class Intent:
    """A call about to be made. ``shared``: its reply may serve other requests with the same key.

    ``content_type``: whose retry budget a repetition of a failed call uses.
    """

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
    content_type: str = ContentType.ALL


@dataclass(frozen=True, slots=True)
class End:
    """The end of a call. Without a ``status`` it was never sent, leaves no row and costs nothing.

    ``credits``: what it cost; if that is unknown, what it may have cost.
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
    """A run's calls to one provider, and their credits. Both include the ``unknown`` calls."""

    calls: int
    credits: Decimal
    unknown: int


class Answer(StrEnum):
    """The answer to an admission request."""

    ADMITTED = "admitted"
    WRITTEN = "written"
    """Admitted by an earlier try whose answer was lost."""
    SLOT = "slot"
    """Its slot is due in ``wait_seconds``; then it asks again."""
    LIMITED = "limited"
    CACHED = "cached"
    IN_FLIGHT = "in_flight"
    """The same call is in flight for a live owner."""
    RETRIES = "retries"
    RESERVED = "reserved"
    """Calls in flight have reserved the rest of a budget."""
    SPENT = "spent"


@dataclass(frozen=True, slots=True)
class Limits:
    """A provider's limits: calls a second; retries as a share, a minute, and saved up."""

    rate: float
    retry_share: float
    retry_floor: float
    tokens_max: float


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """A request to make a call, and its provider's limits.

    ``fresh_since``: a stored reply since then may serve instead; None: none may. ``third_party``:
    the call goes to a third party's web address. ``has_slot``: it has waited for its reserved slot.
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
    """Decide on requests in order; write the intents and reserve the credits of those admitted.

    Slots are given at most ``horizon_seconds`` ahead. ``at`` None: now, by the server's clock.
    """
    limits = {request.intent.provider: asdict(request.limits) for request in requests}
    rows = await conn.execute(
        _ADMIT,
        {
            "requests": document([_as_request(request) for request in requests]),
            "policies": json.dumps(limits),
            "horizon": horizon_seconds,
            "at": at,
        },
    )
    return [Decision(Answer(row.answer), row.wait_seconds or 0.0, row.detail) for row in rows]


def _as_request(request: AdmissionRequest) -> dict[str, object]:
    """Return the request as ``admit_calls`` reads it."""
    return _as_row(request.intent) | {
        "fresh_since": request.fresh_since,
        "third_party": request.third_party,
        "has_slot": request.has_slot,
    }


def _as_row(intent: Intent) -> dict[str, object]:
    """Return the intent as a row of ``provider_calls``."""
    return asdict(intent) | {
        "key": f"\\x{intent.key.hex()}",
        "identity": f"\\x{intent.identity.hex()}",
        # The scopes whose rows hold the credits: none for a free call.
        "budget_scopes": [name for name, _ in intent.scopes] if intent.credits > 0 else [],
    }


# Store reference data before ending the calls, so that a wait for its rows holds no budget lock.
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
    """End calls and store their credits, replies (by call id) and reference data.

    Returns the ids that were open. A call keeps its first outcome, but a late outcome replaces
    ``unknown``.
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


async def charge_start(conn: Connection, start: Intent, now: datetime) -> None:
    """Write a start that the provider made and charged by itself, and book its credits.

    Once by its id. One that is known without a run becomes that of ``start.run_id``.
    """
    row = _as_row(start) | {"status": CallStatus.OK, "attempt": 1, "finished_at": now}
    values = {"starts": document([row])}
    await conn.execute(sa.text("SELECT charge_start(CAST(:starts AS jsonb) -> 0)"), values)


_VOID = sa.text(
    "SELECT end_calls((SELECT jsonb_agg(to_jsonb(c) || jsonb_build_object("
    "'status', CASE c.status WHEN 'ok' THEN 'ok' ELSE 'failed' END,"
    " 'credits', 0, 'finished_at', coalesce(c.finished_at, now()), 'is_void', true))"
    " FROM provider_calls c WHERE c.key = :key AND (c.status <> 'ok' OR :is_refunded)"
    " AND c.credits > 0))"
)


async def void_charges(conn: Connection, key: bytes, *, is_refunded: bool = False) -> None:
    """Set the cost of this key's failed and unknown calls to 0: they proved to have no effect.

    ``is_refunded``: also of its successful calls. Only the one caller that makes calls of this key
    may do this, while none is in flight.
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
    """Mark intents without a live owner as ``unknown``; returns how many.

    Their reserved credits count as spent. Intents without a chunk have no owner: they are marked if
    they started before ``before``.
    """
    values = {"now": now, "before": before, "limit": limit}
    return int((await conn.execute(_RECONCILE, values)).scalar_one())


async def totals(conn: Connection, run_id: UUID) -> dict[str, CallTotals]:
    """Return a run's calls and credits by provider, without calls in flight."""
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
