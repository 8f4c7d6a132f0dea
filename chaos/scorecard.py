"""A row of the scorecard, and the context that its campaign runs in.

A row names its campaign, its pass criterion, and the result with its mechanism switched off. The
campaign returns figures with their bounds, so the table shows the margin of every promise.
"""

import asyncio
import importlib
import pkgutil
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from harness.databases import admin_connection, create_database, drop_database
from harness.figures import Figure

from serpline.store.embedded.server import EmbeddedServer

T = TypeVar("T")


@dataclass(slots=True)
class Context:
    """The context of one campaign: seed, size, directory, and a PostgreSQL for its databases.

    ``full`` is the campaign of ``make chaos``. The short form of the tests has the same mechanisms
    and fewer repetitions.
    """

    seed: int
    full: bool
    directory: Path
    server: EmbeddedServer
    template: str
    _made: int = field(default=0)

    def sized(self, short: T, full: T) -> T:
        """``full`` in a full campaign, else ``short``."""
        return full if self.full else short

    def random(self, *what: object) -> random.Random:
        """A random generator that depends on the seed and ``what`` alone."""
        return random.Random(f"{self.seed} {what}")

    def folder(self, name: str) -> Path:
        """A new directory for one part of the campaign."""
        made = self.directory / name
        made.mkdir(parents=True)
        return made

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The URL of a fresh, migrated database, dropped afterwards."""
        self._made += 1
        name = f"chaos_{self.directory.name}_{self._made}".replace("-", "_").lower()[-60:]
        with admin_connection(self.server) as admin:
            # In a thread, so that other parts of the campaign keep running.
            await asyncio.to_thread(create_database, admin, name, self.template)
            try:
                yield self.server.url(name)
            finally:
                await asyncio.to_thread(drop_database, admin, name)


Campaign = Callable[[Context], Awaitable[Sequence[Figure]]]


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``switched_off`` names the mechanism that was switched off, and the result.

    ``covered_by`` names tests of the same promise, as ``FILE`` or ``FILE::TEST``. ``make test``
    leaves out the short form of such a row.
    """

    number: int
    test: str
    passes: str
    campaign: Campaign
    switched_off: str
    covered_by: tuple[str, ...] = ()


def all_rows() -> list[Row]:
    """All rows, by number."""
    package = importlib.import_module("chaos.rows")
    modules = [
        importlib.import_module(f"chaos.rows.{found.name}")
        for found in pkgutil.iter_modules(package.__path__)
        if found.name.startswith("row")
    ]
    return sorted((module.ROW for module in modules), key=lambda row: row.number)
