"""The environment of a measure: its own PostgreSQL, fresh databases on it, and processes."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from harness.databases import admin_connection, fresh_database

from serpline.store.embedded.server import EmbeddedServer

ROOT = Path(__file__).parent.parent
PEERS_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
PROCESS_SECONDS_MAX = 1800.0
ENDING_SECONDS_MAX = 60.0
# Keep bytecode, so that a process starts as fast as an installed program.
_ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


@dataclass(slots=True)
class Place:
    """``scale`` multiplies every count; the bounds hold for 1. ``notes`` go with the figures."""

    server: EmbeddedServer
    template: str
    directory: Path
    scale: float
    notes: list[str] = field(default_factory=list)

    def sized(self, full: int) -> int:
        """A count, scaled."""
        return max(1, round(full * self.scale))

    @contextmanager
    def fresh_database(self, *, migrated: bool = True) -> Iterator[str]:
        """The name of a new database, dropped afterwards, so no measure sees another's rows."""
        with fresh_database(self.server, self.template if migrated else "template1") as name:
            yield name

    async def run_process(self, *command: str | Path | float) -> dict[str, float]:
        """Run a process to its end; returns the JSON object that it printed."""
        process = await asyncio.create_subprocess_exec(
            *map(str, command), stdout=subprocess.PIPE, cwd=ROOT
        )
        async with asyncio.timeout(PROCESS_SECONDS_MAX):
            out, _ = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"{command[1:]} ended with {process.returncode}")
        found: dict[str, float] = json.loads(out)
        return found

    async def walk_items(self, count: int) -> dict[str, float]:
        """``{"seconds", "resident_mb"}`` of a fresh process that settles ``count`` items."""
        with self.fresh_database() as name:
            url = self.server.url(name)
            return await self.run_process(sys.executable, "-m", "bench.walk", url, count)

    @asynccontextmanager
    async def process(
        self, module: str, *arguments: object, **environment: str
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """A process with pipes, killed at the end. Its log stays in the directory."""
        log = self.directory / f"{module}-{uuid4().hex[:8]}.log"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", module, *map(str, arguments)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env={**_ENVIRONMENT, **environment},
            )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    @asynccontextmanager
    async def processes(
        self, module: str, count: int, environment: Mapping[str, str]
    ) -> AsyncIterator[list[asyncio.subprocess.Process]]:
        """``count`` such processes."""
        async with AsyncExitStack() as stack:
            made = [self.process(module, **environment) for _ in range(count)]
            yield [await stack.enter_async_context(each) for each in made]

    async def end_worker(self, worker: asyncio.subprocess.Process) -> dict[str, float]:
        """Shut a worker of ours down; returns the JSON object that it printed."""
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.close()
        async with asyncio.timeout(ENDING_SECONDS_MAX):
            found: dict[str, float] = json.loads(await worker.stdout.read())
        return found

    def worker_environment(self, name: str, **settings: Any) -> Mapping[str, str]:
        """The environment of a worker process of ours on the database ``name``."""
        values = {"database_url": self.server.url(name), "log_level": "WARNING", **settings}
        return {
            f"SERPLINE_{key.upper()}": value if isinstance(value, str) else json.dumps(value)
            for key, value in values.items()
        }

    def admin(self, statement: str) -> None:
        """Execute a statement as the server's administrator."""
        with admin_connection(self.server) as admin:
            admin.execute(statement.encode())
