"""Compare what schedules want at the provider with what it has. Nothing is changed or deleted."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from serpline.domain.errors import UserError
from serpline.domain.http import ProviderCall
from serpline.providers.scaleserp.batches import Batch, BatchesPage
from serpline.providers.scaleserp.client import ScaleSerpClient
from serpline.robustness.policies import ProviderPolicy
from serpline.scheduling.provider_wanted import PREFIX, wanted_of
from serpline.store.database import Database
from serpline.store.schedules import provider
from serpline.store.schedules.provider import DrivenSchedule, Wanted

T = TypeVar("T")
Call = Callable[[ProviderCall[Any]], Awaitable[Any]]

_PAGES_MAX = 20


async def diagnose(
    database: Database,
    call: Call,
    client: ScaleSerpClient,
    zone: ZoneInfo,
    policy: ProviderPolicy,
    now: datetime,
    schedule_id: str | None = None,
) -> list[dict[str, Any]]:
    """Return a finding for each batch on either side, of one schedule or of all.

    ``finding``: *ok*; *missing* (wanted, and the provider has none); *different* (``detail`` names
    the fields); *duplicate*; *not_deleted* (no longer wanted); *refused* (the schedule does not fit
    the provider's calendar); *orphan* (it is of no schedule here, and may be of another project).
    """
    async with database.transaction() as conn:
        schedules = await provider.driven(conn, schedule_id)
        known = {row.name for row in await provider.listed(conn)}
    wanted: dict[str, tuple[str, Wanted]] = {}
    findings = []
    for schedule in schedules:
        try:
            async with database.transaction() as conn:
                found = await wanted_of(conn, schedule, zone, policy, now)
        except UserError as error:
            findings.append(_finding(schedule.id, None, None, "refused", str(error)))
            continue
        wanted |= {one.name: (schedule.id, one) for one in found}
    refused = {finding["schedule"] for finding in findings}
    seen = await _list(call, client)
    for name, (owner, one) in sorted(wanted.items()):
        findings += _compare(owner, one, [batch for batch in seen if batch.name == name])
    if schedule_id is None:
        strange = [b for b in seen if b.name not in wanted and b.name not in known]
        findings += [_finding(None, None, b, "orphan", "of no schedule here") for b in strange]
    return findings + await _left_over(database, schedules, wanted, refused, seen)


async def _left_over(
    database: Database,
    schedules: list[DrivenSchedule],
    wanted: dict[str, tuple[str, Wanted]],
    refused: set[Any],
    seen: list[Batch],
) -> list[dict[str, Any]]:
    """Batches that we made and that are to be deleted."""
    async with database.transaction() as conn:
        rows = [row for one in schedules for row in await provider.listed(conn, one.id)]
    by_name = {batch.name: batch for batch in seen}
    return [
        _finding(row.schedule_id, row.content_type, by_name[row.name], "not_deleted", "is deleted")
        for row in rows
        if row.name not in wanted and row.schedule_id not in refused and row.name in by_name
    ]


def _compare(schedule: str, one: Wanted, found: list[Batch]) -> list[dict[str, Any]]:
    if not found:
        why = "the provider has no such batch"
        return [{**_finding(schedule, one.content_type, None, "missing", why), "batch": one.name}]
    oldest, *others = sorted(found, key=lambda batch: (batch.created_at or "~", batch.id))
    expected = {
        "calendar": one.wanted["calendar"],
        "enabled": one.wanted["enabled"],
        "priority": one.wanted["priority"],
        "searches": one.wanted["count"],
    }
    seen = {
        "calendar": oldest.calendar.fields() if oldest.calendar else None,
        "enabled": oldest.enabled,
        "priority": oldest.priority,
        "searches": oldest.searches_total_count,
    }
    differs = [
        f"{key}: {seen[key]}, not {expected[key]}" for key in seen if seen[key] != expected[key]
    ]
    finding = "different" if differs else "ok"
    first = _finding(schedule, one.content_type, oldest, finding, "; ".join(differs))
    why = f"another batch of this name; {oldest.id} is used"
    return [
        first,
        *(_finding(schedule, one.content_type, each, "duplicate", why) for each in others),
    ]


def _finding(
    schedule: str | None, content_type: str | None, batch: Batch | None, finding: str, detail: str
) -> dict[str, Any]:
    return {
        "schedule": schedule,
        "content_type": content_type and str(content_type),
        "batch": batch and batch.name,
        "provider_batch_id": batch and batch.id,
        "finding": finding,
        "detail": detail,
    }


async def _list(call: Call, client: ScaleSerpClient) -> list[Batch]:
    found: list[Batch] = []
    page, pages = 1, 1
    while page <= min(pages, _PAGES_MAX):
        listed: BatchesPage = await call(client.list_batches(PREFIX, page))
        # The vendor's match is not ours: it ignores case.
        found += [batch for batch in listed.batches if batch.name.startswith(PREFIX)]
        page, pages = page + 1, listed.page_count
    return found
