"""What a row of the scorecard is, and where its campaign runs.

A row names what is done, what passes, and the mechanism that makes it hold: what was seen when that
was switched off. Its campaign returns figures, each with the bound it is judged by, so that the
table says how far from the edge every promise is and not merely that it held.
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

from harness.databases import administered, create_database, drop_database
from harness.figures import Figure

from serpline.store.embedded.server import EmbeddedServer

T = TypeVar("T")


@dataclass(slots=True)
class Context:
    """Where one campaign runs: its seed, its size, its directory, a PostgreSQL for its databases.

    ``full`` is the campaign of ``make chaos``; otherwise it is the shorter one of the tests, with
    the same mechanisms and fewer repetitions.
    """

    seed: int
    full: bool
    directory: Path
    server: EmbeddedServer
    template: str
    _made: int = field(default=0)

    def sized(self, short: T, full: T) -> T:
        """The value for this campaign's size."""
        return full if self.full else short

    def random(self, *what: object) -> random.Random:
        """Chance that depends on the seed and on what it is for, and on nothing else."""
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
        with administered(self.server) as admin:
            # In a thread: other parts of the campaign go on.
            await asyncio.to_thread(create_database, admin, name, self.template)
            try:
                yield self.server.url(name)
            finally:
                await asyncio.to_thread(drop_database, admin, name)


Campaign = Callable[[Context], Awaitable[Sequence[Figure]]]


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``switched_off`` says which mechanism was taken away and what was seen then.

    ``covered_by`` names tests that hold the same promise, as ``FILE`` or ``FILE::TEST``: then
    `make test` leaves the row's short form out.
    """

    number: int
    test: str
    passes: str
    campaign: Campaign
    switched_off: str
    covered_by: tuple[str, ...] = ()


def all_rows() -> list[Row]:
    """Every row there is, by number."""
    package = importlib.import_module("chaos.rows")
    modules = [
        importlib.import_module(f"chaos.rows.{found.name}")
        for found in pkgutil.iter_modules(package.__path__)
        if found.name.startswith("row")
    ]
    return sorted((module.ROW for module in modules), key=lambda row: row.number)
