"""Messages: a destination is claimed, its pending deliveries become one message, which ends.

A message keeps its id and its deliveries until it is sent or given up. So a message that is sent
again, after a failure or a death, says the same under the same id. A claim is a wait: the
destination is due again when its sender should long have ended. All times are the database's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.core.ids import derived_id
from serpline.store.database import IDLE_LIMIT, Connection

# A message with more would be hard to read, and to write.
DELIVERIES_MAX = 1000
_DUE = (
    "FROM notification_destinations d WHERE d.next_message_at <= now() AND EXISTS (SELECT FROM"
    " notification_deliveries p WHERE p.destination = d.name AND p.state = 'pending')"
)
_WAIT = "next_message_at = now() + make_interval(secs => :wait), delay_seconds = :wait"
# Writes of a sender whose claim was taken over change nothing.
_MINE = "name = :name AND claim = :claim RETURNING name"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A destination's message. ``attempts``: failures in a row before this one.

    ``sent_before``: how often this message was tried. ``quiet_seconds``: since the destination's
    last rest ended; None if it never got a message.
    """

    destination: str
    url: str
    claim: int
    message_id: UUID
    notes: list[Mapping[str, Any]]
    attempts: int
    sent_before: int
    rest_seconds: float
    quiet_seconds: float | None


async def claim(conn: Connection, lease_seconds: float) -> Claimed | None:
    """Claim the destination that has been due for longest, with its message; None if none is."""
    rows = await conn.execute(
        text(
            f"WITH due AS (SELECT d.name, d.last_sent_at {_DUE} ORDER BY d.next_message_at LIMIT 1"
            " FOR UPDATE OF d SKIP LOCKED)"
            f" UPDATE notification_destinations d SET claim = d.claim + 1, {_WAIT} FROM due"
            " WHERE d.name = due.name RETURNING d.name, d.url, d.claim, d.message_id, d.attempts,"
            " d.rest_seconds, extract(epoch FROM now() - d.last_sent_at)::float AS since_sent,"
            f" {IDLE_LIMIT}"
        ),
        {"wait": lease_seconds},
    )
    row = rows.first()
    if row is None:
        return None
    message_id = row.message_id or await _begin(conn, row.name)
    if message_id is None:  # another sender was faster
        return None
    told = await conn.execute(
        text(
            "UPDATE notification_deliveries SET attempts = attempts + 1"
            " WHERE message_id = :message AND state = 'pending' RETURNING no, note, attempts"
        ),
        {"message": message_id},
    )
    found = sorted(told.all(), key=lambda one: one.no)
    since: float | None = row.since_sent
    return Claimed(
        row.name,
        row.url,
        row.claim,
        message_id,
        [one.note for one in found],
        row.attempts,
        min(one.attempts for one in found) - 1,
        row.rest_seconds,
        None if since is None else since - row.rest_seconds,
    )


async def _begin(conn: Connection, name: str) -> UUID | None:
    """Begin a message about what is pending; its id derives from the first of them."""
    rows = await conn.execute(
        text(
            "SELECT no, id FROM notification_deliveries WHERE destination = :name"
            " AND state = 'pending' ORDER BY no LIMIT :limit"
        ),
        {"name": name, "limit": DELIVERIES_MAX},
    )
    pending = rows.all()
    if not pending:
        return None
    message_id = derived_id("message", str(pending[0].id))
    await conn.execute(
        text("UPDATE notification_deliveries SET message_id = :message WHERE no = ANY(:nos)"),
        {"message": message_id, "nos": [one.no for one in pending]},
    )
    await conn.execute(
        text("UPDATE notification_destinations SET message_id = :message WHERE name = :name"),
        {"message": message_id, "name": name},
    )
    return message_id


async def sent(conn: Connection, claimed: Claimed, rest_seconds: float) -> bool:
    """End a message that was accepted; False if another sender has it."""
    rows = await conn.execute(
        text(
            f"UPDATE notification_destinations SET {_WAIT}, rest_seconds = :wait,"
            " last_sent_at = now(), message_id = NULL, attempts = 0, failing_since = NULL,"
            f" last_error = NULL WHERE {_MINE}"
        ),
        {"wait": rest_seconds, "name": claimed.destination, "claim": claimed.claim},
    )
    if rows.first() is None:
        return False
    await _settle(conn, claimed.message_id, "sent")
    return True


async def failed(
    conn: Connection, claimed: Claimed, error: str, wait_seconds: float, *, give_up: bool
) -> bool:
    """Record a failed attempt; False if another sender has the message.

    ``give_up``: the message is never tried again.
    """
    rows = await conn.execute(
        text(
            f"UPDATE notification_destinations SET {_WAIT}, attempts = attempts + 1,"
            " failing_since = coalesce(failing_since, now()), last_error = :error,"
            f" message_id = CASE WHEN :give_up THEN NULL ELSE message_id END WHERE {_MINE}"
        ),
        {
            "wait": wait_seconds,
            "error": error,
            "give_up": give_up,
            "name": claimed.destination,
            "claim": claimed.claim,
        },
    )
    if rows.first() is None:
        return False
    if give_up:
        await _settle(conn, claimed.message_id, "failed")
    return True


async def answered(conn: Connection, name: str) -> None:
    """A test message was accepted: forget the failures, and send what waits at once."""
    await conn.execute(
        text(
            "UPDATE notification_destinations SET attempts = 0, failing_since = NULL,"
            " last_error = NULL, next_message_at = now(), delay_seconds = 0"
            " WHERE name = :name AND failing_since IS NOT NULL"
        ),
        {"name": name},
    )


async def _settle(conn: Connection, message_id: UUID, state: str) -> None:
    await conn.execute(
        text(
            "UPDATE notification_deliveries SET state = :state, settled_at = now()"
            " WHERE message_id = :message AND state = 'pending'"
        ),
        {"state": state, "message": message_id},
    )
