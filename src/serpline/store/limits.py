"""Rows of the limiter: each provider's pace, its retry tokens, and the leased concurrency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from serpline.store.database import Connection
from serpline.store.tables.guards import provider_leases as leases
from serpline.store.tables.guards import provider_rates as rates


async def lock_rates(conn: Connection, providers: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The rows of ``providers``, made if absent, locked until the transaction ends.

    Always locked in the order of their names, so that two transactions cannot deadlock.
    """
    names = sorted(set(providers))
    found = await _locked(conn, names)
    if len(found) < len(names):
        rows = [{"provider": name} for name in names if name not in found]
        await conn.execute(insert(rates).values(rows).on_conflict_do_nothing())
        found = await _locked(conn, names)
    return found


async def _locked(conn: Connection, names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    rows = await conn.execute(
        sa.select(rates)
        .where(rates.c.provider.in_(names))
        .order_by(rates.c.provider)
        .with_for_update()
    )
    return {row["provider"]: dict(row) for row in rows.mappings()}


async def save_rate(conn: Connection, provider: str, values: Mapping[str, Any]) -> None:
    """Write columns of a locked row."""
    await conn.execute(sa.update(rates).where(rates.c.provider == provider).values(**values))


@dataclass(frozen=True, slots=True)
class LeaseWish:
    """One process's wish: ``wanted`` concurrent calls, of which ``in_use`` cannot be taken away."""

    provider: str
    holder: UUID
    wanted: int
    in_use: int
    concurrency: int


async def lease(conn: Connection, wish: LeaseWish, lease_seconds: float) -> int:
    """Renew a process's share of the concurrency, and say how many calls it may make at once.

    All live shares together stay within ``concurrency``. When more is wanted than there is, nobody
    keeps more than an even share beyond what is in use. Lives on the database's clock; a wish of
    nothing gives the share back.
    """
    await lock_rates(conn, [wish.provider])
    mine = (leases.c.provider == wish.provider) & (leases.c.holder == wish.holder)
    if wish.wanted == 0 and wish.in_use == 0:
        await conn.execute(sa.delete(leases).where(mine))
        return 0
    await conn.execute(
        sa.delete(leases).where(
            leases.c.provider == wish.provider, leases.c.expires_at <= sa.func.clock_timestamp()
        )
    )
    others = (
        await conn.execute(
            sa.select(
                sa.func.count(),
                sa.func.coalesce(sa.func.sum(leases.c.slots), 0),
                sa.func.coalesce(sa.func.sum(leases.c.wanted), 0),
            ).where(leases.c.provider == wish.provider, leases.c.holder != wish.holder)
        )
    ).one()
    count, others_hold, others_want = (int(value) for value in others)
    even = max(1, wish.concurrency // (count + 1))
    fair = max(even, wish.concurrency - others_want)
    slots = max(wish.in_use, min(wish.wanted, fair, max(0, wish.concurrency - others_hold)))
    values = {
        "slots": slots,
        "wanted": wish.wanted,
        "expires_at": sa.func.clock_timestamp()
        + sa.func.make_interval(0, 0, 0, 0, 0, 0, lease_seconds),
    }
    await conn.execute(
        insert(leases)
        .values(provider=wish.provider, holder=wish.holder, **values)
        .on_conflict_do_update(index_elements=["provider", "holder"], set_=values)
    )
    return slots


async def held(conn: Connection, provider: str) -> int:
    """How many concurrent calls are leased to living processes."""
    total = await conn.execute(
        sa.select(sa.func.coalesce(sa.func.sum(leases.c.slots), 0)).where(
            leases.c.provider == provider, leases.c.expires_at > sa.func.clock_timestamp()
        )
    )
    return int(total.scalar_one())
