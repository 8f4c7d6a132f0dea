"""A worker process with scripted phases: ``python -m tests.support.worker_main``.

``app.run_worker`` with the settings of its environment and chunks of ``SCRIPTED_CHUNK_SIZE``. It
says "ready" when everything is loaded and begins with the first line on stdin. SIGTERM ends it in
good order, and so does the end of stdin, which comes when the test's own process dies.
"""

import asyncio
import os
import signal
import sys

from tests.support.scripted import scripted_phases

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
    phases = scripted_phases(int(os.environ["SCRIPTED_CHUNK_SIZE"]))
    await run_worker(load(), stop, phases=phases)


if __name__ == "__main__":
    configure("INFO")
    print("ready", flush=True)
    if os.read(0, 1):
        asyncio.run(main())
    sys.exit(0)
