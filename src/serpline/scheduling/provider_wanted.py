"""The batches that schedules want at the provider.

A content type of a schedule has as many batches as its searches need: a run cuts its chunks in the
same order and size, so part *n* holds the searches of chunk *n*.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from serpline.config.run import PipelineConfig
from serpline.core.ids import derived_id, digest, secret_path
from serpline.domain.names import ContentType, Device, PipelineMode
from serpline.domain.states import ScheduleStatus
from serpline.phases.serp.searches import search_spec
from serpline.providers.scaleserp.errors import PROVIDER
from serpline.providers.scaleserp.spec import SEARCHES_TYPE, BatchSearch
from serpline.robustness import budget
from serpline.robustness.policies import ProviderPolicy
from serpline.scheduling.documents import specs_from_json
from serpline.scheduling.merging import run_config
from serpline.scheduling.provider_calendar import calendar_of, is_provider_driven, next_start
from serpline.scheduling.spec import ScheduleSpec
from serpline.store import projects
from serpline.store.calls import budgets
from serpline.store.database import Connection
from serpline.store.results.inputs import KeywordItem
from serpline.store.schedules.provider import DrivenSchedule, ProviderRow, Wanted

# All names of scheduled batches begin with it.
PREFIX = "serpline schedule "


@dataclass(frozen=True, slots=True)
class Part:
    """The searches of one batch, and their digest."""

    searches: Sequence[BatchSearch]
    digest: str

    @property
    def credits(self) -> float:
        """The most that a start costs."""
        return sum(search.spec.credits for search in self.searches)


class _Room:
    """What the budgets of the days and months of the next starts have left."""

    def __init__(self, conn: Connection, policy: ProviderPolicy) -> None:
        self._conn = conn
        self._policy = policy
        self._left: dict[str, Decimal | None] = {}

    async def take(self, at: datetime, credits_: float) -> str | None:
        """Count a start at ``at``; or the name of the budget that has no room for it."""
        wanted, scopes = budget.amount(credits_), budget.scopes(self._policy, None, at)
        for scope, limit in scopes:
            if scope not in self._left:
                found = await budgets.read(self._conn, PROVIDER, scope, unused=limit)
                self._left[scope] = found.left
            left = self._left[scope]
            if left is not None and wanted > left:
                return scope
        for scope, _ in scopes:
            if (left := self._left[scope]) is not None:
                self._left[scope] = left - wanted
        return None


def name_of(schedule: DrivenSchedule, content_type: ContentType, part: int) -> str:
    """The name of a batch: the same in every process, and in no other project."""
    made = schedule.created_at.isoformat(timespec="microseconds")
    own = derived_id("provider_schedule", schedule.id, made)
    return f"{PREFIX}{own} {content_type} {part}"


async def wanted_of(
    conn: Connection,
    schedule: DrivenSchedule,
    zone: ZoneInfo,
    policy: ProviderPolicy,
    now: datetime,
) -> list[Wanted]:
    """The batches that a schedule wants now. Raises ``UserError`` if it cannot be expressed.

    ``held_by``: the budget, or ``credit_limits``, without room for the next start. The provider
    would make and charge it all the same, so the batch is disabled.
    """
    if schedule.status == ScheduleStatus.DELETED:
        return []
    room = _Room(conn, policy)
    found = []
    for kind, spec in driven_types(schedule).items():
        config = run_config({kind: spec}, None)
        is_enabled = schedule.status == ScheduleStatus.ACTIVE and kind not in schedule.halted
        calendar = calendar_of(spec, zone, now)
        parts = await _parts(conn, kind, config)
        credits_of_run = sum(part.credits for part in parts)
        for number, part in enumerate(parts):
            wanted = {
                "version": schedule.version,
                "status": schedule.status,
                "calendar": calendar.fields(),
                "enabled": is_enabled,
                "held_by": None,
                "priority": str(config.batch_priority_in(PipelineMode.SCHEDULED)),
                "searches_type": SEARCHES_TYPE[kind],
                "searches": part.digest,
                "count": len(part.searches),
                "credits": part.credits,
            }
            if (at := next_start(wanted, zone, now)) is not None:
                limit = config.credit_limits.get(PROVIDER)
                is_over = limit is not None and credits_of_run > limit
                held_by = "credit_limits" if is_over else await room.take(at, part.credits)
                wanted |= {"held_by": held_by, "enabled": held_by is None}
            name = name_of(schedule, kind, number)
            found.append(Wanted(kind, number, name, secret_path(), wanted))
    return found


async def searches_of(conn: Connection, schedule: DrivenSchedule, row: ProviderRow) -> Part | None:
    """The searches of a wanted batch now; None if the schedule has no such part any more."""
    spec = driven_types(schedule).get(row.content_type)
    if spec is None:
        return None
    parts = await _parts(conn, row.content_type, run_config({row.content_type: spec}, None))
    return parts[row.part] if row.part < len(parts) else None


def driven_types(schedule: DrivenSchedule) -> dict[ContentType, ScheduleSpec]:
    """The content types that the provider drives, each with its specification."""
    specs = specs_from_json(schedule.specs) if schedule.specs else ()
    found: dict[ContentType, ScheduleSpec] = {}
    for spec in filter(is_provider_driven, specs):
        for kind in spec.content_types:
            found.setdefault(kind, spec)
    return found


async def _parts(conn: Connection, kind: ContentType, config: PipelineConfig) -> list[Part]:
    devices = [str(device) for device in config.devices]
    rows = await projects.planned_searches(conn, config.landscape, devices)
    searches = [_search(row, kind, config) for row in rows]
    size = config.batch_size
    cut = [searches[start : start + size] for start in range(0, len(searches), size)]
    return [Part(part, digest([one.wire() for one in part])) for part in cut]


def _search(row: dict[str, Any], kind: ContentType, config: PipelineConfig) -> BatchSearch:
    given = dict(row)
    item, device = given.pop("item"), Device(given.pop("device"))
    return BatchSearch(item, search_spec(KeywordItem(**given), kind, device, config))
