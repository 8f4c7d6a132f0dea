"""A process under test that notifies until it is killed: the real loop, on the given database.

Its clock shortens the loop's sleeps, so a kill meets a process at work and a test waits for none.
"""

import asyncio
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from harness.forks import Fork, enter_fork, preload
from serpline.core.clock import SystemClock
from serpline.notifications.notifier import Notifier
from serpline.store.database import Database

SLEEP_SECONDS_MAX = 0.05
preload(__name__)
# The sender imports it with its first message.
preload("apprise")


class ShortSleeps(SystemClock):
    """The machine's clock, which sleeps ``SLEEP_SECONDS_MAX`` at most."""

    async def sleep(self, seconds: float) -> None:
        """Let at most ``SLEEP_SECONDS_MAX`` pass."""
        await super().sleep(min(seconds, SLEEP_SECONDS_MAX))


def start_notifying(url: str, log: Path) -> Fork:
    """Start a process that notifies."""
    return Fork(_notify_until_killed, {}, log, url)


def _notify_until_killed(
    environment: Mapping[str, str], log: Path, alive: Connection, url: str
) -> None:
    enter_fork(environment, log, alive)
    asyncio.run(_notify(url))


async def _notify(url: str) -> None:
    database = await Database.connect(url, pool_size=4)
    notifier = Notifier(database, ShortSleeps(), lambda _: [], breaker_minutes=10.0)
    await notifier.run(asyncio.Event())
