"""A worker process for tests: ``app.run_worker`` with the settings of its environment.

It loads everything, says "ready" on stdout and begins with the first line on stdin, so that a
test's successor of a killed worker is at hand at once. It ends in good order on SIGTERM, or when
stdin closes, which happens when the test's own process dies.
"""

import asyncio
import contextlib
import os
import signal
import sys
from typing import NoReturn

from serpline.app import run_worker
from serpline.core.logging import configure
from serpline.core.settings import load


async def main() -> None:
    """Work until told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def heard() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            stop.set()

    loop.add_reader(0, heard)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await run_worker(load(), stop)


def serve() -> NoReturn:
    """Be that process."""
    configure("INFO")
    print("ready", flush=True)
    if os.read(0, 1):
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(main())
    sys.exit(0)


if __name__ == "__main__":
    serve()
