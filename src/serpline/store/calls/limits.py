"""The limiter's statements: each provider's pace, and its places for concurrent calls.

Each is one statement that commits by itself (``Database.statement``), so no provider's row is
locked while the server waits for a worker.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from serpline.store.database import Connection
from serpline.store.tables.guards import provider_leases as leases

_PENALISE = sa.text("SELECT penalise_provider(:provider, :rate, :started_at, :seconds, :at)")
# A longer pause in force stays.
_PAUSE = sa.text(
    "INSERT INTO provider_rates AS r (provider, paused_until, pause_seconds, pause_reason)"
    " VALUES (:provider, coalesce(CAST(:at AS timestamptz), clock_timestamp())"
    " + make_interval(secs => :seconds), :seconds, :reason) ON CONFLICT (provider) DO UPDATE"
    " SET paused_until = excluded.paused_until, pause_seconds = excluded.pause_seconds,"
    " pause_reason = excluded.pause_reason"
    " WHERE r.paused_until IS NULL OR r.paused_until < excluded.paused_until"
)
_LEASE = sa.text("SELECT lease_places(:provider, :holder, :wanted, :in_use, :places, :seconds)")


async def penalise(
    conn: Connection,
    provider: str,
    rate_max: float,
    started_at: datetime,
    pause_seconds: float,
    at: datetime | None,
) -> None:
    """Halve the rate (once per burst) and pause after a 429 to a call started at ``started_at``."""
    values = {
        "provider": provider,
        "rate": rate_max,
        "started_at": started_at,
        "seconds": pause_seconds,
        "at": at,
    }
    await conn.execute(_PENALISE, values)


async def pause(
    conn: Connection, provider: str, seconds: float, reason: str, at: datetime | None
) -> None:
    """Allow no call for ``seconds`` after ``at`` (None: now, by the server's clock)."""
    values = {"provider": provider, "seconds": seconds, "reason": reason, "at": at}
    await conn.execute(_PAUSE, values)


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """A process wants ``wanted`` of a provider's ``places``; it keeps those ``in_use``."""

    provider: str
    holder: UUID
    wanted: int
    in_use: int
    places: int


async def lease(conn: Connection, request: LeaseRequest, lease_seconds: float) -> int:
    """Renew a process's lease; returns how many concurrent calls it may make from now on.

    Leases never exceed the provider's places. If they are short, each holder gets an even share;
    places in use beyond that stay leased until their calls end. A request for none ends the lease.
    """
    values = {
        "provider": request.provider,
        "holder": request.holder,
        "wanted": request.wanted,
        "in_use": request.in_use,
        "places": request.places,
        "seconds": lease_seconds,
    }
    return int((await conn.execute(_LEASE, values)).scalar_one())


async def held(conn: Connection, provider: str) -> int:
    """Return how many places are leased to live processes."""
    total = await conn.execute(
        sa.select(sa.func.coalesce(sa.func.sum(leases.c.slots), 0)).where(
            leases.c.provider == provider, leases.c.expires_at > sa.func.clock_timestamp()
        )
    )
    return int(total.scalar_one())
