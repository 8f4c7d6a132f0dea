"""Credits: which budgets a call counts in, and the words for a budget that is used up.

The reservation itself is part of the intent's transaction, and the settlement of the outcome's
(``ledger``): so no reservation can outlive its call, and the ledger explains every credit.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from serpline.domain.errors import CallRefused
from serpline.domain.names import JobPriority
from serpline.robustness.policies import ProviderPolicy, check_providers
from serpline.store.calls import budgets, ledger
from serpline.store.calls.budgets import Budget, Shortage
from serpline.store.calls.ledger import CallTotals
from serpline.store.database import Connection, Database
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.runs import due

RESERVED_SECONDS = 2.0
# More than any call can cost, and little enough that no sum of calls outgrows its column.
BILL_MAX = Decimal(1_000_000)
_QUANTUM = Decimal("0.000001")


class BudgetSpent(CallRefused):
    """No room in a budget for this call; ``until`` is when its period ends.

    A run's own limit has no period: waiting cannot help, so the refusal is permanent. A period's
    may be raised before: what waits on ``waits_on`` is woken then.
    """

    def __init__(
        self, policy: ProviderPolicy, scope: str, until: datetime | None, problem: str = "is spent"
    ) -> None:
        reason = (
            f"the run's credit limit for {policy.provider} is spent"
            if until is None
            else f"the {policy.provider} budget of {scope} ({policy.zone}) {problem}"
        )
        waits_on = None if until is None else wait_key(policy.provider)
        super().__init__(reason, until=until, waits_on=waits_on, permanent=until is None)
        self.scope = scope


class BudgetReserved(CallRefused):
    """No room for this call until those under way have ended: they may cost less than they hold."""


def wait_key(provider: str) -> str:
    """What chunks wait on that a budget of ``provider`` has refused; no breaker has such a name."""
    return f"budget:{provider}"


def amount(credits_used: float) -> Decimal:
    """Credits as they are stored: exact to a millionth, never below zero."""
    return max(Decimal(0), Decimal(str(credits_used)).quantize(_QUANTUM))


def scopes(
    policy: ProviderPolicy, run_id: UUID | None, now: datetime
) -> tuple[tuple[str, Decimal | None], ...]:
    """The budgets a call at ``now`` counts in, with their limits; days end where the provider's do.

    A run's own limit is kept in its row (``limit_run``), not here.
    """
    local = now.astimezone(ZoneInfo(policy.zone))
    day, month = f"day:{local:%Y-%m-%d}", f"month:{local:%Y-%m}"
    periods = ((day, _limit(policy.credits_per_day)), (month, _limit(policy.credits_per_month)))
    return periods if run_id is None else ((budgets.run_scope(run_id), None), *periods)


def refusal(
    policy: ProviderPolicy, shortage: Shortage, credits_: Decimal, now: datetime
) -> CallRefused:
    """The refusal of a call for ``credits_``, saying when there may be room for it."""
    scope = shortage.scope
    if not shortage.is_spent:
        until = now + timedelta(seconds=RESERVED_SECONDS)
        return BudgetReserved(
            f"calls under way hold what is left for {policy.provider}", until=until
        )
    if scope.startswith("day:"):
        limit, setting, until = policy.credits_per_day, "DAY", policy.day_ends_at(now)
    elif scope.startswith("month:"):
        limit, setting, until = policy.credits_per_month, "MONTH", policy.month_ends_at(now)
    else:
        return BudgetSpent(policy, scope, None)
    problem = "is spent"
    if limit is not None and credits_ > amount(limit):
        # A new period does not help: a person has to decide.
        problem = (
            f"allows {limit:g} credits, and this call costs {credits_:f}:"
            f" raise SERPLINE_CREDITS_PER_{setting}, or give the run a smaller batch_size"
        )
    return BudgetSpent(policy, scope, until, problem)


async def apply_limits(conn: Connection, policies: Iterable[ProviderPolicy], now: datetime) -> None:
    """The limits of the current periods, from settings; what waits on one that rose is woken."""
    limits = {
        (policy.provider, scope): limit
        for policy in policies
        for scope, limit in scopes(policy, None, now)
    }
    raised = await budgets.set_limits(conn, limits)
    if raised:
        await due.make_owned_due(conn)
    names = [wait_key(provider) for provider in raised]
    waiting = [found for name in names for found in await due.make_waiting_due(conn, name)]
    await wake(conn, [WakeUp("chunk", str(id_), JobPriority(p)) for id_, p in waiting])


async def usage(
    conn: Connection, policies: Iterable[ProviderPolicy], now: datetime
) -> list[dict[str, Any]]:
    """The budgets of the current day and month of every provider, with what waits on each.

    Where nothing was spent yet the limit is that of the settings, which the first call is held to.
    """
    keys = [
        (policy.provider, *of_period)
        for policy in policies
        for of_period in scopes(policy, None, now)
    ]
    found = []
    for provider, scope, limit in keys:
        state = await budgets.read(conn, provider, scope, unused=limit)
        waiting = await due.count_waiting(conn, wait_key(provider))
        shown = {"provider": provider, "scope": scope, **asdict(state), "left": state.left}
        found.append({**shown, "waiting_chunks": waiting})
    return found


async def limit_run(conn: Connection, run_id: UUID, limits: Mapping[str, float]) -> None:
    """A run may spend at most so many credits, by provider. ``UserError`` for an unknown one."""
    check_providers("credit_limits", limits)
    for provider, limit in limits.items():
        await budgets.set_run_limit(conn, run_id, provider, amount(limit))


class Budgets:
    """What people and runs ask about credits."""

    def __init__(self, db: Database) -> None:
        self._db = db

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
