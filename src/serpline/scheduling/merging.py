"""Several specifications as one schedule: those due at the same instant share runs.

The content types due at an instant share a run if they agree on ``GROUP_KEYS``; types that differ
have runs of their own. Within a run, every content type keeps the settings of its own
specification (``PipelineConfig.lanes``). If several specifications of a type are due at an instant,
the first in the order given decides.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, islice
from types import MappingProxyType
from typing import Any

from serpline.config.breaker import RunBreaker
from serpline.config.lanes import LaneSettings
from serpline.config.model import shown
from serpline.config.run import PipelineConfig
from serpline.config.values import BATCH_SIZE_MAX
from serpline.core.ids import digest
from serpline.domain.errors import UserError
from serpline.domain.names import SEARCHED_TYPES, ContentType
from serpline.scheduling.occurrences import Occurrence, is_due, occurrences
from serpline.scheduling.spec import Driver, ScheduleSpec

PREVIEW_MAX = 10_000
SPECS_MAX = 50
# A run has one value of each.
GROUP_KEYS = ("landscape", "devices", "force_refresh", "credit_limits")

# The content types that share a run, each with the specification that it follows.
Followed = Mapping[ContentType, ScheduleSpec]


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
        due = {kind for spec in self.specs for kind in spec.content_types}
        return tuple(kind for kind in SEARCHED_TYPES if kind in due)

    @property
    def runs(self) -> list[Followed]:
        """The content types of each run, each with the specification that it follows."""
        return groups(self.specs)

    def to_json(self) -> dict[str, Any]:
        """A row of ``schedule preview``."""
        return {
            "scheduled_for": self.scheduled_for.isoformat(),
            "local": self.local.isoformat(),
            "content_types": [str(kind) for kind in self.content_types],
            "runs": [[str(kind) for kind in followed] for followed in self.runs],
            "note": self.note,
            "specs": [spec.to_json() for spec in self.specs],
        }


def check_compatible(specs: Sequence[ScheduleSpec]) -> None:
    """Raise ``UserError`` for specifications that cannot form one schedule.

    A content type is one series of results, so its specifications must agree on ``GROUP_KEYS``.
    """
    if not 1 <= len(specs) <= SPECS_MAX:
        raise UserError(f"a schedule has 1 to {SPECS_MAX} specifications, not {len(specs)}")
    first: dict[ContentType, ScheduleSpec] = {}
    faults: dict[str, str] = {}
    for spec in specs:
        for kind in spec.content_types:
            own, other = _group_keys(spec), _group_keys(first.setdefault(kind, spec))
            for key in GROUP_KEYS:
                if own[key] != other[key]:
                    faults.setdefault(
                        key,
                        f"{key}={shown(own[key])}: another specification of {kind} in the same"
                        f" schedule has {shown(other[key])}; make it a schedule of its own",
                    )
    if faults:
        raise UserError("; ".join(faults.values()))


def group_of(spec: ScheduleSpec) -> str:
    """The group of a specification, 16 hexadecimal digits. Content types of one group share a run.

    It follows from the values of ``GROUP_KEYS`` alone.
    """
    return digest(_group_keys(spec))[:16]


def groups(specs: Sequence[ScheduleSpec]) -> list[Followed]:
    """Divide the content types of specifications that are due at one instant into runs."""
    found: dict[str, dict[ContentType, ScheduleSpec]] = {}
    for kind in SEARCHED_TYPES:
        spec = next((spec for spec in specs if kind in spec.content_types), None)
        if spec is not None:
            found.setdefault(group_of(spec), {})[kind] = spec
    return list(found.values())


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
    followed: Followed,
    scheduled_for: datetime | None,
    schedule: str | None = None,
    fresh_until: Mapping[str, datetime] = MappingProxyType({}),
) -> PipelineConfig:
    """Build the configuration of the run that content types of one group share.

    Lanes that serve all types follow the specification of the first type. Their priority is the
    highest of all, because every type waits for them.
    """
    kinds = [kind for kind in SEARCHED_TYPES if kind in followed]
    own = {kind: _settings(followed[kind], scheduled_for) for kind in kinds}
    first, *others = own.values()
    # Without differences, the run's own keys are enough.
    lanes = own if any(each != first for each in others) else {}
    spec = followed[kinds[0]]
    of_run = {key: value for key, value in first if value is not None}
    if lanes:
        of_run.pop("circuit_breaker", None)
        of_run["priority"] = max(each.priority for each in followed.values())
    return PipelineConfig(
        content_types=tuple(kinds),
        devices=spec.devices,
        landscape=spec.landscape,
        force_refresh=spec.force_refresh,
        credit_limits=spec.credit_limits,
        scheduled_for=scheduled_for,
        schedule=schedule,
        fresh_until={kind: at for kind, at in fresh_until.items() if kind in own},
        lanes={str(kind): each for kind, each in lanes.items()},
        **of_run,
    )


def _settings(spec: ScheduleSpec, scheduled_for: datetime | None) -> LaneSettings:
    """The settings that a specification's content types follow in a run."""
    breaker = spec.circuit_breaker
    # A run at any other time has no batch that the provider started for it.
    is_slot = scheduled_for is not None and is_due(spec, scheduled_for) is not None
    return LaneSettings(
        retry_attempts=spec.retry_attempts,
        phase_retries=spec.phase_retries,
        min_success_ratio=spec.min_success_ratio,
        min_collected_ratio=spec.min_collected_ratio,
        batch_size=spec.batch_size or BATCH_SIZE_MAX,
        enable_historical_tracking=spec.enable_historical_tracking,
        circuit_breaker=None if breaker is None else RunBreaker(**breaker.model_dump()),
        lane_deadline_hours=spec.lane_deadline_hours,
        priority=spec.priority,
        provider_schedule=spec.driver is Driver.PROVIDER and is_slot,
    )


def _group_keys(spec: ScheduleSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", include=set(GROUP_KEYS))


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
