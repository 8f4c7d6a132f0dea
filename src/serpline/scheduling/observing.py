"""Observed slots as the search for patterns reads them."""

from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import Any

from serpline.domain.errors import UserError
from serpline.scheduling.adjustment import Batch, Observation
from serpline.scheduling.spec import ScheduleSpec
from serpline.store.schedules.observations import ObservedSlot


def zone_of(documents: Sequence[Any], content_type: str) -> tzinfo:
    """The zone of the first specification of a content type; UTC if it cannot be read."""
    for document in documents:
        try:
            spec = ScheduleSpec.from_json(document)
        except UserError:
            continue
        if content_type in spec.content_types:
            return spec.timezone
    return UTC


def observation(slot: ObservedSlot, zone: tzinfo) -> Observation:
    """Read a slot's observation; its time becomes the wall-clock time in ``zone``."""
    observed = slot.observed
    return Observation(
        local=slot.scheduled_for.astimezone(zone).replace(tzinfo=None),
        failed=observed.get("failed"),
        late=bool(observed.get("late")),
        errors=frozenset(observed.get("errors") or ()),
        batches=tuple(
            Batch(provider, searches, failed)
            for provider, searches, failed in observed.get("batches") or ()
        ),
    )
