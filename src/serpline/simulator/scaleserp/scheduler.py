"""The account's scheduler: batches with a calendar start by themselves, inactive ones are deleted.

It catches up with the clock before every call and at every instant of a calendar, so it works in
real and in virtual time. A run that ended before now is made at once, with its own times.

Documented (docs.trajectdata.com/scaleserp, "Batches API"): a batch is deleted after two months
without a start. Undocumented, chosen here: a batch that is disabled, empty, running, or too
expensive for the account's credits misses its instant.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Any

from serpline.simulator.config import SimulatorConfig
from serpline.simulator.scaleserp.account import Account
from serpline.simulator.scaleserp.batches import Batch, Refused, Status
from serpline.simulator.scaleserp.calendar import due_between

INACTIVE = timedelta(days=60)
REASON = "scheduled batch queued"
# From one 31st to the next.
_AHEAD = timedelta(days=63)
_YEAR = timedelta(days=366)


class Scheduler:
    """Starts and deletes the batches of an account. ``missed``: (batch id, instant, why)."""

    def __init__(self, config: SimulatorConfig, account: Account) -> None:
        self._config = config
        self._account = account
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.missed: list[tuple[str, datetime, str]] = []
        self.expired: list[str] = []

    def begin(self) -> None:
        """Start batches at their instants until ``close``."""
        self._task = asyncio.create_task(self._run(), name="batch scheduler")

    def check_soon(self) -> None:
        """Handle a new or changed calendar."""
        self._changed.set()

    def catch_up(self) -> None:
        """Do everything that was due up to now, batch by batch."""
        now = self._config.clock.now()
        for batch in list(self._account.batches.values()):
            since, batch.looked_at = batch.looked_at, max(batch.looked_at, now)
            # A jump over more than a year starts the runs of its last year only.
            for instant in self._due(batch, max(since, now - _YEAR), now):
                if self._is_inactive(batch, instant):
                    break
                self._start(batch, instant, now)
            if self._is_inactive(batch, now):
                self._account.delete(batch)
                self.expired.append(batch.id)

    async def close(self) -> None:
        """Stop starting batches."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _due(self, batch: Batch, after: datetime, until: datetime) -> list[datetime]:
        return due_between(batch.fields, self._config.batch_zone, after, until)

    def _is_inactive(self, batch: Batch, at: datetime) -> bool:
        is_idle = batch.status is Status.IDLE
        return is_idle and (batch.last_run or batch.created_at) + INACTIVE <= at

    def _start(self, batch: Batch, instant: datetime, now: datetime) -> None:
        if not batch.fields.get("enabled", True):
            return
        try:
            if instant + self._account.duration(batch) <= now:
                self._account.run_in_the_past(batch, instant, REASON)
            else:
                self._account.start(batch, REASON)
        except Refused as refused:
            self.missed.append((batch.id, instant, str(refused)))

    async def _run(self) -> None:
        clock = self._config.clock
        while True:
            self._changed.clear()
            self.catch_up()
            now = clock.now()
            soon = [
                due[0]
                for batch in self._account.batches.values()
                if (due := self._due(batch, now, now + _AHEAD))
            ]
            waits: list[asyncio.Task[Any]] = [asyncio.create_task(self._changed.wait())]
            if soon:
                seconds = (min(soon) - now).total_seconds()
                waits.append(asyncio.create_task(clock.sleep(seconds)))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
