"""Credits that the provider spends by itself: once in the ledger, in budgets, held back by them.

The auditor is the simulator's ledger.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from harness.guarded import owned_chunk
from harness.provider_schedules import (
    SPEC,
    Account,
    open_account,
    store_keywords,
    store_schedule,
)

from serpline.notifications.reports import report_of
from serpline.pipeline.service import PipelineService
from serpline.providers.scaleserp.errors import PROVIDER
from serpline.robustness.calls import CallScope
from serpline.robustness.charges import Start, charge_start
from serpline.scheduling.provider_driver import PREPARE
from serpline.scheduling.service import SchedulingService
from serpline.store.calls import budgets
from serpline.store.database import Database

MINUTE = timedelta(minutes=1)


@asynccontextmanager
async def opened(db: Database, **settings: Any) -> AsyncIterator[Account]:
    """An account whose batch starts at 9:00 for 3 credits, from the 25th of a month on."""
    await store_keywords(db, "kettle,PL\nteapot,PL\ncup,US\n")
    async with open_account(db, **settings) as account:
        now = account.clock.now()
        first = (now.replace(day=1) + timedelta(days=32)).replace(day=23)
        account.clock.ahead_seconds += (first - now).total_seconds()
        account.clock.ahead_seconds += _until(account, 10)
        await store_schedule(db, "s", [SPEC])
        await account.drive()
        yield account


def _until(account: Account, hour: int) -> float:
    now = account.clock.now()
    at = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    return ((at if at > now else at + timedelta(days=1)) - now).total_seconds()


async def live(account: Account, days: int) -> None:
    """Let days pass; the driver looks before and after each start, as it does by itself."""
    for _ in range(days):
        account.clock.ahead_seconds += _until(account, 9) - (PREPARE - MINUTE).total_seconds()
        await account.drive()
        account.clock.ahead_seconds += 2 * PREPARE.total_seconds()
        account.sim.scaleserp.scheduler.catch_up()
        await account.drive()


async def charges(db: Database) -> list[dict[str, Any]]:
    """The starts in the ledger, oldest first."""
    async with db.transaction() as conn:
        rows = await conn.execute(
            sa.text(
                "SELECT run_id, credits::float, status, started_at FROM provider_calls"
                " WHERE operation = 'scheduled_start' ORDER BY started_at"
            )
        )
        return [dict(row) for row in rows.mappings()]


async def spent(db: Database, prefix: str) -> dict[str, float]:
    """Spent credits by scope."""
    async with db.transaction() as conn:
        rows = await conn.execute(
            sa.text(
                "SELECT scope, spent::float FROM provider_budgets WHERE provider = 'scaleserp'"
                " AND starts_with(scope, :prefix)"
            ),
            {"prefix": prefix},
        )
        return {row.scope: row.spent for row in rows}


async def test_starts_whose_results_no_run_takes_are_in_the_ledger(db: Database) -> None:
    """One entry each, in the budget of its own day, however often the driver looks."""
    async with opened(db) as account:
        await live(account, 3)
        for _ in range(3):
            await account.drive()
        assert account.sim.ledger.spent("scaleserp") == 9
        found = await charges(db)
        assert [(one["run_id"], one["credits"], one["status"]) for one in found] == [
            (None, 3.0, "ok")
        ] * 3
        days = {f"day:{one['started_at']:%Y-%m-%d}": 3.0 for one in found}
        assert len(days) == 3
        assert await spent(db, "day:") == days
        assert sum((await spent(db, "month:")).values()) == 9


async def test_the_price_is_the_providers_and_failed_searches_are_charged(db: Database) -> None:
    """A start is charged as a whole when it is queued."""
    async with opened(db) as account:
        account.sim.set_faults(
            [{"provider": "scaleserp", "operation": "batch_search", "fault": "failed_searches"}]
        )
        for batch in account.batches().values():
            batch.search_credits = 2
        await live(account, 1)
        assert [one["credits"] for one in await charges(db)] == [6.0]
        assert account.sim.ledger.spent("scaleserp") == 6


async def test_starts_of_a_batch_that_is_deleted_are_in_the_ledger(db: Database) -> None:
    """The driver writes them before it deletes the batch and its result sets."""
    async with opened(db) as account:
        account.clock.ahead_seconds += _until(account, 9) + 60
        account.sim.scaleserp.scheduler.catch_up()
        await store_schedule(db, "s", [SPEC], status="deleted")
        await account.drive()
        assert account.batches() == {}
        assert [one["credits"] for one in await charges(db)] == [3.0]


async def test_results_that_cannot_be_listed_delay_no_pause(db: Database) -> None:
    """The batch is disabled. Its start is in the ledger when the list can be read again."""
    async with opened(db) as account:
        account.clock.ahead_seconds += _until(account, 9) + 60
        account.sim.scaleserp.scheduler.catch_up()
        account.sim.set_faults(
            [{"provider": "scaleserp", "operation": "list_results", "fault": "500", "times": 1}]
        )
        await store_schedule(db, "s", [SPEC], status="paused")
        await account.drive()
        (batch,) = account.batches().values()
        assert batch.fields["enabled"] is False
        assert await charges(db) == []
        await account.drive()
        assert [one["credits"] for one in await charges(db)] == [3.0]


async def test_a_budget_holds_the_next_start_back(db: Database) -> None:
    """The month has 7 credits: the batch is disabled before a third start, until the next month."""
    async with opened(db, credits_per_month={PROVIDER: 7}) as account:
        await live(account, 14)
        months = await spent(db, "month:")
        assert set(months.values()) == {6.0}
        assert len(months) == 2
        assert account.sim.ledger.spent("scaleserp") == 12
        (row,) = await account.rows()
        assert row["wanted"]["held_by"] == f"month:{account.clock.now():%Y-%m}"
        assert (await account.events()).count("batch.held_back") == 2
        assert account.created == 1


async def test_a_start_above_a_days_budget_never_happens(db: Database) -> None:
    """Its batch is made and stays disabled. One event says so until something changes."""
    async with opened(db, credits_per_day={PROVIDER: 2}) as account:
        await live(account, 3)
        (batch,) = account.batches().values()
        assert (batch.fields["enabled"], len(batch.searches)) == (False, 3)
        assert account.sim.ledger.spent("scaleserp") == 0
        (row,) = await account.rows()
        assert row["wanted"]["held_by"].startswith("day:")
        await store_schedule(db, "s", [{**SPEC, "batch_size": 2}], version=2)
        await account.drive()
        # Of two batches, the first fits into the day.
        assert [one["wanted"]["enabled"] for one in await account.rows()] == [True, False]


async def test_a_start_above_the_runs_own_limit_never_happens(db: Database) -> None:
    """``credit_limits`` bound what a run of the schedule may spend, whoever starts it."""
    async with opened(db) as account:
        await store_schedule(db, "s", [{**SPEC, "credit_limits": {PROVIDER: 2}}], version=2)
        await live(account, 1)
        (row,) = await account.rows()
        assert (row["wanted"]["held_by"], row["wanted"]["enabled"]) == ("credit_limits", False)
        assert account.sim.ledger.spent("scaleserp") == 0


async def test_a_start_is_charged_once_and_gets_its_run_later(db: Database) -> None:
    """Many processes write it, without a run and for two: the first run has it."""
    run_id, chunk_id, _ = await owned_chunk(db)
    other, _, _ = await owned_chunk(db)
    async with open_account(db) as account:
        policy, now = account.driver.policy, account.clock.now()
        start = Start("B0", 1, now - timedelta(hours=1), 3.0)
        await charge_start(db, policy, start, CallScope(freshness="s"), now)
        month = f"month:{start.started_at:%Y-%m}"
        assert await spent(db, "run:") == {}
        own = CallScope(freshness="r", run_id=run_id, chunk_id=chunk_id)
        await charge_start(db, policy, start, own, now)
        scopes = [own, CallScope(freshness="s"), CallScope(freshness="o", run_id=other)]
        await asyncio.gather(*(charge_start(db, policy, start, scope, now) for scope in scopes * 5))
        assert [(one["run_id"], one["credits"]) for one in await charges(db)] == [(run_id, 3.0)]
        assert await spent(db, "run:") == {budgets.run_scope(run_id): 3.0}
        assert await spent(db, "month:") == {month: 3.0}


async def test_what_is_held_back_is_shown_and_told(db: Database) -> None:
    """``schedule show`` names the budget, and so does the notification."""
    async with opened(db, credits_per_day={PROVIDER: 2}) as account:
        services = SchedulingService(db, PipelineService(db, account.clock), account.clock)
        (shown,) = (await services.get("s"))["provider_batches"]
        held_by = shown["held_by"]
        assert held_by.startswith("day:")
        assert (shown["enabled"], shown["credits"], shown["searches"]) == (False, 3.0, 3)
        async with db.transaction() as conn:
            rows = await conn.execute(
                sa.text("SELECT * FROM pipeline_events WHERE event_type = 'batch.held_back'")
            )
            (event,) = rows.mappings()
        report = report_of(event, {})
        assert report is not None
        assert report.note is not None
        assert report.note.headline == (
            "The provider's next start for schedule 's' (news) is held back"
        )
        words = f"It costs 3.0 credits, for which {held_by.replace(':', ' ')} has no room."
        assert report.note.facts == (words,)


async def test_what_the_provider_states_is_bounded(db: Database) -> None:
    """A price beyond all sense costs the most that a call may, in this month or the last one."""
    async with open_account(db) as account:
        policy, now = account.driver.policy, account.clock.now()
        first = datetime.fromisoformat("0001-01-01T00:00:00+14:00")
        last = datetime.fromisoformat("9999-12-31T23:59:59-12:00")
        for number, (at, price) in enumerate([(first, 1e300), (last, float("inf")), (now, -1.0)]):
            start = Start("B0", number, at, price)
            await charge_start(db, policy, start, CallScope(freshness="s"), now)
        found = await charges(db)
        assert [one["credits"] for one in found] == [1e6, 1e6, 0.0]
        assert now - timedelta(days=61) < found[0]["started_at"] < found[1]["started_at"] == now
