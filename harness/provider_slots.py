"""Runs that the simulated provider makes by its own calendar, and what they cost."""

from datetime import datetime, timedelta
from uuid import UUID

from harness.waiting import until
from harness.world import World
from serpline.simulator.scaleserp.batches import Batch
from serpline.store.calls import budgets, ledger
from serpline.store.results import reports

# Three searches for a content type.
KEYWORDS = b"keyword,market\nkettle,PL\nteapot,US\ncup,PL\n"


def last_hour(world: World) -> datetime:
    """The last full hour."""
    return world.services.clock.now().replace(minute=0, second=0, microsecond=0)


async def enabled_batch(world: World) -> Batch:
    """The batch that the driver of the worker has made and enabled."""

    async def made() -> Batch | None:
        found = list(world.sim.scaleserp.account.batches.values())
        enabled = [batch for batch in found if batch.fields.get("enabled") and batch.searches]
        return enabled[0] if enabled else None

    return await until(made, "the driver to enable the batch")


def run_in_the_past(world: World, batch: Batch, slot: datetime) -> None:
    """Let the provider make the run of a slot whose time has passed."""
    batch.looked_at = slot - timedelta(seconds=1)
    world.sim.scaleserp.scheduler.catch_up()


async def scaleserp_credits(world: World, run_id: UUID) -> float:
    """The ScaleSERP credits of a run: equal in its ledger, its budget and its report by phase."""
    async with world.services.database.transaction() as conn:
        totals = await ledger.totals(conn, run_id)
        own = await budgets.read(conn, "scaleserp", budgets.run_scope(run_id))
        parts = await reports.spending(conn, run_id)
    found = {float(totals["scaleserp"].credits), float(own.spent)}
    found.add(sum(part.credits for part in parts if part.provider == "scaleserp"))
    (same,) = found
    return same
