"""The limiter's statements: each provider's pace, and its places for concurrent calls.

Each is one statement that commits by itself (``Database.statement``), so no row of a provider is
ever locked while the server waits for a worker.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from serpline.store.database import Connection
from serpline.store.tables.guards import provider_leases as leases

_PENALISE = sa.text("SELECT penalise_provider(:provider, :rate, :started_at, :seconds, :at)")
# A longer pause in force stays as it is.
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
    """After a 429 to a call that started at ``started_at``: halve once per burst, and pause."""
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
    """No call for so many seconds from ``at`` on (None: now, by the server)."""
    values = {"provider": provider, "seconds": seconds, "reason": reason, "at": at}
    await conn.execute(_PAUSE, values)


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """One process wants ``wanted`` of a provider's ``places``; ``in_use`` cannot be taken away."""

    provider: str
    holder: UUID
    wanted: int
    in_use: int
    places: int


async def lease(conn: Connection, request: LeaseRequest, lease_seconds: float) -> int:
    """Renew a process's lease; how many calls it may have under way from now on.

    The leases in force never exceed the provider's places. When more is wanted than there is,
    each holder may have an even share; what it has in use beyond that stays leased until it ends.
    A request for nothing gives the lease back.
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
    """How many concurrent calls are leased to living processes."""
    total = await conn.execute(
        sa.select(sa.func.coalesce(sa.func.sum(leases.c.slots), 0)).where(
            leases.c.provider == provider, leases.c.expires_at > sa.func.clock_timestamp()
        )
    )
    return int(total.scalar_one())
