"""Destinations as commands use them: add, remove, list, test. No method returns a URL."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from pydantic import SecretStr

from serpline.config.model import read_value
from serpline.config.values import NAME
from serpline.core.ids import new_id
from serpline.domain.errors import UserError
from serpline.domain.text import is_storable
from serpline.notifications import kinds
from serpline.notifications.digest import compose
from serpline.notifications.note import Level, Note, quoted
from serpline.notifications.sender import Answer, Sender, check_url
from serpline.store.database import Database
from serpline.store.notifications import deliveries, destinations, messages
from serpline.store.notifications.destinations import DestinationRow

URL_CHARS_MAX: Final = 4000
LOG_ROWS_MAX: Final = 1000


class NotificationService:
    """Manage destinations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        name: str,
        url: SecretStr,
        *,
        events: Sequence[str] | None = None,
        schedules: Sequence[str] | None = None,
        replace: bool = False,
    ) -> list[str]:
        """Add a destination, or replace its URL and rules; return its schedules that do not exist.

        ``events`` None: the usual kinds. ``schedules`` None: of everything. Raises ``UserError``
        without any part of the URL.
        """
        if "://" in name:
            raise UserError("NAME must be a name: a URL comes after it, or on stdin")
        name = read_value(NAME, "NAME", name)
        if schedules is not None:
            schedules = [read_value(NAME, "--schedule", each) for each in schedules]
        chosen = kinds.chosen(events)
        secret = url.get_secret_value()
        if not is_storable(secret) or len(secret) > URL_CHARS_MAX:
            raise UserError(
                f"URL of {name!r}: must be UTF-8, of at most {URL_CHARS_MAX} characters"
            )
        check_url(url)
        async with self._database.transaction() as conn:
            is_added = await destinations.add(
                conn, name, secret, chosen, schedules, replace=replace
            )
            unknown = await destinations.unknown_schedules(conn, schedules or ())
        if not is_added:
            raise UserError(f"destination {name!r} exists: --replace gives it this URL and rules")
        return unknown

    async def remove(self, name: str) -> None:
        """Remove a destination and what waits for it. Raises ``UserError`` if there is none."""
        async with self._database.transaction() as conn:
            is_removed = await destinations.remove(conn, name)
        if not is_removed:
            raise _unknown(name)

    async def list_all(self) -> list[DestinationRow]:
        """Return every destination with its rules and its state."""
        async with self._database.transaction() as conn:
            return await destinations.list_all(conn)

    async def log(
        self, destination: str | None = None, message_id: UUID | None = None, limit: int = 50
    ) -> list[dict[str, Any]]:
        """Return the newest deliveries, up to ``limit``, newest first.

        Raises ``UserError`` if there is no destination of this name.
        """
        async with self._database.transaction() as conn:
            if destination is not None and await destinations.url_of(conn, destination) is None:
                raise _unknown(destination)
            return await deliveries.log(
                conn, destination=destination, message_id=message_id, limit=limit
            )

    async def test(self, name: str) -> Answer:
        """Send a test message now. If it is accepted, what waits for the destination is due."""
        async with self._database.transaction() as conn:
            url = await destinations.url_of(conn, name)
        if url is None:
            raise _unknown(name)
        note = Note(
            Level.INFO,
            "a test",
            "tests",
            name,
            ("Somebody tests this destination.",),
            "Nothing has happened.",
            f"serpline notifications test {quoted(name)}",
        )
        id_ = new_id()
        answer = await Sender().send(
            name, SecretStr(url), lambda room: compose(id_, [note], body_chars_max=room)
        )
        if answer.is_sent:
            async with self._database.transaction() as conn:
                await messages.answered(conn, name)
        return answer


def _unknown(name: str) -> UserError:
    if "://" in name:
        return UserError("NAME must be a destination's name, not its URL")
    return UserError(f"destination {name!r}: there is none; see 'serpline notifications list'")
