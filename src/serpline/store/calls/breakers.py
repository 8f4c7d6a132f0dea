"""Rows of the circuit breakers: read, lock, and save with the event in the same transaction.

A row stores only the settings that override the code's. Each function that reads a row takes the
code's settings (``default``) and returns the settings in force.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.dialects.postgresql import insert

from serpline.domain.breaker import Breaker
from serpline.domain.breaker_settings import BreakerSettings
from serpline.store.database import IDLE_LIMIT, Connection
from serpline.store.tables.guards import circuit_breaker_events as events
from serpline.store.tables.guards import circuit_breakers as breakers

SETTINGS_CHANGED = "settings_changed"
_SETTINGS = {item.name for item in fields(BreakerSettings)}
_MACHINE = TypeAdapter(Breaker)
_DEFAULT = BreakerSettings()


@dataclass(frozen=True, slots=True)
class SettingsUpdate:
    """Settings by name that override the code's, and when they were set."""

    overrides: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class BreakerRow:
    """A breaker as stored. ``settings`` are in force: the code's, replaced by ``overrides``.

    ``settings_at``: when the overrides were set; None: never.
    """

    name: str
    breaker: Breaker
    settings: BreakerSettings
    settings_version: int = 1
    overrides: Mapping[str, Any] | None = None
    settings_at: datetime | None = None

    def is_older(self, at: datetime) -> bool:
        """Whether settings set ``at`` replace the overrides."""
        return self.settings_at is None or self.settings_at < at


async def make(conn: Connection, name: str, update: SettingsUpdate | None, now: datetime) -> None:
    """Insert the breaker, closed, with overrides if there are any; do nothing if it exists."""
    values = {"name": name, "changed_at": now}
    if update is not None:
        values |= {"settings": update.overrides, "settings_at": update.at}
    await conn.execute(insert(breakers).values(values).on_conflict_do_nothing())


async def load(
    conn: Connection, name: str, default: BreakerSettings = _DEFAULT
) -> BreakerRow | None:
    """Return the breaker, or None if it has not been used yet."""
    row = (await conn.execute(sa.select(breakers).where(breakers.c.name == name))).one_or_none()
    return None if row is None else _row(row, default)


async def lock(conn: Connection, name: str, default: BreakerSettings = _DEFAULT) -> BreakerRow:
    """Return the breaker, locked until the transaction ends. Raises ``LookupError`` if absent."""
    held = sa.select(breakers, sa.literal_column(IDLE_LIMIT)).where(breakers.c.name == name)
    found = await conn.execute(held.with_for_update())
    row = found.one_or_none()
    if row is None:
        raise LookupError(f"breaker {name} is unknown")
    return _row(row, default)


async def lease_now(conn: Connection) -> datetime:
    """Return the database's time, which all permits and leases use."""
    now: datetime = (await conn.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
    return now


async def save(
    conn: Connection, before: BreakerRow, after: BreakerRow, event: str | None, now: datetime
) -> None:
    """Write a locked breaker and the event that changed it; do nothing if nothing changed."""
    if after == before:
        return
    old, new = before.breaker, after.breaker
    await conn.execute(
        sa.update(breakers)
        .where(breakers.c.name == before.name)
        .values(
            state=new.state,
            failure_count=new.failure_count,
            open_until=new.open_until,
            machine=_MACHINE.dump_python(new, mode="json"),
            settings=after.overrides,
            settings_version=after.settings_version,
            settings_at=after.settings_at,
            changed_at=now,
        )
    )
    if event is not None:
        detail: dict[str, Any] = {}
        if event == SETTINGS_CHANGED:
            detail = {"from": asdict(before.settings), "to": asdict(after.settings)}
        elif new.open_until is not None:
            detail = {"open_until": new.open_until.isoformat()}
        await conn.execute(
            sa.insert(events).values(
                breaker_name=before.name,
                event_type=event,
                occurred_at=now,
                # The count that caused the change: closing has already reset it.
                failure_count=max(new.failure_count, old.failure_count),
                state=new.state,
                previous_state=old.state,
                detail=detail,
            )
        )


async def list_all(
    conn: Connection, defaults: Mapping[str, BreakerSettings]
) -> Sequence[BreakerRow]:
    """Return all breakers in order of name; ``defaults``: the code's settings by name."""
    rows = await conn.execute(sa.select(breakers).order_by(breakers.c.name))
    return [_row(row, defaults.get(row.name, _DEFAULT)) for row in rows]


def _row(row: Any, default: BreakerSettings) -> BreakerRow:
    overrides = row.settings
    known = {name: value for name, value in (overrides or {}).items() if name in _SETTINGS}
    return BreakerRow(
        row.name,
        _MACHINE.validate_python(row.machine),
        replace(default, **known),
        row.settings_version,
        overrides,
        row.settings_at,
    )
