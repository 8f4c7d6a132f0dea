"""Credits: which budgets a call counts in, and the refusals when a budget is used up.

``ledger`` reserves credits in the intent's transaction and settles them in the outcome's. No
reservation outlives its call, and the ledger accounts for every credit.
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
from serpline.domain.waits import WaitCause, WaitReason
from serpline.robustness.policies import ProviderPolicy, check_providers
from serpline.store.calls import budgets, ledger
from serpline.store.calls.budgets import Budget, Shortage
from serpline.store.calls.ledger import CallTotals
from serpline.store.database import Connection, Database
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.runs import due, events
from serpline.store.runs.events import Event

RESERVED_SECONDS = 2.0
# More than any call costs, and small enough that no sum of calls overflows its column.
BILL_MAX = Decimal(1_000_000)
_QUANTUM = Decimal("0.000001")


class BudgetSpent(CallRefused):
    """A budget has no credits left for this call. ``until`` is the end of its period.

    The limit of a run or a backfill has no period, so waiting does not help and the refusal is
    permanent. If someone raises a period's limit earlier, the chunks that wait on ``waits_on`` are
    woken.
    """

    def __init__(
        self,
        policy: ProviderPolicy,
        scope: str,
        until: datetime | None,
        problem: str = "is spent",
        cause: WaitCause = WaitCause.BUDGET,
    ) -> None:
        reason = (
            f"the {scope.partition(':')[0]}'s credit limit for {policy.provider} is spent"
            if until is None
            else f"the {policy.provider} budget of {scope} ({policy.zone}) {problem}"
        )
        waits_on = None if until is None else wait_key(policy.provider)
        wait = WaitReason(cause, f"{policy.provider} {scope}")
        super().__init__(reason, until=until, waits_on=waits_on, permanent=until is None, wait=wait)
        self.scope = scope


class BudgetReserved(CallRefused):
    """Calls in flight hold the remaining credits. They may cost less than they reserved."""


def wait_key(provider: str) -> str:
    """The name that chunks wait on after a budget refusal. No breaker has such a name."""
    return f"budget:{provider}"


def amount(credits_used: float) -> Decimal:
    """Round credits as stored: to a millionth, at least zero."""
    return max(Decimal(0), Decimal(str(credits_used)).quantize(_QUANTUM))


def scopes(
    policy: ProviderPolicy, run_id: UUID | None, now: datetime, backfill_id: str | None = None
) -> tuple[tuple[str, Decimal | None], ...]:
    """The budgets that a call at ``now`` counts in, with their limits.

    Days end in the provider's time zone. The limits of runs and backfills are in their rows.
    """
    local = now.astimezone(ZoneInfo(policy.zone))
    day, month = f"day:{local:%Y-%m-%d}", f"month:{local:%Y-%m}"
    periods = ((day, _limit(policy.credits_per_day)), (month, _limit(policy.credits_per_month)))
    owners = [] if run_id is None else [budgets.run_scope(run_id)]
    owners += [] if backfill_id is None else [budgets.backfill_scope(backfill_id)]
    return (*((scope, None) for scope in owners), *periods)


def period_scopes(policies: Iterable[ProviderPolicy], now: datetime) -> list[str]:
    """The names of the current days and months, of which zones may have several."""
    return sorted({name for policy in policies for name, _ in scopes(policy, None, now)})


def refusal(
    policy: ProviderPolicy, shortage: Shortage, credits_: Decimal, now: datetime
) -> CallRefused:
    """The refusal of a call for ``credits_``, with the time of the next try."""
    scope = shortage.scope
    if not shortage.is_spent:
        until = now + timedelta(seconds=RESERVED_SECONDS)
        return BudgetReserved(
            f"calls in flight hold the credits left for {policy.provider}", until=until
        )
    if scope.startswith("day:"):
        limit, setting, until = policy.credits_per_day, "DAY", policy.day_ends_at(now)
    elif scope.startswith("month:"):
        limit, setting, until = policy.credits_per_month, "MONTH", policy.month_ends_at(now)
    else:
        return BudgetSpent(policy, scope, None)
    problem, cause = "is spent", WaitCause.BUDGET
    if limit is not None and credits_ > amount(limit):
        # A new period does not help: a person has to decide.
        problem = (
            f"allows {limit:g} credits, and this call costs {credits_:f}:"
            f" raise SERPLINE_CREDITS_PER_{setting}, or give the run a smaller batch_size"
        )
        cause = WaitCause.BUDGET_TOO_SMALL
    return BudgetSpent(policy, scope, until, problem, cause)


async def apply_limits(conn: Connection, policies: Iterable[ProviderPolicy], now: datetime) -> None:
    """Store the settings' limits for the current periods.

    A raised limit is an event and wakes the chunks that wait on it. Owned chunks become due at
    their release. Ends the caller's transaction.
    """
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
    await events.append(conn, [Event("budget.raise", detail={"provider": p}) for p in raised])


async def usage(
    conn: Connection, policies: Iterable[ProviderPolicy], now: datetime
) -> list[dict[str, Any]]:
    """Every provider's budgets of the current day and month, with how many chunks wait on each.

    A budget without a row has the settings' limit, which its first call will store.
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
    """Limit a run's credits by known providers."""
    for provider, limit in limits.items():
        await budgets.set_limit(conn, budgets.run_scope(run_id), provider, amount(limit))


async def limit_backfill(conn: Connection, backfill_id: str, limits: Mapping[str, float]) -> None:
    """Limit the credits of all runs of a backfill. Raises ``UserError`` for unknown providers."""
    check_providers("credits", limits)
    for provider, limit in limits.items():
        scope = budgets.backfill_scope(backfill_id)
        await budgets.set_limit(conn, scope, provider, amount(limit))


class Budgets:
    """Read budgets and totals."""

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
