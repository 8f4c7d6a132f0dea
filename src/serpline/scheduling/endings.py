"""Events for slots that ended without a run."""

from collections import defaultdict
from collections.abc import Iterable

from serpline.store.runs.events import Event
from serpline.store.schedules.starting import Ending


def ended_events(endings: Iterable[Ending]) -> list[Event]:
    """Return one event for the slots of a content type that ended alike.

    After a long downtime there are many. ``slots``: how many; ``first``, ``last``: their instants.
    """
    alike: dict[tuple[str, ...], list[Ending]] = defaultdict(list)
    for each in endings:
        key = each.key
        alike[key.schedule_id, key.content_type, each.outcome, each.reason_code].append(each)
    return [
        Event(
            f"slot.{outcome}",
            content_type=content_type,
            detail={
                "schedule": schedule_id,
                "code": code,
                "reason": found[-1].reason,
                "slots": len(found),
                "first": min(each.key.scheduled_for for each in found).isoformat(),
                "last": max(each.key.scheduled_for for each in found).isoformat(),
            },
        )
        for (schedule_id, content_type, outcome, code), found in alike.items()
    ]
