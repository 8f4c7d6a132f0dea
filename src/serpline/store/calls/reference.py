"""Reference data, which is bought in groups: each key is bought once for all that need it.

A row is a claim, an answer, or an old answer under a claim that renews it. A claim holds while its
chunk is owned at its epoch. There is no time-out: a slow buyer is never doubled, and a dead buyer's
claim is free at once. ``found`` false is an answer too: the source has no match.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, text

from serpline.store.database import IDLE_LIMIT, Connection
from serpline.store.rows import document


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """``fresh``: stored answers; None: no match. ``to_fetch``: keys claimed for the caller to buy.

    ``in_flight_elsewhere``: keys that another live chunk is buying; check again later.
    ``fetched_at``: when each fresh answer was bought. ``buyer``: another run that is buying some.
    """

    fresh: dict[str, Any]
    to_fetch: list[str]
    in_flight_elsewhere: list[str]
    fetched_at: dict[str, datetime]
    buyer: UUID | None = None


@dataclass(frozen=True, slots=True)
class Purchase:
    """Answers of one kind by key (None: no match), and when they came."""

    kind: str
    payloads: Mapping[str, Any]
    fetched_at: datetime


# Two statements: one that waits for a row lock still sees all other tables as they were before the
# wait, so it could misread the chunk that has just claimed the row as not owned. The first
# statement inserts missing rows and locks the others; the second one decides.
_LOCK = text(
    "INSERT INTO reference_data AS r (kind, key, claimed_chunk, claimed_epoch)"
    " SELECT :kind, key, :chunk_id, :epoch FROM unnest(CAST(:keys AS text[])) AS t(key)"
    " ORDER BY key"
    " ON CONFLICT (kind, key) DO UPDATE SET claimed_chunk = r.claimed_chunk"
    f" RETURNING key, xmax = 0 AS is_new, {IDLE_LIMIT}"
)
_CLAIM = text(
    "UPDATE reference_data r SET claimed_chunk = :chunk_id, claimed_epoch = :epoch"
    " WHERE kind = :kind AND key = ANY(:keys)"
    " AND (r.fetched_at IS NULL OR r.fetched_at < :fresh_since) AND ("
    "   r.claimed_chunk IS NULL"
    "   OR (r.claimed_chunk = :chunk_id AND r.claimed_epoch <= :epoch)"
    "   OR NOT EXISTS (SELECT 1 FROM chunks WHERE chunks.id = r.claimed_chunk"
    "     AND chunks.epoch = r.claimed_epoch AND chunks.status = 'owned'))"
    " RETURNING key"
)
_BUYER = text(
    "SELECT c.run_id FROM reference_data r JOIN chunks c ON c.id = r.claimed_chunk"
    " WHERE r.kind = :kind AND r.key = ANY(:keys)"
    " AND c.run_id <> (SELECT run_id FROM chunks WHERE id = :chunk_id) LIMIT 1"
)
_READ = text(
    "SELECT key, found, payload, fetched_at FROM reference_data"
    " WHERE kind = :kind AND key = ANY(:keys) AND fetched_at >= :fresh_since"
)
STORE: Final = (
    "INSERT INTO reference_data AS r (kind, key, found, payload, fetched_at)"
    " SELECT DISTINCT ON (kind, key) kind, key, payload IS NOT NULL AND payload <> 'null'::jsonb,"
    "   nullif(payload, 'null'::jsonb), fetched_at"
    " FROM jsonb_to_recordset(CAST(:purchases AS jsonb))"
    "   AS p(kind text, payloads jsonb, fetched_at timestamptz),"
    "   jsonb_each(payloads) AS each(key, payload) ORDER BY kind, key, fetched_at DESC"
    " ON CONFLICT (kind, key) DO UPDATE SET found = excluded.found, payload = excluded.payload,"
    "   fetched_at = excluded.fetched_at, claimed_chunk = NULL, claimed_epoch = NULL"
    " WHERE r.fetched_at IS NULL OR r.fetched_at <= excluded.fetched_at"
    f" RETURNING {IDLE_LIMIT}"
)
"""Stores ``:purchases`` (``as_document``) and ends the claims of their keys."""
_STORE = text(STORE)
_RELEASE = text(
    f"WITH held AS (SELECT key, fetched_at, {IDLE_LIMIT} FROM reference_data WHERE kind = :kind"
    "   AND key = ANY(:keys) AND claimed_chunk = :chunk_id AND claimed_epoch = :epoch"
    "   ORDER BY key FOR UPDATE),"
    " gone AS (DELETE FROM reference_data r USING held"
    "   WHERE r.kind = :kind AND r.key = held.key AND held.fetched_at IS NULL)"
    " UPDATE reference_data r SET claimed_chunk = NULL, claimed_epoch = NULL FROM held"
    " WHERE r.kind = :kind AND r.key = held.key AND held.fetched_at IS NOT NULL"
)


async def claim_missing(
    conn: Connection,
    kind: str,
    keys: Sequence[str],
    fresh_since: datetime,
    chunk_id: int,
    epoch: int,
) -> ClaimResult:
    """Return the answers since ``fresh_since`` and claim the rest for (``chunk_id``, ``epoch``).

    The same owner gets the same claims again. Lists are in the order of ``keys``, without
    duplicates.
    """
    unique = list(dict.fromkeys(keys))
    if not unique:
        return ClaimResult({}, [], [], {})
    read = {"kind": kind, "keys": unique, "fresh_since": fresh_since}
    fresh = await _fresh(conn, read)
    missing = [key for key in unique if key not in fresh]
    claimed: set[str] = set()
    if missing:
        owner = {"chunk_id": chunk_id, "epoch": epoch}
        locked = (await conn.execute(_LOCK, {**owner, "kind": kind, "keys": missing})).all()
        claimed = {row.key for row in locked if row.is_new}
        if existing := [row.key for row in locked if not row.is_new]:
            taken = await conn.execute(_CLAIM, {**read, **owner, "keys": existing})
            claimed |= set(taken.scalars())
    others = [key for key in missing if key not in claimed]
    if others:
        # Another chunk may have stored an answer while the claim waited for the row.
        fresh |= await _fresh(conn, {**read, "keys": others})
    in_flight = [key for key in others if key not in fresh]
    buyer = None
    if in_flight:
        asked = {"kind": kind, "keys": in_flight, "chunk_id": chunk_id}
        buyer = (await conn.execute(_BUYER, asked)).scalar_one_or_none()
    return ClaimResult(
        _payloads(fresh),
        [key for key in missing if key in claimed],
        in_flight,
        {key: row.fetched_at for key, row in fresh.items()},
        buyer,
    )


async def known(
    conn: Connection, kind: str, keys: Sequence[str], fresh_since: datetime
) -> ClaimResult:
    """Return the answers since ``fresh_since``, and claim nothing."""
    unique = list(dict.fromkeys(keys))
    fresh = await _fresh(conn, {"kind": kind, "keys": unique, "fresh_since": fresh_since})
    return ClaimResult(
        _payloads(fresh),
        [key for key in unique if key not in fresh],
        [],
        {key: row.fetched_at for key, row in fresh.items()},
    )


async def store(conn: Connection, purchase: Purchase) -> None:
    """Store answers and end their claims; an answer never replaces a newer one."""
    await conn.execute(_STORE, {"purchases": as_document([purchase])})


def as_document(purchases: Sequence[Purchase]) -> str:
    """Return the purchases as ``STORE`` reads them."""
    return document(
        [{"kind": p.kind, "payloads": p.payloads, "fetched_at": p.fetched_at} for p in purchases]
    )


async def release(
    conn: Connection, kind: str, keys: Sequence[str], chunk_id: int, epoch: int
) -> None:
    """Release unbought claims; leave answers and the claims of others."""
    owner = {"chunk_id": chunk_id, "epoch": epoch}
    await conn.execute(_RELEASE, {"kind": kind, "keys": list(keys), **owner})


def _payloads(fresh: Mapping[str, Row[Any]]) -> dict[str, Any]:
    return {key: row.payload if row.found else None for key, row in fresh.items()}


async def _fresh(conn: Connection, read: Mapping[str, Any]) -> dict[str, Row[Any]]:
    rows = await conn.execute(_READ, dict(read))
    return {row.key: row for row in rows}
