"""Which destinations are told about which reports: one incident, one notification, and its end.

Pure: the caller reads the open incidents before, and writes the plan after.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID

from serpline.core.ids import derived_id
from serpline.notifications.kinds import usual
from serpline.notifications.note import Note
from serpline.notifications.report import Report

# (destination, incident)
Key = tuple[str, str]
_NOBODY: Final[Mapping[str, Collection[str]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Destination:
    """What a destination wants to hear. ``events`` None: the usual kinds.

    ``schedules`` None: of everything; else of these schedules, and nothing that has no schedule.
    Events up to ``since_id`` are older than the destination.
    """

    name: str
    events: Collection[str] | None
    schedules: Collection[str] | None
    since_id: int

    def wants(self, report: Report, named: Collection[str] = ()) -> bool:
        """Whether it is told of such a report. ``named``: destinations that its schedule names."""
        if report.after is not None and report.after <= self.since_id:
            return False
        if self.name in named and report.kind in usual():
            return True
        if self.schedules is not None and report.schedule not in self.schedules:
            return False
        return report.kind in (usual() if self.events is None else self.events)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A new delivery. ``id`` is the same whenever the same report is read."""

    id: UUID
    destination: str
    kind: str
    incident: str
    is_open: bool
    occurred_at: datetime
    note: Note


@dataclass(slots=True)
class Plan:
    """Deliveries to insert, and the numbers of stored ones whose incident has ended."""

    new: list[Delivery] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)


def plan(
    reports: Iterable[Report],
    destinations: Collection[Destination],
    is_open: Mapping[Key, int],
    named: Mapping[str, Collection[str]] = _NOBODY,
) -> Plan:
    """Plan the deliveries of reports, in their order.

    ``is_open`` has the number of the stored delivery of each open incident that a report names.
    ``named``: the destinations that schedules name (``notify``), by schedule.
    """
    made = Plan()
    stored = dict(is_open)
    opened: dict[Key, int] = {}  # the place in ``made.new``

    def end(key: Key) -> bool:
        if key in opened:
            place = opened.pop(key)
            made.new[place] = replace(made.new[place], is_open=False)
            return True
        if key in stored:
            made.ended.append(stored.pop(key))
            return True
        return False

    def add(
        destination: Destination, report: Report, note: Note, incident: str, lasts: bool
    ) -> None:
        if lasts:
            opened[destination.name, incident] = len(made.new)
        stage = "end" if note is report.ending else "begin"
        id_ = derived_id("notification", destination.name, report.source, incident, stage)
        made.new.append(
            Delivery(id_, destination.name, report.kind, incident, lasts, report.occurred_at, note)
        )

    for report in reports:
        for destination in destinations:
            heard = [key for key in report.closes if end((destination.name, key))]
            if heard and report.ending is not None:
                add(destination, report, report.ending, heard[0], lasts=False)
            elif report.note is not None and destination.wants(
                report, named.get(report.schedule or "", ())
            ):
                key = (destination.name, report.incident)
                if report.again:
                    end(key)
                if key not in opened and key not in stored:
                    add(destination, report, report.note, report.incident, report.lasts)
    return made
