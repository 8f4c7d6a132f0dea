"""Credits: which budgets a call counts in, and the words for a budget that is used up.

The reservation itself is part of the intent's transaction, and the settlement of the outcome's
(``ledger``): so no reservation can outlive its call, and the ledger explains every credit.
"""

from datetime import datetime
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from serpline.domain.errors import CallRefused
from serpline.robustness.policies import ProviderPolicy
from serpline.store import budgets, ledger
from serpline.store.budgets import Budget
from serpline.store.database import Database
from serpline.store.ledger import CallTotals

_QUANTUM = Decimal("0.000001")


class BudgetSpent(CallRefused):
    """No room in a budget for this call; ``until`` is when its period ends, None for a run's."""

    def __init__(self, provider: str, scope: str, until: datetime | None) -> None:
        super().__init__(f"the {provider} budget of {scope} is spent", until=until)
        self.scope = scope


def amount(credits_used: float) -> Decimal:
    """Credits as they are stored: exact to a millionth, never below zero."""
    return max(Decimal(0), Decimal(str(credits_used)).quantize(_QUANTUM))


def scopes(
    policy: ProviderPolicy, run_id: UUID | None, now: datetime
) -> tuple[tuple[str, Decimal | None], ...]:
    """The budgets a call at ``now`` counts in, with their limits; days end where the provider's do.

    A run's own limit is kept in its row (``Budgets.set_run_limit``), not here.
    """
    local = now.astimezone(ZoneInfo(policy.zone))
    day, month = f"day:{local:%Y-%m-%d}", f"month:{local:%Y-%m}"
    periods = ((day, _limit(policy.credits_per_day)), (month, _limit(policy.credits_per_month)))
    return periods if run_id is None else ((budgets.run_scope(run_id), None), *periods)


def refusal(policy: ProviderPolicy, scope: str, now: datetime) -> BudgetSpent:
    """The refusal for a budget without room, saying when its period ends."""
    until = None
    if scope.startswith("day:"):
        until = policy.day_ends_at(now)
    elif scope.startswith("month:"):
        until = policy.month_ends_at(now)
    return BudgetSpent(policy.provider, scope, until)


class Budgets:
    """What people and runs ask about credits."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def set_run_limit(self, run_id: UUID, provider: str, limit: float) -> None:
        """A run may spend at most ``limit`` credits of ``provider``."""
        async with self._db.transaction() as conn:
            await budgets.set_run_limit(conn, run_id, provider, amount(limit))

    async def read(self, provider: str, scope: str) -> Budget:
        """One budget's limit, reserved and spent credits."""
        async with self._db.transaction() as conn:
            return await budgets.read(conn, provider, scope)

    async def run_totals(self, run_id: UUID) -> dict[str, CallTotals]:
        """Calls made and credits spent by a run, by provider."""
        async with self._db.transaction() as conn:
            return await ledger.totals(conn, run_id)


def _limit(value: float | None) -> Decimal | None:
    return None if value is None else amount(value)
