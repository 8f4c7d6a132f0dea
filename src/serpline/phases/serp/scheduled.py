"""The batch that the provider starts by itself for a slot, whose result set a chunk takes.

The chunk waits for the result set by webhook or poll. If the provider has not started the batch, or
it lacks some of the searches, the chunk makes a batch of its own for those.
"""

from serpline.config.backfill import GivenResultSet
from serpline.phases.base import Work
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
