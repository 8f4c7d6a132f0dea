"""Which new or changed schedules are refused, beyond what their specifications say themselves."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

from serpline.config.model import shown
from serpline.domain.errors import UserError
from serpline.domain.states import ScheduleStatus
from serpline.domain.text import is_storable
from serpline.scheduling.documents import stored_specs
from serpline.scheduling.merging import check_compatible
from serpline.scheduling.policy import next_instant
from serpline.scheduling.spec import ScheduleSpec
from serpline.store.database import Connection, Database
from serpline.store.schedules import schedules
from serpline.store.schedules.schedules import ScheduleRow

REASON_CHARACTERS_MAX = 500


class _UndoneError(Exception):
    """Rolls a dry run back."""


@asynccontextmanager
async def changing(database: Database, *, dry_run: bool) -> AsyncIterator[Connection]:
    """A transaction. A dry run does all that a change does, and is rolled back."""
    with suppress(_UndoneError):
        async with database.transaction() as conn:
            yield conn
            if dry_run:
                raise _UndoneError


def unknown_schedule(name: str) -> UserError:
    """The error for the name of no schedule."""
    return UserError(
        f"schedule {shown(name)}: there is no such schedule; see 'serpline schedule list'"
    )


async def lock_to_change(conn: Connection, name: str) -> ScheduleRow:
    """Lock a schedule. Raises ``UserError`` if there is none of this name, or it is deleted."""
    row = await schedules.lock(conn, name)
    if row is None:
        raise unknown_schedule(name)
    if row.status is ScheduleStatus.DELETED:
        raise UserError(f"schedule {name!r} is deleted; add makes a schedule of this name again")
    return row


def readable_specs(row: ScheduleRow) -> tuple[ScheduleSpec, ...]:
    """The specifications of a stored schedule. Raises ``UserError`` if they cannot be read."""
    try:
        return stored_specs(row.specs)
    except UserError as error:
        raise UserError(f"schedule {row.id!r}: {error}; edit it first") from None


def written_specs(specs: Sequence[ScheduleSpec]) -> list[dict[str, Any]]:
    """The stored form: the keys that a person gave."""
    return [
        {
            key: value
            for key, value in spec.model_dump(
                mode="json", by_alias=True, exclude_unset=True
            ).items()
            if value is not None
        }
        for spec in specs
    ]


def check_new(specs: Sequence[ScheduleSpec], now: datetime) -> None:
    """Raise ``UserError`` for specifications that form no schedule, or one that is never due."""
    check_compatible(specs)
    if next_instant(specs, now) is None:
        ends = [str(spec.to_json()["end"]) for spec in specs if spec.end is not None]
        reason = f"end={ends[0]!r}: " if ends else ""
        raise UserError(f"{reason}the schedule would never be due after {now.isoformat()}")


def check_edit(
    row: ScheduleRow, specs: Sequence[ScheduleSpec], first_slot: datetime | None
) -> None:
    """Raise ``UserError`` if slots that exist contradict the change.

    ``start`` and ``end`` say when a schedule was never due. A new one among past slots is no
    statement about the future.
    """
    if first_slot is None:
        return
    try:
        known = {each for spec in stored_specs(row.specs) for each in (spec.first, spec.last)}
    except UserError:
        known = set()
    for spec in specs:
        written = spec.to_json()
        if spec.first is not None and spec.first not in known and spec.first > first_slot:
            raise UserError(
                f"start={written['start']!r}: the schedule has slots since"
                f" {first_slot.isoformat()}; to stop it until then, pause it"
            )
        if spec.last is not None and spec.last not in known and spec.last < row.decided_until:
            raise UserError(
                f"end={written['end']!r}: the schedule was decided until"
                f" {row.decided_until.isoformat()}; to end it now, delete it"
            )


def check_reason(reason: str | None) -> None:
    """Raise ``UserError`` for a reason that cannot be stored."""
    if reason is None:
        return
    if not 1 <= len(reason) <= REASON_CHARACTERS_MAX or not is_storable(reason):
        raise UserError(
            f"reason={shown(reason)}: must be text of 1 to {REASON_CHARACTERS_MAX} characters"
        )
