"""Turn a pattern into a change of a schedule's specifications, and make the change. Pure.

A change says what it wants, not what the specifications become: ``apply_change`` makes it in
whatever specifications the schedule has by then. It returns None if nothing is left to change.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import time, timedelta
from itertools import pairwise
from typing import Any

from serpline.config.values import BATCH_SIZE_MAX
from serpline.domain.names import JobPriority
from serpline.domain.schedules import ProposalKind
from serpline.scheduling.adjustment import Factor, Observation, Pattern
from serpline.scheduling.frequencies import Frequency
from serpline.scheduling.merging import SPECS_MAX
from serpline.scheduling.spec import ScheduleSpec

Document = Mapping[str, Any]
Edited = list[Document] | None

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# How many of the following hours are tried for an hour with trouble.
_HOURS_LATER_MAX = 6
_WEEKDAY_HOURS_LATER = 3
_SPREAD_SECONDS_MAX = 7_200
_TYPE_KEYS = ("content_type", "content_types")


@dataclass(frozen=True, slots=True)
class Change:
    """A kind of change, its values as JSON, and a sentence that asks for it."""

    kind: ProposalKind
    values: Mapping[str, Any]
    sentence: str


def change_for(
    pattern: Pattern,
    content_type: str,
    documents: Sequence[Document],
    observations: Sequence[Observation],
) -> Change | None:
    """The first change that may end the pattern and that the specifications permit."""
    level = pattern.table.level
    wanted: list[Change | None] = []
    if pattern.table.factor is Factor.BATCH_SIZE:
        wanted.append(_smaller_batches(level))
    elif pattern.table.factor is Factor.HOUR:
        wanted += [_later_hour(int(level), observations), _spread(observations)]
    elif pattern.table.factor is Factor.WEEKDAY:
        wanted += [_later_on(int(level)), _spread(observations)]
    else:
        wanted += [_priority(content_type, documents), _spread(observations)]
    for change in wanted:
        if change and apply_change(documents, content_type, change.kind, change.values):
            return change
    return None


def _smaller_batches(level: int | str) -> Change:
    return Change(
        ProposalKind.SMALLER_BATCHES,
        {"batch_size": level},
        f"make batches of at most {level:,} searches",
    )


def _later_hour(hour: int, observations: Sequence[Observation]) -> Change | None:
    taken = {slot.local.hour for slot in observations}
    for to in range(hour + 1, min(hour + _HOURS_LATER_MAX, 23) + 1):
        if to not in taken:
            sentence = f"move the slots at {hour:02}:00 to {to:02}:00"
            return Change(ProposalKind.LATER_HOUR, {"hour": hour, "to_hour": to}, sentence)
    return None


def _later_on(weekday: int) -> Change:
    day = WEEKDAYS[weekday - 1]
    return Change(
        ProposalKind.LATER_HOUR,
        {"weekday": day, "hours_later": _WEEKDAY_HOURS_LATER},
        f"start {_WEEKDAY_HOURS_LATER} hours later on {day.capitalize()}s",
    )


def _priority(content_type: str, documents: Sequence[Document]) -> Change | None:
    """One step above the highest priority that the content type has."""
    specs = [ScheduleSpec.from_json(document) for document in documents]
    most = max(spec.priority for spec in specs if content_type in spec.content_types)
    higher = [each for each in JobPriority if each > most]
    if not higher:
        return None
    name = min(higher).name.lower()
    return Change(ProposalKind.PRIORITY, {"priority": name}, f"raise the priority to {name}")


def _spread(observations: Sequence[Observation]) -> Change | None:
    """Spread the starts over two hours, or over half the time between two slots."""
    times = sorted({slot.local for slot in observations})
    gaps = [later - earlier for earlier, later in pairwise(times)]
    half = min(gaps, default=timedelta()) // 2
    seconds = min(_SPREAD_SECONDS_MAX, int(half.total_seconds()) // 60 * 60)
    if seconds < 60:
        return None
    sentence = f"spread the starts over {seconds // 60} minutes"
    return Change(ProposalKind.SPREAD, {"jitter": seconds}, sentence)


def apply_change(
    documents: Sequence[Document], content_type: str, kind: str, values: Mapping[str, Any]
) -> Edited:
    """Return the specifications after the change; None if there is nothing left to change.

    Only ``content_type`` changes. A specification of several types is divided.
    """
    changed: list[Document] = []
    is_changed = False
    for document in documents:
        spec = ScheduleSpec.from_json(document)
        edited = None
        if content_type in spec.content_types:
            edited = _EDITS[ProposalKind(kind)](document, spec, values)
        if edited is None:
            changed.append(document)
            continue
        is_changed = True
        others = [str(each) for each in spec.content_types if each != content_type]
        if others:
            changed.append(_of_types(document, others))
            edited = [_of_types(each, [content_type]) for each in edited]
        changed += edited
    return changed if is_changed and len(changed) <= SPECS_MAX else None


def _of_types(document: Document, content_types: Sequence[str]) -> Document:
    rest = {key: value for key, value in document.items() if key not in _TYPE_KEYS}
    if len(content_types) == 1:
        return {"content_type": content_types[0], **rest}
    return {"content_types": list(content_types), **rest}


def _move(document: Document, spec: ScheduleSpec, values: Mapping[str, Any]) -> Edited:
    if "weekday" in values:
        return _move_weekday(document, spec, values["weekday"], values["hours_later"])
    hour, to_hour = values["hour"], values["to_hour"]
    if spec.cron is not None:
        minute, hours, *days = spec.cron.split()
        listed = hours.split(",")
        if not all(each.isdecimal() for each in listed) or str(hour) not in map(_plain, listed):
            return None
        moved = [to_hour if int(each) == hour else int(each) for each in listed]
        times = ",".join(map(str, sorted(set(moved))))
        return [{**document, "cron": " ".join([minute, times, *days])}]
    at = spec.time_of_day or time()
    if spec.frequency is Frequency.INTERVAL or at.hour != hour:
        return None
    return [{**document, "time_of_day": f"{to_hour:02}:{at.minute:02}"}]


def _plain(number: str) -> str:
    return str(int(number))


def _move_weekday(document: Document, spec: ScheduleSpec, weekday: str, hours_later: int) -> Edited:
    """Give one weekday a specification of its own, with a later time."""
    default = WEEKDAYS if spec.frequency is Frequency.DAILY else WEEKDAYS[:1]
    days = [WEEKDAYS[day - 1] for day in spec.days_of_week or ()] or list(default)
    at = spec.time_of_day or time()
    is_weekly = spec.frequency in (Frequency.DAILY, Frequency.WEEKLY)
    if not is_weekly or weekday not in days or len(days) < 2 or at.hour + hours_later > 23:
        return None
    others = [day for day in days if day != weekday]
    later = f"{at.hour + hours_later:02}:{at.minute:02}"
    return [
        {**document, "days_of_week": others},
        {**document, "days_of_week": [weekday], "time_of_day": later},
    ]


def _shrink(document: Document, spec: ScheduleSpec, values: Mapping[str, Any]) -> Edited:
    if (spec.batch_size or BATCH_SIZE_MAX) <= values["batch_size"]:
        return None
    return [{**document, "batch_size": values["batch_size"]}]


def _raise(document: Document, spec: ScheduleSpec, values: Mapping[str, Any]) -> Edited:
    if spec.priority >= JobPriority[values["priority"].upper()]:
        return None
    return [{**document, "priority": values["priority"]}]


def _jitter(document: Document, spec: ScheduleSpec, values: Mapping[str, Any]) -> Edited:
    seconds, deadline = values["jitter"], spec.deadline_seconds
    # A slot must not wait past its deadline.
    if spec.jitter_seconds >= seconds or (deadline is not None and seconds >= deadline):
        return None
    return [{**document, "jitter": seconds}]


_EDITS: Mapping[ProposalKind, Callable[[Document, ScheduleSpec, Mapping[str, Any]], Edited]] = {
    ProposalKind.LATER_HOUR: _move,
    ProposalKind.SMALLER_BATCHES: _shrink,
    ProposalKind.PRIORITY: _raise,
    ProposalKind.SPREAD: _jitter,
}
