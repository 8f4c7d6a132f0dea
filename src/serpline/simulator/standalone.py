"""The simulator as a process of its own."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path

from serpline.domain.errors import UserError
from serpline.simulator.config import SimulatorConfig
from serpline.simulator.server import Simulator


def serve(
    config: SimulatorConfig,
    *,
    started: Callable[[dict[str, str]], None] | None = None,
    environment_file: Path | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM (blocking).

    ``started`` is called once with the ``SERPLINE_*`` variables. ``environment_file`` gets them as
    one JSON object; the file is renamed into place when complete. Raises ``UserError`` if a port is
    taken.
    """
    asyncio.run(_serve(config, started, environment_file))


async def _serve(
    config: SimulatorConfig,
    started: Callable[[dict[str, str]], None] | None,
    environment_file: Path | None,
) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        async with Simulator(config) as simulator:
            variables = simulator.environment()
            if environment_file is not None:
                draft = environment_file.with_suffix(".new")
                await asyncio.to_thread(draft.write_text, json.dumps(variables, indent=1))
                draft.rename(environment_file)
            if started is not None:
                started(variables)
            await stopped.wait()
    except OSError as error:
        raise UserError(f"simulator on {config.host}:{config.port}: {error.strerror}") from error
