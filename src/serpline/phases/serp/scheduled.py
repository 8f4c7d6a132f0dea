"""The batch that the provider starts by itself for a slot, whose result set a chunk takes.

The chunk waits for the result set by webhook or poll. If the provider has not started the batch, or
it lacks some of the searches, the chunk makes a batch of its own for those. The credits of the
provider's start are the run's.
"""

from datetime import datetime

from serpline.config.backfill import GivenResultSet
from serpline.phases.base import Work
from serpline.phases.freshness import run_scope
from serpline.phases.serp.batch_session import BatchSession
from serpline.phases.tools import call_scope
from serpline.providers.scaleserp.batches import Batch
from serpline.providers.scaleserp.errors import PROVIDER
from serpline.providers.scaleserp.slots import credits_of_start, result_of_slot, start_of
from serpline.robustness.charges import Start, charge_start
from serpline.store.schedules import provider


async def scheduled_batch(work: Work) -> GivenResultSet | None:
    """The batch of the chunk's part of its schedule; None if the run waits for none."""
    config = work.config
    is_slot = config.schedule is not None and config.scheduled_for is not None
    if not config.provider_schedule or not config.buys_searches or not is_slot:
        return None
    async with work.database.transaction() as conn:
        found = await provider.batch_of_part(
            conn, str(config.schedule), str(work.chunk.lane.content_type), work.chunk.no
        )
    if found is None:
        return None
    return GivenResultSet(batch_id=found, scheduled_for=config.scheduled_for)


async def find_result_of_slot(
    session: BatchSession, batch: Batch, slot: datetime, each: float
) -> int | None:
    """The id of the slot's result set, whose credits are then in the ledger; None if there is none.

    ``each``: the credits of a search, if the provider does not state them.
    """
    if not batch.is_idle:
        return None
    work = session.work
    found = await session.call(session.tools.scaleserp.results(session.id))
    next_slot = work.config.fresh_until.get(work.chunk.lane.content_type)
    own = result_of_slot(found, slot, next_slot)
    if own is None:
        return None
    spent = credits_of_start(batch, own, each)
    start = Start(batch.id, own.id, start_of(own) or slot, spent)
    policy = session.tools.guard.policy(PROVIDER)
    scope = call_scope(work, run_scope(work))
    await charge_start(work.database, policy, start, scope, work.clock.now())
    return own.id
