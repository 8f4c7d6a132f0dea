"""Reference data that is bought in groups: one purchase per key, however many want it.

A row is a claim, an answer, or an old answer being renewed under a claim. A claim lives exactly as
long as its chunk is owned at that epoch: no time-out, so a slow buyer is not doubled and a dead
one's claim is free at once. ``found`` false is an answer too: known to be no match.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text

from serpline.store.database import IDLE_LIMIT, Connection
from serpline.store.rows import document


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """``fresh``: answers in store, None = known to be no match. ``mine``: to be bought by the
    caller, who holds the claim. ``elsewhere``: being bought by somebody alive; look again later.
    ``fetched_at``: when each of the fresh answers was bought.
    """

    fresh: dict[str, Any]
    to_fetch: list[str]
    in_flight_elsewhere: list[str]
    fetched_at: dict[str, datetime]


@dataclass(frozen=True, slots=True)
class Purchase:
    """Answers of one kind by key (None: no match), and when they came."""

    kind: str
    payloads: Mapping[str, Any]
    fetched_at: datetime


# Two statements, since a statement that waited for a row's lock still sees all other tables as they
# were before the wait: it could take the chunk that has just claimed the row for one that does not
# own it. The first statement makes the missing rows and locks the others; the second one judges.
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
    f"WITH mine AS (SELECT key, fetched_at, {IDLE_LIMIT} FROM reference_data WHERE kind = :kind"
    "   AND key = ANY(:keys) AND claimed_chunk = :chunk_id AND claimed_epoch = :epoch"
    "   ORDER BY key FOR UPDATE),"
    " gone AS (DELETE FROM reference_data r USING mine"
    "   WHERE r.kind = :kind AND r.key = mine.key AND mine.fetched_at IS NULL)"
    " UPDATE reference_data r SET claimed_chunk = NULL, claimed_epoch = NULL FROM mine"
    " WHERE r.kind = :kind AND r.key = mine.key AND mine.fetched_at IS NOT NULL"
)


async def claim_missing(
    conn: Connection,
    kind: str,
    keys: Sequence[str],
    fresh_since: datetime,
    chunk_id: int,
    epoch: int,
) -> ClaimResult:
    """What is known since ``fresh_since``; the rest is claimed for (``chunk_id``, ``epoch``).

    Asking again with the same owner gives the same claims again. Lists are in the order of
    ``keys``, without duplicates.
    """
    wanted = list(dict.fromkeys(keys))
    if not wanted:
        return ClaimResult({}, [], [], {})
    read = {"kind": kind, "keys": wanted, "fresh_since": fresh_since}
    fresh = await _fresh(conn, read)
    missing = [key for key in wanted if key not in fresh]
    mine: set[str] = set()
    if missing:
        owner = {"chunk_id": chunk_id, "epoch": epoch}
        locked = (await conn.execute(_LOCK, {**owner, "kind": kind, "keys": missing})).all()
        mine = {row.key for row in locked if row.is_new}
        if there := [row.key for row in locked if not row.is_new]:
            claimed = await conn.execute(_CLAIM, {**read, **owner, "keys": there})
            mine |= set(claimed.scalars())
    left = [key for key in missing if key not in mine]
    if left:
        # Another chunk may have stored an answer while the claim waited for the row.
        fresh |= await _fresh(conn, {**read, "keys": left})
    return ClaimResult(
        {key: row.payload if row.found else None for key, row in fresh.items()},
        [key for key in missing if key in mine],
        [key for key in left if key not in fresh],
        {key: row.fetched_at for key, row in fresh.items()},
    )


async def store(conn: Connection, purchase: Purchase) -> None:
    """Keep answers and end their claims; an answer never replaces a newer one."""
    await conn.execute(_STORE, {"purchases": as_document([purchase])})


def as_document(purchases: Sequence[Purchase]) -> str:
    """What ``STORE`` reads."""
    return document(
        [{"kind": p.kind, "payloads": p.payloads, "fetched_at": p.fetched_at} for p in purchases]
    )


async def release(
    conn: Connection, kind: str, keys: Sequence[str], chunk_id: int, epoch: int
) -> None:
    """Give claims back unbought; what is claimed by others, or answered, is left alone."""
    owner = {"chunk_id": chunk_id, "epoch": epoch}
    await conn.execute(_RELEASE, {"kind": kind, "keys": list(keys), **owner})


async def _fresh(conn: Connection, read: Mapping[str, Any]) -> dict[str, Row[Any]]:
    rows = await conn.execute(_READ, dict(read))
    return {row.key: row for row in rows}
