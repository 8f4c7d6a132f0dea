"""Destinations as a person sees them: added, replaced, listed, removed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from serpline.store.database import Connection

_LAST_EVENT = "coalesce((SELECT max(id) FROM pipeline_events), 0)"


@dataclass(frozen=True, slots=True)
class DestinationRow:
    """A destination without its URL, except ``service``: the URL's scheme."""

    name: str
    service: str
    events: list[str] | None
    schedules: list[str] | None
    since_id: int
    created_at: datetime
    pending: int
    failed: int
    last_sent_at: datetime | None
    next_message_at: datetime
    attempts: int
    failing_since: datetime | None
    last_error: str | None


async def add(
    conn: Connection,
    name: str,
    url: str,
    events: Sequence[str] | None,
    schedules: Sequence[str] | None,
    *,
    replace: bool = False,
) -> bool:
    """Insert a destination, which hears of later events; False if the name exists.

    ``replace``: give an existing one this URL and these rules. What it waits for is sent there, at
    once.
    """
    changes = (
        "DO UPDATE SET url = excluded.url, events = excluded.events,"
        " schedules = excluded.schedules, next_message_at = now(), delay_seconds = 0,"
        " attempts = 0, failing_since = NULL, last_error = NULL, claim = d.claim + 1"
    )
    rows = await conn.execute(
        text(
            "INSERT INTO notification_destinations AS d (name, url, events, schedules, since_id)"
            " VALUES (:name, :url, CAST(:events AS text[]), CAST(:schedules AS text[]),"
            f" {_LAST_EVENT}) ON CONFLICT (name) {changes if replace else 'DO NOTHING'}"
            " RETURNING name"
        ),
        {
            "name": name,
            "url": url,
            "events": None if events is None else list(events),
            "schedules": None if schedules is None else list(schedules),
        },
    )
    return rows.first() is not None


async def remove(conn: Connection, name: str) -> bool:
    """Delete a destination with its deliveries; False if there is none of that name."""
    rows = await conn.execute(
        text("DELETE FROM notification_destinations WHERE name = :name RETURNING name"),
        {"name": name},
    )
    return rows.first() is not None


async def url_of(conn: Connection, name: str) -> str | None:
    """Return a destination's URL, which is a secret."""
    rows = await conn.execute(
        text("SELECT url FROM notification_destinations WHERE name = :name"), {"name": name}
    )
    url: str | None = rows.scalar_one_or_none()
    return url


@dataclass(frozen=True, slots=True)
class RuleRow:
    """What a destination wants to hear."""

    name: str
    events: list[str] | None
    schedules: list[str] | None
    since_id: int


async def rules(conn: Connection) -> list[RuleRow]:
    """Return what every destination wants to hear."""
    rows = await conn.execute(
        text(
            "SELECT name, events, schedules, since_id FROM notification_destinations ORDER BY name"
        )
    )
    return [RuleRow(**row) for row in rows.mappings()]


async def unknown_schedules(conn: Connection, names: Sequence[str]) -> list[str]:
    """Return those of ``names`` that no schedule has."""
    rows = await conn.execute(
        text(
            "SELECT n FROM unnest(CAST(:names AS text[])) AS n WHERE NOT EXISTS"
            " (SELECT FROM schedules s WHERE s.id = n AND s.status <> 'deleted')"
        ),
        {"names": list(names)},
    )
    return list(rows.scalars())


async def missing(conn: Connection) -> list[tuple[str, str]]:
    """Return the destinations that schedules name (``notify``) and that do not exist.

    Each with one of these schedules.
    """
    rows = await conn.execute(
        text(
            "SELECT n.name, min(s.id) AS schedule FROM schedules s JOIN schedule_versions v"
            " ON v.schedule_id = s.id AND v.version = s.version"
            " CROSS JOIN LATERAL (SELECT jsonb_path_query(v.specs, '$[*].notify[*]') #>> '{}'"
            " AS name) n WHERE s.status <> 'deleted' AND NOT EXISTS"
            " (SELECT FROM notification_destinations d WHERE d.name = n.name)"
            " GROUP BY n.name ORDER BY n.name"
        )
    )
    return [(row.name, row.schedule) for row in rows]


async def list_all(conn: Connection) -> list[DestinationRow]:
    """Return all destinations by name, with how many deliveries wait or were given up."""
    rows = await conn.execute(
        text(
            "SELECT d.name, lower(split_part(d.url, '://', 1)) AS service, d.events, d.schedules,"
            " d.since_id, d.created_at, coalesce(n.pending, 0) AS pending,"
            " coalesce(n.failed, 0) AS failed, d.last_sent_at, d.next_message_at, d.attempts,"
            " d.failing_since, d.last_error FROM notification_destinations d"
            " LEFT JOIN (SELECT destination, count(*) FILTER (WHERE state = 'pending') AS pending,"
            " count(*) FILTER (WHERE state = 'failed') AS failed FROM notification_deliveries"
            " GROUP BY destination) n ON n.destination = d.name ORDER BY d.name"
        )
    )
    return [DestinationRow(**row) for row in rows.mappings()]
