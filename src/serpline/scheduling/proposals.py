"""Show proposals, and accept, refuse and take them back.

Acceptance and taking back are new versions of the schedule, in the transaction that decides the
proposal. A proposal whose schedule has nothing left to change expires instead.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from serpline.core.clock import Clock
from serpline.domain.errors import UserError
from serpline.domain.schedules import ProposalStatus
from serpline.domain.states import ScheduleStatus
from serpline.scheduling.adjustment import SLOTS_MAX
from serpline.scheduling.changes import check_reason, unknown_schedule
from serpline.scheduling.deciding import decide_in_portions
from serpline.scheduling.documents import specs_from_json
from serpline.scheduling.evidence import counts_json, troubled
from serpline.scheduling.observing import observation, zone_of
from serpline.scheduling.proposed_change import apply_change
from serpline.scheduling.spec import ScheduleSpec
from serpline.store.database import Connection, Database
from serpline.store.runs import events
from serpline.store.runs.events import Event
from serpline.store.schedules import observations, proposals, schedules
from serpline.store.schedules.observations import Window
from serpline.store.schedules.proposals import NewProposal, ProposalRow
from serpline.store.schedules.schedules import ScheduleRow

PROPOSALS_SHOWN_MAX = 1_000

NewVersion = Callable[
    [Connection, ScheduleRow, Sequence[ScheduleSpec], datetime, str], Awaitable[list[Event]]
]
"""Stores the next version of a locked schedule; returns the events to write."""


def proposal_event(what: str, number: int, proposal: NewProposal | ProposalRow) -> Event:
    """The event of a proposal."""
    return Event(
        f"proposal.{what}",
        content_type=proposal.content_type,
        detail={
            "schedule": proposal.schedule_id,
            "proposal": number,
            "kind": str(proposal.kind),
            "summary": proposal.evidence["summary"],
        },
    )


async def proposal_list(
    database: Database, schedule: str | None, *, only_open: bool, limit: int
) -> list[dict[str, Any]]:
    """Return proposals, newest first, with what the slots after an acceptance did."""
    if type(limit) is not int or not 1 <= limit <= PROPOSALS_SHOWN_MAX:
        raise UserError(f"limit={limit!r}: must be 1 to {PROPOSALS_SHOWN_MAX}")
    async with database.transaction() as conn:
        if schedule is not None and await schedules.get(conn, schedule) is None:
            raise unknown_schedule(schedule)
        rows = await proposals.listed(conn, schedule, is_open=only_open, limit=limit)
        since = await _since_acceptance(conn, rows)
    return [{**_view(row), "since": since.get(row.id)} for row in rows]


def _view(row: ProposalRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "schedule": row.schedule_id,
        "content_type": row.content_type,
        "status": str(row.status),
        "kind": str(row.kind),
        "summary": row.evidence["summary"],
        "change": row.change,
        "evidence": row.evidence,
        "promised": row.evidence["promised"],
        "made_at": row.made_at,
        "decided_at": row.decided_at,
        "reason": row.reason,
        "version_before": row.version_before,
        "version_after": row.version_after,
    }


async def _since_acceptance(
    conn: Connection, rows: Sequence[ProposalRow]
) -> dict[int, dict[str, int | float]]:
    """Count the slots since the acceptance of each accepted proposal, and those in trouble."""
    accepted = [
        (row, row.version_after)
        for row in rows
        if row.status is ProposalStatus.ACCEPTED and row.version_after is not None
    ]
    made = await proposals.versions_made_at(conn, [(row.schedule_id, v) for row, v in accepted])
    windows = [
        Window(row.schedule_id, row.content_type, version, made[row.schedule_id, version][0])
        for row, version in accepted
    ]
    found = await observations.windows(conn, windows, SLOTS_MAX)
    counted = {}
    for (row, version), slots in zip(accepted, found, strict=True):
        zone = zone_of(made[row.schedule_id, version][1], row.content_type)
        seen = [observation(slot, zone) for slot in slots]
        counted[row.id] = counts_json(troubled(seen, row.evidence, row.change))
    return counted


async def accept(
    database: Database, clock: Clock, new_version: NewVersion, number: int
) -> dict[str, Any]:
    """Make the proposed change a new version of the schedule; return the proposal.

    Raises ``UserError`` if the proposal is not open, or if nothing is left to change (it expires).
    """
    now = clock.now()
    await _decide_instants(database, number, now)
    async with database.transaction() as conn:
        proposal, schedule = await _locked(conn, number, ProposalStatus.OPEN)
        changed = apply_change(
            schedule.specs, proposal.content_type, proposal.kind, proposal.change
        )
        if changed is None:
            written = await _decide(conn, proposal, ProposalStatus.EXPIRED, now)
        else:
            reason = f"proposal {number}: {proposal.evidence['summary']}"
            written = await new_version(conn, schedule, specs_from_json(changed), now, reason)
            versions = (schedule.version, schedule.version + 1)
            written += await _decide(
                conn, proposal, ProposalStatus.ACCEPTED, now, versions=versions
            )
        await events.append(conn, written)
    if changed is None:
        raise UserError(
            f"proposal {number} has expired: version {schedule.version} of schedule"
            f" {schedule.id!r} leaves nothing to change"
        )
    return await _shown(database, number)


async def refuse(
    database: Database, clock: Clock, number: int, reason: str | None
) -> dict[str, Any]:
    """Refuse an open proposal. The same change is not proposed again about the same version."""
    check_reason(reason)
    now = clock.now()
    async with database.transaction() as conn:
        proposal, _ = await _locked(conn, number, ProposalStatus.OPEN)
        written = await _decide(conn, proposal, ProposalStatus.REFUSED, now, reason=reason)
        await events.append(conn, written)
    return await _shown(database, number)


async def take_back(
    database: Database, clock: Clock, new_version: NewVersion, number: int, reason: str | None
) -> dict[str, Any]:
    """Make the specifications from before an accepted proposal a new version.

    Raises ``UserError`` if the schedule was changed since: later changes are not undone.
    """
    check_reason(reason)
    now = clock.now()
    await _decide_instants(database, number, now)
    async with database.transaction() as conn:
        proposal, schedule = await _locked(conn, number, ProposalStatus.ACCEPTED)
        before, after = proposal.version_before, proposal.version_after
        assert before is not None
        if schedule.version != after:
            raise UserError(
                f"proposal {number} made version {after} of schedule {schedule.id!r}, which is at"
                f" version {schedule.version} now; edit the schedule instead"
            )
        specs = await schedules.specs_of(conn, schedule.id, before)
        why = f"proposal {number} is taken back"
        written = await new_version(conn, schedule, specs_from_json(specs), now, why)
        written += await _decide(conn, proposal, ProposalStatus.TAKEN_BACK, now, reason=reason)
        await events.append(conn, written)
    return await _shown(database, number)


async def _decide_instants(database: Database, number: int, now: datetime) -> None:
    """Decide the instants up to now of a proposal's schedule, before its next version."""
    async with database.transaction() as conn:
        known = await proposals.get(conn, number)
    if known is not None:
        await decide_in_portions(database, known.schedule_id, now)


async def _locked(
    conn: Connection, number: int, status: ProposalStatus
) -> tuple[ProposalRow, ScheduleRow]:
    """Return a proposal of this status, and its schedule, locked."""
    known = await proposals.get(conn, number)
    schedule = await schedules.lock(conn, known.schedule_id) if known else None
    # Read again: decisions on proposals are made under the schedule's lock.
    proposal = await proposals.get(conn, number)
    if proposal is None or schedule is None:
        raise UserError(f"proposal {number}: there is no such proposal")
    if proposal.status is not status:
        raise UserError(f"proposal {number} is {proposal.status}: it is not {status}")
    if schedule.status is ScheduleStatus.DELETED:
        raise UserError(f"proposal {number}: schedule {schedule.id!r} is deleted")
    return proposal, schedule


async def _decide(
    conn: Connection, proposal: ProposalRow, target: ProposalStatus, now: datetime, **given: Any
) -> list[Event]:
    if not await proposals.decide(conn, proposal.id, proposal.status, target, now, **given):
        raise UserError(f"proposal {proposal.id} was decided by someone else")
    return [proposal_event(str(target), proposal.id, proposal)]


async def _shown(database: Database, number: int) -> dict[str, Any]:
    async with database.transaction() as conn:
        row = await proposals.get(conn, number)
        assert row is not None
        since = await _since_acceptance(conn, [row])
    return {**_view(row), "since": since.get(row.id)}
