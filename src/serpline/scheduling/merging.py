"""Several specifications as one schedule: those due at the same instant share a run.

A run has one configuration. So the specifications of a schedule must agree on ``_SHARED_KEYS``
(``check_compatible``). Where their numbers differ, the
run takes the most attempts and phase retries, the smallest batch and the highest
``min_collected_ratio``. Each content type keeps its own circuit breaker.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, islice
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from serpline.config.breaker import RunBreaker, ScheduleBreaker
from serpline.config.model import shown
from serpline.config.run import PipelineConfig
from serpline.config.values import BATCH_SIZE_MAX
from serpline.domain.errors import UserError
from serpline.domain.names import SEARCHED_TYPES, ContentType
from serpline.scheduling.occurrences import Occurrence, is_due, occurrences
from serpline.scheduling.spec import ScheduleSpec

PREVIEW_MAX = 10_000
SPECS_MAX = 50
_SHARED_KEYS = (
    "devices",
    "landscape",
    "enable_historical_tracking",
    "force_refresh",
    "min_success_ratio",
    "lane_deadline_hours",
    "credit_limits",
)


@dataclass(frozen=True, slots=True)
class DueSlot:
    """The specifications of one schedule that are due at one instant, in the order given.

    ``local`` is in the zone of the first of them.
    """

    scheduled_for: datetime
    local: datetime
    specs: tuple[ScheduleSpec, ...]
    note: str | None = None

    @property
    def content_types(self) -> tuple[ContentType, ...]:
        """The content types to collect, each once, in the order of ``SEARCHED_TYPES``."""
        return tuple(
            kind
            for kind in SEARCHED_TYPES
            if any(kind in spec.content_types for spec in self.specs)
        )

    def to_json(self) -> dict[str, Any]:
        """A row of ``schedule preview``."""
        return {
            "scheduled_for": self.scheduled_for.isoformat(),
            "local": self.local.isoformat(),
            "content_types": [str(kind) for kind in self.content_types],
            "note": self.note,
            "specs": [spec.to_json() for spec in self.specs],
        }


def check_compatible(specs: Sequence[ScheduleSpec]) -> None:
    """Raise ``UserError`` for specifications that cannot form one schedule."""
    if not 1 <= len(specs) <= SPECS_MAX:
        raise UserError(f"a schedule has 1 to {SPECS_MAX} specifications, not {len(specs)}")
    first = specs[0].to_json()
    for spec in specs[1:]:
        other = spec.to_json()
        for key in _SHARED_KEYS:
            if other.get(key) != first.get(key):
                raise UserError(
                    f"{key}={shown(other.get(key))}: differs from {shown(first.get(key))} in the"
                    " same schedule, whose content types share runs; make it a schedule of its own"
                )


def due_slots(specs: Sequence[ScheduleSpec], after: datetime) -> Iterator[DueSlot]:
    """Yield one entry for each due instant strictly after ``after``, soonest first."""
    check_compatible(specs)
    # The merge is stable: specifications due at the same instant stay in the order given.
    streams = [_pair_with(spec, occurrences(spec, after)) for spec in specs]
    for instant, group in groupby(heapq.merge(*streams, key=_instant), key=_instant):
        yield _slot(instant, list(group))


def due_at(specs: Sequence[ScheduleSpec], instant: datetime) -> DueSlot | None:
    """The specifications due at exactly ``instant``; None if there are none."""
    check_compatible(specs)
    found = [(hit, spec) for spec in specs if (hit := is_due(spec, instant))]
    return _slot(instant.astimezone(UTC), found) if found else None


def preview(specs: Sequence[ScheduleSpec], count: int, after: datetime) -> list[dict[str, Any]]:
    """The next ``count`` (1 to 10,000) rows of ``schedule preview``; fewer after 100 years."""
    if type(count) is not int or not 1 <= count <= PREVIEW_MAX:
        raise UserError(f"count={count!r}: must be 1 to {PREVIEW_MAX}")
    return [due.to_json() for due in islice(due_slots(specs, after), count)]


def next_due(
    specs: Sequence[ScheduleSpec], content_types: Iterable[ContentType], after: datetime
) -> dict[str, datetime]:
    """The next due time of each content type, strictly after ``after``."""
    found: dict[str, datetime] = {}
    for kind in content_types:
        hits = (next(occurrences(s, after), None) for s in specs if kind in s.content_types)
        if times := [hit.scheduled_for for hit in hits if hit]:
            found[str(kind)] = min(times)
    return found


def run_config(
    specs: Sequence[ScheduleSpec],
    scheduled_for: datetime | None,
    schedule: str | None = None,
    fresh_until: Mapping[str, datetime] = MappingProxyType({}),
) -> PipelineConfig:
    """Build the configuration of the run that these specifications of ``schedule`` share."""
    check_compatible(specs)
    content_types = {kind for spec in specs for kind in spec.content_types}
    return PipelineConfig(
        content_types=tuple(kind for kind in SEARCHED_TYPES if kind in content_types),
        devices=specs[0].devices,
        landscape=specs[0].landscape,
        enable_historical_tracking=specs[0].enable_historical_tracking,
        force_refresh=specs[0].force_refresh,
        scheduled_for=scheduled_for,
        schedule=schedule,
        fresh_until=dict(fresh_until),
        min_success_ratio=specs[0].min_success_ratio,
        lane_deadline_hours=specs[0].lane_deadline_hours,
        credit_limits=specs[0].credit_limits,
        circuit_breaker=_breakers(specs),
        retry_attempts=max(map(attrgetter("retry_attempts"), specs)),
        phase_retries=max(map(attrgetter("phase_retries"), specs)),
        min_collected_ratio=max(map(attrgetter("min_collected_ratio"), specs)),
        batch_size=min(spec.batch_size or BATCH_SIZE_MAX for spec in specs),
    )


def _breakers(specs: Sequence[ScheduleSpec]) -> dict[str, RunBreaker]:
    """The breaker of each content type; of several, the one with the lowest threshold."""
    found: dict[str, ScheduleBreaker] = {}
    for spec in specs:
        for kind in spec.content_types:
            if settings := spec.circuit_breaker:
                known = found.setdefault(kind, settings)
                if settings.failure_threshold < known.failure_threshold:
                    found[kind] = settings
    return {kind: RunBreaker(**settings.model_dump()) for kind, settings in found.items()}


def _pair_with(
    spec: ScheduleSpec, found: Iterator[Occurrence]
) -> Iterator[tuple[Occurrence, ScheduleSpec]]:
    return ((occurrence, spec) for occurrence in found)


def _instant(pair: tuple[Occurrence, ScheduleSpec]) -> datetime:
    return pair[0].scheduled_for


def _slot(instant: datetime, found: Sequence[tuple[Occurrence, ScheduleSpec]]) -> DueSlot:
    notes = dict.fromkeys(occurrence.note for occurrence, _ in found if occurrence.note)
    return DueSlot(
        instant,
        found[0][0].local,
        tuple(spec for _, spec in found),
        "; ".join(notes) or None,
    )
