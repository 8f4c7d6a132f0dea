"""Stored schedules: preview, add, edit, pause, resume, delete, trigger, and what became of slots.

Every change is one transaction under the lock of the schedule's row. The instants up to now are
decided before it by what held until now, in portions as the tick does it. So past slots keep the
version that decided them. Slots are started by the tick.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from serpline.core.clock import Clock
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType
from serpline.domain.states import ScheduleStatus, SlotOutcome
from serpline.pipeline.service import PipelineService
from serpline.scheduling import merging, proposals
from serpline.scheduling.changes import (
    changing,
    check_reason,
    lock_to_change,
    readable_specs,
    unknown_schedule,
    written_specs,
)
from serpline.scheduling.deciding import decide_in_portions, decide_until_now
from serpline.scheduling.provider_driver import TASK as PROVIDER_TASK
from serpline.scheduling.slot_runs import read_name
from serpline.scheduling.spec import ScheduleSpec
from serpline.scheduling.trigger import groups_of, trigger_groups
from serpline.scheduling.versions import Versions, schedule_event, set_next
from serpline.scheduling.views import (
    next_times,
    next_times_of,
    provider_batches,
    schedule_view,
    with_health,
)
from serpline.store.database import Connection, Database
from serpline.store.maintenance import housekeeping
from serpline.store.runs import events
from serpline.store.runs.events import Event
from serpline.store.schedules import history, lanes, provider, schedules, slots
from serpline.store.schedules.schedules import ScheduleRow

SLOTS_SHOWN_MAX = 10_000

Specs = ScheduleSpec | Sequence[ScheduleSpec]


class SchedulingService:
    """Keep schedules, and start runs by hand."""

    def __init__(
        self,
        database: Database,
        pipeline: PipelineService,
        clock: Clock,
        *,
        provider_zone: ZoneInfo = ZoneInfo("UTC"),  # noqa: B008  immutable
    ) -> None:
        """``provider_zone``: the zone in which the provider's account starts its batches."""
        self._database = database
        self._pipeline = pipeline
        self._clock = clock
        self._versions = Versions(provider_zone)

    def preview(
        self, specs: Specs, count: int, after: datetime | None = None
    ) -> list[dict[str, Any]]:
        """The next ``count`` occurrences after ``after`` (default: now), as JSON rows."""
        return merging.preview(_as_list(specs), count, after or self._clock.now())

    async def add(
        self, name: str, specs: Specs, *, reason: str | None = None, dry_run: bool = False
    ) -> dict[str, Any]:
        """Store a schedule and return it. Its first slot is its first instant from now on.

        ``dry_run``: store nothing, and return only ``next_times``.
        The name of a deleted schedule may be used again; its versions and slots stay. Raises
        ``UserError`` if the name is taken, or if the schedule would never be due.
        """
        name, all_specs, now = read_name(name), _as_list(specs), self._clock.now()
        self._versions.check(all_specs, now)
        async with changing(self._database, dry_run=dry_run) as conn:
            await schedules.insert(conn, name, now)
            row = await schedules.lock_any(conn, name)
            if row.status is not ScheduleStatus.DELETED:
                raise UserError(
                    f"schedule {name!r} exists already (version {row.version}); edit changes it"
                )
            await schedules.change_status(conn, name, "add", now)
            await self._versions.add(conn, row, all_specs, now, reason)
            await lanes.resume(conn, name)
            await self._note(conn, "created", name, version=row.version + 1, reason=reason)
        return {"next_times": next_times(all_specs, now)} if dry_run else await self.get(name)

    async def edit(
        self,
        name: str,
        specs: Specs,
        *,
        reason: str | None = None,
        version: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Store a new version and return the schedule. Equal specifications change nothing.

        ``version``: the one that the caller has changed; another newest version is refused.
        ``dry_run``: as in ``add``. Raises ``UserError`` also if the past contradicts the change.
        """
        all_specs, now = _as_list(specs), self._clock.now()
        if not dry_run:
            await decide_in_portions(self._database, name, now)
        async with changing(self._database, dry_run=dry_run) as conn:
            row = await lock_to_change(conn, name)
            if version is not None and version != row.version:
                raise UserError(
                    f"version={version}: schedule {name!r} is at version {row.version} since"
                    f" {row.changed_at.isoformat(timespec='seconds')}; show it and edit that one"
                )
            if written_specs(all_specs) != row.specs:
                await events.append(
                    conn, await self._versions.replace(conn, row, all_specs, now, reason)
                )
        return {"next_times": next_times(all_specs, now)} if dry_run else await self.get(name)

    async def pause(self, name: str, *, reason: str | None = None) -> None:
        """Start nothing more; its instants are skipped from now on. Running runs go on."""
        await self._stop(name, "pause", "paused", reason)

    async def resume(self, name: str) -> None:
        """Start slots again from the next instant on, of paused content types too.

        Raises ``UserError`` if nothing of it is paused, or if its specifications cannot be read.
        """
        now = self._clock.now()
        async with self._decided(name, now) as (conn, row, written):
            if row.status is not ScheduleStatus.PAUSED and not row.halted:
                raise UserError(f"schedule {name!r} is {row.status}: 'resume' is not possible")
            specs = readable_specs(row)
            await schedules.change_status(conn, name, "resume", now)
            resumed = await lanes.resume(conn, name)
            await set_next(conn, row, specs)
            await self._note(conn, "resumed", name, *written, content_types=resumed)

    async def delete(self, name: str, *, reason: str | None = None) -> None:
        """Start nothing more, for good. Its slots and versions stay; running runs go on."""
        await self._stop(name, "delete", "deleted", reason)

    async def trigger(
        self, name: str, content_types: Sequence[str] = (), *, by: str | None = None
    ) -> list[UUID]:
        """Start runs now, whether the schedule is due, paused or running; return their ids.

        ``content_types``: all of the schedule if empty. Types that cannot share a run have runs of
        their own. Every call starts others. Its slots are those of this instant. If one of its runs
        cannot be created, none is.
        """
        now = self._clock.now()
        # Undecided, an instant that is due right now would lose its slots to the trigger.
        async with self._decided(name, now) as (conn, row, written):
            specs = readable_specs(row)
            groups = groups_of(name, specs, content_types)
            return await trigger_groups(conn, self._pipeline, row, specs, groups, now, written, by)

    async def get(self, name: str) -> dict[str, Any]:
        """Return a schedule with its next times, health, specifications and versions.

        Raises ``UserError`` if there never was one of this name.
        """
        async with self._database.transaction() as conn:
            row = await schedules.get(conn, name)
            if row is None:
                raise unknown_schedule(name)
            found = await lanes.listed(conn, [name])
            recent = await history.health(conn, name, [lane["content_type"] for lane in found])
            last = await history.last_slots(conn, [name])
            versions = await schedules.versions(conn, name)
            batches = await provider.listed(conn, name)
        return {
            **schedule_view(row, with_health(found, recent), last.get(name, [])),
            "next_times": next_times_of(row, self._clock.now()),
            "provider_batches": provider_batches(batches),
            "versions": versions,
        }

    async def listed(self, *, deleted: bool = False) -> list[dict[str, Any]]:
        """Return all schedules by name; ``deleted`` ones too if asked for."""
        async with self._database.transaction() as conn:
            rows = await schedules.listed(conn, deleted=deleted)
            names = [row.id for row in rows]
            found = await lanes.listed(conn, names)
            last = await history.last_slots(conn, names)
        by_name: dict[str, list[dict[str, Any]]] = {}
        for lane in found:
            by_name.setdefault(lane["schedule_id"], []).append(lane)
        return [schedule_view(row, by_name.get(row.id, []), last.get(row.id, [])) for row in rows]

    async def slots(
        self,
        name: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        content_types: Sequence[ContentType] = (),
        outcomes: Sequence[SlotOutcome] = (),
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """Return the slots at instants in [``since``, ``until``], newest first, at most ``limit``.

        ``content_types``, ``outcomes``: only these; empty: all. Raises ``UserError`` if there never
        was a schedule of this name.
        """
        if type(limit) is not int or not 1 <= limit <= SLOTS_SHOWN_MAX:
            raise UserError(f"limit={limit!r}: must be 1 to {SLOTS_SHOWN_MAX}")
        if since is not None and until is not None and since > until:
            raise UserError(f"from={since.isoformat()}: must not be after to={until.isoformat()}")
        async with self._database.transaction() as conn:
            if await schedules.get(conn, name) is None:
                raise unknown_schedule(name)
            return await slots.page(
                conn,
                name,
                since=since,
                until=until,
                content_types=content_types,
                outcomes=outcomes,
                limit=limit,
            )

    async def proposals(
        self, name: str | None = None, *, only_open: bool = False, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return proposed changes, newest first: of a schedule or of all, open ones or all.

        ``promised``: the share of bad slots without the pattern. ``since``: the bad slots among
        those that followed the acceptance. Raises ``UserError`` for an unknown schedule.
        """
        return await proposals.proposal_list(self._database, name, only_open=only_open, limit=limit)

    async def accept(self, number: int) -> dict[str, Any]:
        """Make a proposal's change a new version of its schedule; return the proposal.

        Raises ``UserError`` if it is not open, or if nothing is left to change: it expires.
        """
        return await proposals.accept(self._database, self._clock, self._versions.replace, number)

    async def refuse(self, number: int, *, reason: str | None = None) -> dict[str, Any]:
        """Refuse an open proposal; return it. Raises ``UserError`` if it is not open."""
        return await proposals.refuse(self._database, self._clock, number, reason)

    async def take_back(self, number: int, *, reason: str | None = None) -> dict[str, Any]:
        """Make the version before an accepted proposal the newest; return the proposal.

        Raises ``UserError`` if it is not accepted, or if the schedule was changed since.
        """
        return await proposals.take_back(
            self._database, self._clock, self._versions.replace, number, reason
        )

    async def _stop(self, name: str, event: str, past: str, reason: str | None) -> None:
        check_reason(reason)
        now = self._clock.now()
        async with self._decided(name, now) as (conn, row, written):
            if not await schedules.change_status(conn, name, event, now, reason):
                raise UserError(f"schedule {name!r} is {row.status}: {event!r} is not possible")
            if event == "delete":
                # Nobody waits for its data any more.
                await lanes.set_targets(conn, name, {}, now)
            await self._note(conn, past, name, *written, reason=reason)

    @asynccontextmanager
    async def _decided(
        self, name: str, now: datetime
    ) -> AsyncIterator[tuple[Connection, ScheduleRow, list[Event]]]:
        """Lock a schedule whose instants up to ``now`` are decided, in a transaction.

        Yields its connection, the row and the events to write last.
        """
        await decide_in_portions(self._database, name, now)
        async with self._database.transaction() as conn:
            row = await lock_to_change(conn, name)
            yield conn, row, await decide_until_now(conn, row, now)

    async def _note(
        self, conn: Connection, what: str, name: str, *before: Event, **detail: Any
    ) -> None:
        """Write what happened as the last statement of a transaction."""
        await housekeeping.make_due(conn, PROVIDER_TASK)
        await events.append(conn, [*before, schedule_event(what, name, **detail)])


def _as_list(specs: Specs) -> Sequence[ScheduleSpec]:
    return (specs,) if isinstance(specs, ScheduleSpec) else specs
