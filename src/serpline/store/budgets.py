"""Credits per provider and scope: reserved before a call, settled after it, never overdrawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from serpline.store.database import Connection
from serpline.store.tables.guards import provider_budgets as budgets

_RUN = "run:"
_ZERO = Decimal(0)
_Key = tuple[str, str]
# The rows are locked in one order for everybody before any is changed.
_SETTLE = sa.text(
    "WITH d AS (SELECT * FROM unnest(CAST(:providers AS text[]), CAST(:scopes AS text[]),"
    " CAST(:reserved AS numeric[]), CAST(:spent AS numeric[]))"
    " AS d(provider, scope, reserved, spent)),"
    " held AS MATERIALIZED (SELECT b.provider, b.scope FROM provider_budgets b"
    " JOIN d USING (provider, scope) ORDER BY b.provider, b.scope FOR UPDATE OF b)"
    " UPDATE provider_budgets b SET reserved = b.reserved + d.reserved, spent = b.spent + d.spent"
    " FROM d, held WHERE d.provider = held.provider AND d.scope = held.scope"
    " AND b.provider = d.provider AND b.scope = d.scope"
)
# Made or added to, which locks them. A run's limit is its row's; others are given.
_RESERVE = sa.text(
    "INSERT INTO provider_budgets AS b (provider, scope, limit_credits, reserved)"
    " SELECT * FROM unnest(CAST(:providers AS text[]), CAST(:scopes AS text[]),"
    " CAST(:limits AS numeric[]), CAST(:reserved AS numeric[]))"
    " AS w(provider, scope, limit_credits, reserved) ORDER BY provider, scope"
    " ON CONFLICT (provider, scope) DO UPDATE SET reserved = b.reserved + excluded.reserved,"
    f" limit_credits = CASE WHEN starts_with(b.scope, '{_RUN}') THEN b.limit_credits"
    " ELSE excluded.limit_credits END RETURNING b.provider, b.scope, limit_credits, reserved, spent"
)

_SET_LIMITS = sa.text(
    "WITH w AS (SELECT * FROM unnest(CAST(:providers AS text[]), CAST(:scopes AS text[]),"
    " CAST(:limits AS numeric[])) AS w(provider, scope, limit_credits)),"
    " before AS MATERIALIZED (SELECT b.provider, b.scope, b.limit_credits FROM provider_budgets b"
    " JOIN w USING (provider, scope) ORDER BY b.provider, b.scope FOR UPDATE OF b),"
    " after AS (UPDATE provider_budgets b SET limit_credits = w.limit_credits FROM w, before"
    " WHERE b.provider = before.provider AND b.scope = before.scope AND w.provider = b.provider"
    " AND w.scope = b.scope AND w.limit_credits IS DISTINCT FROM before.limit_credits"
    " RETURNING b.provider, before.limit_credits AS old, b.limit_credits AS new)"
    " SELECT DISTINCT provider FROM after WHERE old IS NOT NULL AND (new IS NULL OR new > old)"
    " ORDER BY provider"
)


def run_scope(run_id: UUID) -> str:
    """The scope in which a run's credits are counted."""
    return f"{_RUN}{run_id}"


@dataclass(frozen=True, slots=True)
class Budget:
    """One scope's state. ``limit_credits`` None: counted, not limited."""

    limit_credits: Decimal | None
    reserved: Decimal
    spent: Decimal

    @property
    def left(self) -> Decimal | None:
        """What may still be reserved; None if unlimited."""
        if self.limit_credits is None:
            return None
        return self.limit_credits - self.reserved - self.spent


@dataclass(frozen=True, slots=True)
class Want:
    """``credits`` of ``provider``, in every one of ``scopes`` (name, limit) or in none."""

    provider: str
    credits: Decimal
    scopes: tuple[tuple[str, Decimal | None], ...]


@dataclass(frozen=True, slots=True)
class Shortage:
    """A scope without room. ``is_spent`` False: calls under way may give back what they hold."""

    scope: str
    is_spent: bool


async def reserve(conn: Connection, wants: Sequence[Want]) -> list[Shortage | None]:
    """Reserve for each want in turn; the answer is None, or which scope has no room for it.

    Holds the scopes' rows until the transaction ends, in one order for everybody. All is reserved
    at once; what does not fit, which is seldom, is then given back.
    """
    wanted: dict[_Key, Decimal] = {}
    limits: dict[_Key, Decimal | None] = {}
    for want in wants:
        for key, limit in _keys(want).items():
            wanted[key] = wanted.get(key, _ZERO) + want.credits
            limits[key] = limit
    rows = await _reserve_all(conn, wanted, limits)
    taken = dict.fromkeys(rows, _ZERO)
    answers: list[Shortage | None] = []
    for want in wants:
        keys = _keys(want)
        full = [key for key in keys if not _fits(rows[key], taken[key] + want.credits)]
        spent = [key for key in full if not _fits(replace(rows[key], reserved=_ZERO), want.credits)]
        # One that is spent decides: waiting for the others would not help.
        answers.append(Shortage((spent or full)[0][1], bool(spent)) if full else None)
        if not full:
            for key in keys:
                taken[key] += want.credits
    await settle(conn, {key: (taken[key] - wanted[key], _ZERO) for key in rows})
    return answers


async def settle(conn: Connection, deltas: Mapping[_Key, tuple[Decimal, Decimal]]) -> None:
    """Add (reserved, spent) to each (provider, scope), in one order for everybody."""
    rows = [(key, delta) for key, delta in sorted(deltas.items()) if any(delta)]
    if rows:
        values: dict[str, list[object]] = {
            "providers": [provider for (provider, _), _ in rows],
            "scopes": [scope for (_, scope), _ in rows],
            "reserved": [reserved for _, (reserved, _) in rows],
            "spent": [spent for _, (_, spent) in rows],
        }
        await conn.execute(_SETTLE, values)


async def set_run_limit(conn: Connection, run_id: UUID, provider: str, limit: Decimal) -> None:
    """How many credits of ``provider`` a run may spend; 0 forbids paid calls."""
    await conn.execute(
        insert(budgets)
        .values(provider=provider, scope=run_scope(run_id), limit_credits=limit)
        .on_conflict_do_update(index_elements=["provider", "scope"], set_={"limit_credits": limit})
    )


async def set_limits(conn: Connection, limits: Mapping[_Key, Decimal | None]) -> list[str]:
    """Set the limits of the scopes that are in use; the providers of which one has risen."""
    values: dict[str, list[object]] = {
        "providers": [provider for provider, _ in limits],
        "scopes": [scope for _, scope in limits],
        "limits": list(limits.values()),
    }
    return list((await conn.execute(_SET_LIMITS, values)).scalars())


async def read(conn: Connection, provider: str, scope: str) -> Budget:
    """One scope's state; an unused one is empty and unlimited."""
    row = (
        await conn.execute(
            sa.select(budgets).where(budgets.c.provider == provider, budgets.c.scope == scope)
        )
    ).one_or_none()
    return _budget(row) if row is not None else Budget(None, _ZERO, _ZERO)


async def _reserve_all(
    conn: Connection, wanted: Mapping[_Key, Decimal], limits: Mapping[_Key, Decimal | None]
) -> dict[_Key, Budget]:
    """Add to what is reserved; each scope's state before that."""
    if not wanted:
        return {}
    values: dict[str, list[object]] = {
        "providers": [provider for provider, _ in wanted],
        "scopes": [scope for _, scope in wanted],
        "limits": [limits[key] for key in wanted],
        "reserved": list(wanted.values()),
    }
    found = {
        (row.provider, row.scope): _budget(row) for row in await conn.execute(_RESERVE, values)
    }
    return {key: replace(b, reserved=b.reserved - wanted[key]) for key, b in found.items()}


def _keys(want: Want) -> dict[_Key, Decimal | None]:
    """The scopes in which it counts, with their limits."""
    if want.credits <= 0:
        return {}
    return {(want.provider, scope): limit for scope, limit in want.scopes}


def _fits(budget: Budget, amount: Decimal) -> bool:
    return budget.left is None or amount <= budget.left


def _budget(row: sa.Row[tuple[object, ...]]) -> Budget:
    return Budget(row.limit_credits, row.reserved, row.spent)
