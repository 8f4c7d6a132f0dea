"""Credits per provider and scope: reserved before a call, settled after it, never overdrawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from serpline.store.database import Connection
from serpline.store.tables.guards import provider_budgets as budgets

_RUN = "run:"
_ZERO = Decimal(0)
_ADD = (
    sa.update(budgets)
    .where(
        budgets.c.provider == sa.bindparam("in_provider"),
        budgets.c.scope == sa.bindparam("in_scope"),
    )
    .values(
        reserved=budgets.c.reserved + sa.bindparam("more_reserved"),
        spent=budgets.c.spent + sa.bindparam("more_spent"),
    )
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


async def reserve(conn: Connection, wants: Sequence[Want]) -> list[str | None]:
    """Reserve for each want in turn; the answer is None, or the scope that has no room for it.

    Holds the scopes' rows until the transaction ends, in one order for everybody, so that between
    the look and the write nobody else can take the same credits.
    """
    limits = {
        (want.provider, scope): limit
        for want in wants
        if want.credits > 0
        for scope, limit in want.scopes
    }
    rows = await _lock(conn, limits)
    taken = dict.fromkeys(rows, _ZERO)
    answers: list[str | None] = []
    for want in wants:
        keys = [(want.provider, scope) for scope, _ in want.scopes] if want.credits > 0 else []
        full = next((key for key in keys if not _fits(rows[key], taken[key] + want.credits)), None)
        answers.append(None if full is None else full[1])
        if full is None:
            for key in keys:
                taken[key] += want.credits
    await settle(conn, {key: (amount, _ZERO) for key, amount in taken.items()})
    return answers


async def settle(
    conn: Connection, deltas: Mapping[tuple[str, str], tuple[Decimal, Decimal]]
) -> None:
    """Add (reserved, spent) to each (provider, scope), in one order for everybody."""
    rows = [
        {"in_provider": provider, "in_scope": scope, "more_reserved": reserved, "more_spent": spent}
        for (provider, scope), (reserved, spent) in sorted(deltas.items())
        if reserved or spent
    ]
    if rows:
        await conn.execute(_ADD, rows)


async def set_run_limit(conn: Connection, run_id: UUID, provider: str, limit: Decimal) -> None:
    """How many credits of ``provider`` a run may spend; 0 forbids paid calls."""
    await conn.execute(
        insert(budgets)
        .values(provider=provider, scope=run_scope(run_id), limit_credits=limit)
        .on_conflict_do_update(index_elements=["provider", "scope"], set_={"limit_credits": limit})
    )


async def read(conn: Connection, provider: str, scope: str) -> Budget:
    """One scope's state; an unused one is empty and unlimited."""
    row = (
        await conn.execute(
            sa.select(budgets).where(budgets.c.provider == provider, budgets.c.scope == scope)
        )
    ).one_or_none()
    return _budget(row) if row is not None else Budget(None, _ZERO, _ZERO)


async def _lock(
    conn: Connection, limits: Mapping[tuple[str, str], Decimal | None]
) -> dict[tuple[str, str], Budget]:
    """Make or touch the rows, which locks them. A run's limit is its row's; others are given."""
    if not limits:
        return {}
    rows = [
        {"provider": provider, "scope": scope, "limit_credits": limit}
        for (provider, scope), limit in sorted(limits.items())
    ]
    upsert = insert(budgets).values(rows)
    kept = sa.case(
        (budgets.c.scope.startswith(_RUN), budgets.c.limit_credits),
        else_=upsert.excluded.limit_credits,
    )
    found = await conn.execute(
        upsert.on_conflict_do_update(
            index_elements=["provider", "scope"], set_={"limit_credits": kept}
        ).returning(budgets)
    )
    return {(row.provider, row.scope): _budget(row) for row in found}


def _fits(budget: Budget, amount: Decimal) -> bool:
    return budget.left is None or amount <= budget.left


def _budget(row: sa.Row[tuple[object, ...]]) -> Budget:
    return Budget(row.limit_credits, row.reserved, row.spent)
