"""Rows of the circuit breakers: read, lock, save with the event in the same transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from serpline.domain.breaker import (
    Breaker,
    BreakerState,
    Bucket,
    ProbePermit,
    Step,
)
from serpline.domain.breaker_settings import BreakerSettings
from serpline.store.database import BRIEFLY, Connection
from serpline.store.tables.guards import circuit_breaker_events as events
from serpline.store.tables.guards import circuit_breakers as breakers

SETTINGS_CHANGED = "settings_changed"
_SETTINGS = {field.name for field in fields(BreakerSettings)}


@dataclass(frozen=True, slots=True)
class BreakerRow:
    """A breaker as stored, with the settings in force, and when they were said (None: never)."""

    name: str
    breaker: Breaker
    settings: BreakerSettings
    settings_version: int = 1
    settings_at: datetime | None = None


async def make(
    conn: Connection,
    name: str,
    settings: BreakerSettings,
    settings_at: datetime | None,
    now: datetime,
) -> None:
    """The breaker's row, closed; nothing if there is one already."""
    await conn.execute(
        insert(breakers)
        .values(name=name, settings=asdict(settings), settings_at=settings_at, changed_at=now)
        .on_conflict_do_nothing()
    )


async def change_settings(
    conn: Connection,
    before: BreakerRow,
    settings: BreakerSettings,
    said_at: datetime,
    now: datetime,
) -> BreakerRow:
    """Put settings in force at a locked breaker; others than it had count up, with an event.

    What the machine makes of them is the caller's to ``save``.
    """
    is_change = settings != before.settings
    after = replace(
        before,
        settings=settings,
        settings_version=before.settings_version + is_change,
        settings_at=said_at,
    )
    await conn.execute(
        sa.update(breakers)
        .where(breakers.c.name == before.name)
        .values(
            settings=asdict(settings),
            settings_version=after.settings_version,
            settings_at=said_at,
        )
    )
    if is_change:
        detail = {"from": asdict(before.settings), "to": asdict(settings)}
        await _event(conn, before, before.breaker, SETTINGS_CHANGED, now, detail)
    return after


async def load(conn: Connection, name: str) -> BreakerRow | None:
    """The breaker as it is now, or None if nobody has used it yet."""
    row = (await conn.execute(sa.select(breakers).where(breakers.c.name == name))).one_or_none()
    return None if row is None else _row(row)


async def lock(conn: Connection, name: str) -> BreakerRow:
    """The breaker, locked until the transaction ends. Raises ``LookupError`` if it is absent."""
    held = sa.select(breakers, sa.literal_column(BRIEFLY)).where(breakers.c.name == name)
    found = await conn.execute(held.with_for_update())
    row = found.one_or_none()
    if row is None:
        raise LookupError(f"breaker {name} is not known")
    return _row(row)


async def lease_now(conn: Connection) -> datetime:
    """The clock of permits and leases: the database's, which every process shares."""
    now: datetime = (await conn.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
    return now


async def save(conn: Connection, before: BreakerRow, step: Step, now: datetime) -> BreakerRow:
    """Write a locked breaker after a step, and the step's event; nothing if nothing changed."""
    after = replace(before, breaker=step.breaker)
    if step.breaker == before.breaker:
        return after
    await conn.execute(
        sa.update(breakers)
        .where(breakers.c.name == before.name)
        .values(
            state=step.breaker.state,
            failure_count=step.breaker.failure_count,
            open_until=step.breaker.open_until,
            machine=to_json(step.breaker),
            changed_at=now,
        )
    )
    if step.event is not None:
        until = step.breaker.open_until
        detail = {} if until is None else {"open_until": until.isoformat()}
        await _event(conn, before, step.breaker, step.event, now, detail)
    return after


async def list_all(conn: Connection) -> Sequence[BreakerRow]:
    """Every breaker, by name."""
    return [_row(row) for row in await conn.execute(sa.select(breakers).order_by(breakers.c.name))]


async def list_events(
    conn: Connection, name: str | None = None, *, limit: int = 100
) -> Sequence[Mapping[str, Any]]:
    """The latest events, newest first; of one breaker if ``name`` is given."""
    query = sa.select(events).order_by(events.c.id.desc()).limit(limit)
    if name is not None:
        query = query.where(events.c.breaker_name == name)
    return [dict(row) for row in (await conn.execute(query)).mappings()]


async def _event(
    conn: Connection,
    before: BreakerRow,
    breaker: Breaker,
    event_type: str,
    now: datetime,
    detail: Mapping[str, Any],
) -> None:
    await conn.execute(
        sa.insert(events).values(
            breaker_name=before.name,
            event_type=event_type,
            occurred_at=now,
            # The count that made it move: a move to closed has forgotten it already.
            failure_count=max(breaker.failure_count, before.breaker.failure_count),
            state=breaker.state,
            previous_state=before.breaker.state,
            detail=detail,
        )
    )


def _row(row: Any) -> BreakerRow:
    known = {key: value for key, value in row.settings.items() if key in _SETTINGS}
    return BreakerRow(
        row.name,
        from_json(row.machine),
        BreakerSettings(**known),
        row.settings_version,
        row.settings_at,
    )


def to_json(breaker: Breaker) -> dict[str, Any]:
    """The breaker as a JSON object, for its row."""
    return {
        "state": breaker.state.value,
        "generation": breaker.generation,
        "failure_times": [at.isoformat() for at in breaker.failure_times],
        "last_success_at": breaker.last_success_at and breaker.last_success_at.isoformat(),
        "buckets": [[item.start, item.successes, item.failures] for item in breaker.buckets],
        "open_until": breaker.open_until and breaker.open_until.isoformat(),
        "open_seconds": breaker.open_seconds,
        "relapses": breaker.relapses,
        "probe_successes": breaker.probe_successes,
        "permits": [
            [item.id, item.expires_at.isoformat(), item.seconds] for item in breaker.permits
        ],
    }


def from_json(value: Mapping[str, Any]) -> Breaker:
    """The inverse of ``to_json``; an absent field has its default."""

    def instant(name: str) -> datetime | None:
        text = value.get(name)
        return datetime.fromisoformat(text) if text else None

    return Breaker(
        state=BreakerState(value.get("state", BreakerState.CLOSED)),
        generation=int(value.get("generation", 0)),
        failure_times=tuple(datetime.fromisoformat(at) for at in value.get("failure_times", ())),
        last_success_at=instant("last_success_at"),
        buckets=tuple(Bucket(*item) for item in value.get("buckets", ())),
        open_until=instant("open_until"),
        open_seconds=float(value.get("open_seconds", 0)),
        relapses=int(value.get("relapses", 0)),
        probe_successes=int(value.get("probe_successes", 0)),
        permits=tuple(
            ProbePermit(item[0], datetime.fromisoformat(item[1]), float(item[2]))
            for item in value.get("permits", ())
        ),
    )
