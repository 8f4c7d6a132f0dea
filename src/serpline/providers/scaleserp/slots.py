"""Result sets of a scheduled batch: which one belongs to a slot, and what a start has cost."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from serpline.providers.scaleserp.batches import Batch, ResultSet

# The provider's clock may be ahead of ours.
EARLY = timedelta(minutes=10)


def result_of_slot(
    found: Iterable[ResultSet], slot: datetime, next_slot: datetime | None
) -> ResultSet | None:
    """The first result set that was started for a slot: near its time, before the next one."""
    until = (next_slot or datetime.max.replace(tzinfo=UTC) - timedelta(days=1)) - EARLY
    timed = [(start_of(one), one) for one in found]
    own = [(at, one) for at, one in timed if at is not None and slot - EARLY <= at < until]
    return min(own, key=lambda pair: (pair[0], pair[1].id), default=(None, None))[1]


def start_of(found: ResultSet) -> datetime | None:
    """When the result set was started, else ended; None if neither can be read."""
    try:
        read = datetime.fromisoformat(found.started_at or found.ended_at or "")
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def credits_of_start(batch: Batch, found: ResultSet, each: float) -> float:
    """What the vendor charged for a result set: all of its searches, at the price that it states.

    A start costs the searches of the batch, when it is queued; only a stop in the queue is
    refunded (docs.trajectdata.com/scaleserp, "Start Batch", "Stop Batch"). So failed searches are
    charged too. All searches of a batch have the same price. ``each``: it, if none is stated.
    """
    count = found.searches_total or found.searches_completed + found.searches_failed
    held = batch.searches_total_count
    if batch.credits_required and held:
        each = batch.credits_required / held
    return (count or held) * each
