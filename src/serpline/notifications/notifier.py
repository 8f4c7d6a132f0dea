"""The loop of a process that notifies: read what happened, then send what waits.

Promise: every incident that a destination wants to hear of is in a message that the destination
accepted, at least once, whatever is killed; or ``notifications list`` reports the message as given
up after about a day of attempts. A message that is sent twice, because its sender died or heard no
answer, has the same id. A destination that fails delays no other, and nothing else of the process:
messages are sent in threads, outside of every transaction.

Limits: at most ``SENDS_MAX`` messages are on their way per process. When nothing happens, a process
looks every ``IDLE_SECONDS``, with one statement; so people hear of an event that much later.
"""

import asyncio
from typing import Any, Final

from pydantic import SecretStr

from serpline.core.clock import Clock
from serpline.core.logging import described, get
from serpline.notifications import pace
from serpline.notifications.digest import Message, compose
from serpline.notifications.levels import Scopes
from serpline.notifications.note import Note
from serpline.notifications.sender import Answer, Sender
from serpline.notifications.tail import LEVELS_SECONDS, Tail
from serpline.store.database import Database, DatabaseUnavailable, TransactionConflict
from serpline.store.notifications import messages, watch
from serpline.store.notifications.messages import Claimed

log = get(__name__)

IDLE_SECONDS: Final = 15.0
SENDS_MAX: Final = 8
# A sender that has not ended after its time and this is gone; another one sends again.
LEASE_SLACK_SECONDS: Final = 30.0
# How long the end of the process waits for messages on their way.
ENDING_SECONDS: Final = 5.0
# Portions of events until messages are sent.
_PORTIONS_MAX: Final = 20
PAUSE_SECONDS_MIN: Final = 0.05


class Notifier:
    """Notify for one process."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        scopes: Scopes,
        *,
        breaker_minutes: float,
        sender: Sender | None = None,
    ) -> None:
        """``scopes`` gives the budgets of the current days and months."""
        self._database = database
        self._clock = clock
        self._tail = Tail(database, clock, scopes, breaker_minutes)
        self._sender = sender or Sender()
        self._sends: set[asyncio.Task[None]] = set()
        self._sent = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Notify until ``stop`` is set. No failure ends it."""
        is_registered = False
        while not stop.is_set():
            seconds = IDLE_SECONDS
            self._sent.clear()
            try:
                if not is_registered:
                    await self.register()
                    is_registered = True
                seconds = await self.work()
            except (DatabaseUnavailable, TransactionConflict) as error:
                log.warning("notify.waits", action="notify.waits", error=str(error))
            except Exception as error:
                # The same events would raise again at once: others are notified meanwhile.
                log.exception("notify.failed", action="notify.failed", error=described(error))
            await self._sleep(seconds, stop)
        if self._sends:
            await asyncio.wait(self._sends, timeout=ENDING_SECONDS)
        for task in self._sends:
            task.cancel()

    async def register(self) -> None:
        """Begin the tail at the newest event, if this database has never been tailed."""
        async with self._database.statement() as conn:
            await watch.register(conn)

    async def work(self) -> float:
        """Read what happened and begin to send what is due; return the seconds until more is."""
        async with self._database.statement() as conn:
            due = await watch.due(conn, LEVELS_SECONDS)
        if due.has_events or due.has_levels:
            levels = due.has_levels
            for _ in range(_PORTIONS_MAX):
                if not await self._tail.read(levels=levels):
                    break
                levels = False
            async with self._database.statement() as conn:
                due = await watch.due(conn, LEVELS_SECONDS)
        if due.send_seconds is not None and due.send_seconds <= 0:
            while len(self._sends) < SENDS_MAX and await self._begin():
                pass
            # What is on its way wakes this loop when it ends.
            return IDLE_SECONDS
        return min(IDLE_SECONDS, due.send_seconds or IDLE_SECONDS)

    async def _sleep(self, seconds: float, stop: asyncio.Event) -> None:
        waits = (stop.wait(), self._sent.wait(), self._clock.sleep(max(seconds, PAUSE_SECONDS_MIN)))
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(wait) for wait in waits]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()

    async def _begin(self) -> bool:
        """Claim a message and begin to send it; False if none is due."""
        lease_seconds = self._sender.timeout_seconds + LEASE_SLACK_SECONDS
        async with self._database.transaction() as conn:
            claimed = await messages.claim(conn, lease_seconds)
        if claimed is None:
            return False
        task = asyncio.create_task(self._send(claimed))
        self._sends.add(task)
        task.add_done_callback(self._end)
        return True

    def _end(self, task: asyncio.Task[None]) -> None:
        self._sends.discard(task)
        self._sent.set()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # The lease ends, and the message is sent again.
            log.warning("notify.unsettled", action="notify.unsettled", error=described(error))

    async def _send(self, claimed: Claimed) -> None:
        notes = [Note.from_json(stored) for stored in claimed.notes]

        def write(body_chars_max: int) -> Message:
            return compose(claimed.message_id, notes, body_chars_max=body_chars_max)

        answer = await self._sender.send(claimed.destination, SecretStr(claimed.url), write)
        async with self._database.transaction() as conn:
            if answer.is_sent:
                quiet_seconds = claimed.quiet_seconds or 0.0
                rest_seconds = pace.rest_seconds(claimed.rest_seconds, quiet_seconds)
                await messages.sent(conn, claimed, rest_seconds)
            else:
                give_up = claimed.sent_before + 1 >= pace.MESSAGE_ATTEMPTS_MAX
                wait_seconds = pace.retry_seconds(claimed.attempts + 1)
                await messages.failed(conn, claimed, answer.words, wait_seconds, give_up=give_up)
        self._log(claimed, answer)

    def _log(self, claimed: Claimed, answer: Answer) -> None:
        facts = {
            "destination": claimed.destination,
            "message": str(claimed.message_id),
            "incidents": len(claimed.notes),
        }
        if answer.is_sent:
            log.info("notify.sent", action="notify.sent", **facts)
        else:
            log.warning("notify.refused", action="notify.refused", error=answer.words, **facts)
