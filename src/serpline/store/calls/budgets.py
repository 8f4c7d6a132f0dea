"""Credits per provider and scope: reserved before a call, settled after it, never overdrawn.

``ledger.admit`` reserves them and the calls' ends settle them. Here they are read and limited.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from serpline.store.database import IDLE_LIMIT, Connection
from serpline.store.tables.guards import provider_budgets as budgets

_RUN = "run:"
_BACKFILL = "backfill:"
_ZERO = Decimal(0)
_Key = tuple[str, str]

_SET_LIMITS = sa.text(
    "WITH w AS (SELECT * FROM unnest(CAST(:providers AS text[]), CAST(:scopes AS text[]),"
    " CAST(:limits AS numeric[])) AS w(provider, scope, limit_credits)),"
    " before AS MATERIALIZED (SELECT b.provider, b.scope, b.limit_credits,"
    f" {IDLE_LIMIT} FROM provider_budgets b"
    " JOIN w USING (provider, scope) ORDER BY b.provider, b.scope FOR UPDATE OF b),"
    " after AS (UPDATE provider_budgets b SET limit_credits = w.limit_credits FROM w, before"
    " WHERE b.provider = before.provider AND b.scope = before.scope AND w.provider = b.provider"
    " AND w.scope = b.scope AND w.limit_credits IS DISTINCT FROM before.limit_credits"
    " RETURNING b.provider, before.limit_credits AS old, b.limit_credits AS new)"
    " SELECT DISTINCT provider FROM after WHERE old IS NOT NULL AND (new IS NULL OR new > old)"
    " ORDER BY provider"
)


def run_scope(run_id: UUID) -> str:
    """Return the scope that counts a run's credits."""
    return f"{_RUN}{run_id}"


def backfill_scope(backfill_id: str) -> str:
    """Return the scope that counts the credits of all runs of a backfill."""
    return f"{_BACKFILL}{backfill_id}"


@dataclass(frozen=True, slots=True)
class Budget:
    """The state of a scope. ``limit_credits`` None: counted, not limited."""

    limit_credits: Decimal | None
    reserved: Decimal
    spent: Decimal

    @property
    def left(self) -> Decimal | None:
        """Credits that may still be reserved; None: unlimited."""
        if self.limit_credits is None:
            return None
        return self.limit_credits - self.reserved - self.spent


@dataclass(frozen=True, slots=True)
class Shortage:
    """A scope without room. ``is_spent`` False: calls in flight may still release credits."""

    scope: str
    is_spent: bool


async def set_limit(conn: Connection, scope: str, provider: str, limit: Decimal) -> None:
    """Set how many credits of ``provider`` a run or backfill may spend; 0 forbids paid calls."""
    await conn.execute(
        insert(budgets)
        .values(provider=provider, scope=scope, limit_credits=limit)
        .on_conflict_do_update(index_elements=["provider", "scope"], set_={"limit_credits": limit})
    )


async def set_limits(conn: Connection, limits: Mapping[_Key, Decimal | None]) -> list[str]:
    """Set the limits of the scopes in use; returns the providers of which a limit has risen."""
    values: dict[str, list[object]] = {
        "providers": [provider for provider, _ in limits],
        "scopes": [scope for _, scope in limits],
        "limits": list(limits.values()),
    }
    return list((await conn.execute(_SET_LIMITS, values)).scalars())


async def read(
    conn: Connection, provider: str, scope: str, *, unused: Decimal | None = None
) -> Budget:
    """Return the state of a scope; an unused one is empty, with the limit ``unused``."""
    row = (
        await conn.execute(
            sa.select(budgets).where(budgets.c.provider == provider, budgets.c.scope == scope)
        )
    ).one_or_none()
    return _budget(row) if row is not None else Budget(unused, _ZERO, _ZERO)


def _budget(row: sa.Row[tuple[object, ...]]) -> Budget:
    return Budget(row.limit_credits, row.reserved, row.spent)
