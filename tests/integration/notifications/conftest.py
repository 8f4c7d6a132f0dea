"""What tests of notifications share: receivers, destinations, and time that passes at once."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from harness.receiver import Receiver, open_receiver
from harness.waiting import until
from pydantic import SecretStr

from serpline.core.clock import SystemClock
from serpline.notifications.notifier import Notifier
from serpline.notifications.sender import Sender
from serpline.notifications.service import NotificationService
from serpline.store.database import Database
from serpline.store.runs import events
from serpline.store.runs.events import Event

BREAKER_MINUTES = 10.0


class Notifying:
    """A notifier whose loop the test turns."""

    def __init__(self, database: Database, *, send_seconds: float = 30.0) -> None:
        self.database = database
        self.service = NotificationService(database)
        self.scopes: list[str] = []
        self.notifier = Notifier(
            database,
            SystemClock(),
            lambda _: self.scopes,
            breaker_minutes=BREAKER_MINUTES,
            sender=Sender(send_seconds),
        )

    async def add(self, name: str, url: str, **rules: Any) -> None:
        await self.notifier.register()
        await self.service.add(name, SecretStr(url), **rules)

    async def happen(self, *happened: Event) -> None:
        async with self.database.transaction() as conn:
            await events.append(conn, happened)

    async def fail_runs(self, runs: list[UUID]) -> None:
        await self.happen(*(Event("run.failed", run, detail={"error": "x"}) for run in runs))

    async def turn(self) -> None:
        """Read what happened, and send what is due to its end."""
        await self.notifier.work()
        await self.sent()

    async def sent(self) -> None:
        async def is_idle() -> bool:
            return not self.notifier._sends

        await until(is_idle, "messages on their way")

    async def query(self, sql: str, **values: Any) -> list[Any]:
        async with self.database.transaction() as conn:
            found = await conn.execute(sa.text(sql), values)
            return list(found.all()) if found.returns_rows else []

    async def pass_time(self, seconds: float) -> None:
        """Let time pass for the destinations' waits, and for the levels."""
        await self.query(
            "UPDATE notification_destinations SET next_message_at = next_message_at - :s *"
            " interval '1 second', last_sent_at = last_sent_at - :s * interval '1 second'",
            s=seconds,
        )
        await self.query(
            "UPDATE housekeeping SET state = state || jsonb_build_object('levels_at',"
            " (state ->> 'levels_at')::timestamptz - :s * interval '1 second')"
            " WHERE task = 'notifications' AND state ? 'levels_at'",
            s=seconds,
        )


@pytest.fixture
def notifying(db: Database) -> Notifying:
    return Notifying(db)


@pytest.fixture
def receivers() -> Iterator[Callable[[], Receiver]]:
    """Opens receivers, and closes them after the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(open_receiver())


@pytest.fixture
def receiver(receivers: Callable[[], Receiver]) -> Receiver:
    return receivers()
