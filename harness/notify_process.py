"""A process under test that notifies until it is killed: the real loop, on the given database."""

import asyncio
import sys

from serpline.core.clock import SystemClock
from serpline.core.logging import configure
from serpline.notifications.notifier import Notifier
from serpline.store.database import Database


async def notify(url: str) -> None:
    """Notify until the process ends."""
    database = await Database.connect(url, pool_size=4)
    notifier = Notifier(database, SystemClock(), lambda _: [], breaker_minutes=10.0)
    print("ready", flush=True)
    await notifier.run(asyncio.Event())


if __name__ == "__main__":
    configure("INFO")
    asyncio.run(notify(sys.argv[1]))
