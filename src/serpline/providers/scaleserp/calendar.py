"""The calendar of a batch that ScaleSERP starts by itself.

Documented (docs.trajectdata.com/scaleserp, "Create Batch"): ``schedule_type`` daily, weekly or
monthly with ``schedule_hours`` (0 to 23), ``schedule_days_of_week`` (0 is Sunday) and
``schedule_days_of_month``, in the time zone of the account's profile. A batch starts on the hour.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from serpline.domain.replies import as_count, as_list, as_text


class ScheduleType(StrEnum):
    """How often a batch starts by itself."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class Calendar:
    """When a batch starts. ``days`` are week days (0 is Sunday) or days of the month, or empty."""

    schedule_type: ScheduleType
    hour: int
    days: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Reject what the vendor rejects, or reads in a way that is not documented."""
        first, last = _DAYS[self.schedule_type]
        if not all(first <= day <= last for day in self.days) or not 0 <= self.hour <= 23:
            raise ValueError(f"{self}: out of range")
        if bool(self.days) != (last > 0):
            raise ValueError(f"{self}: the days do not go with the type")

    def fields(self) -> dict[str, Any]:
        """The fields of a create or update. Lists that do not apply are sent empty."""
        days = list(self.days)
        return {
            "schedule_type": str(self.schedule_type),
            "schedule_hours": [self.hour],
            "schedule_days_of_week": days if self.schedule_type is ScheduleType.WEEKLY else [],
            "schedule_days_of_month": days if self.schedule_type is ScheduleType.MONTHLY else [],
        }


_DAYS: Mapping[ScheduleType, tuple[int, int]] = {
    ScheduleType.DAILY: (0, 0),
    ScheduleType.WEEKLY: (0, 6),
    ScheduleType.MONTHLY: (1, 31),
}


def calendar(item: Mapping[str, Any]) -> Calendar | None:
    """Parse the calendar of a batch; None if it is manual, or none that we write."""
    kind = as_text(item.get("schedule_type")) or ""
    hours = _numbers(item.get("schedule_hours"))
    days: tuple[int, ...] = ()
    if kind == ScheduleType.WEEKLY:
        days = _numbers(item.get("schedule_days_of_week"))
    elif kind == ScheduleType.MONTHLY:
        days = _numbers(item.get("schedule_days_of_month"))
    elif kind != ScheduleType.DAILY:
        return None
    try:
        return Calendar(ScheduleType(kind), hours[0], days) if len(hours) == 1 else None
    except ValueError:
        return None


def _numbers(value: Any) -> tuple[int, ...]:
    """A list of numbers, also as comma-separated text (as the vendor's examples send it)."""
    parts = value.split(",") if isinstance(value, str) else as_list(value)
    return tuple(sorted({number for number in map(as_count, parts) if number is not None}))
