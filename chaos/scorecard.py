"""What a row of the scorecard is, and where its campaign runs.

A row names what is done, what passes, and the mechanism that makes it hold: what was seen when that
was switched off. Its campaign returns figures, each with the bound it is judged by, so that the
table says how far from the edge every promise is and not merely that it held.
"""

import importlib
import math
import operator
import pkgutil
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psycopg
from psycopg import sql

from serpline.store.embedded import EmbeddedServer

T = TypeVar("T")

_RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "≤": operator.le,
    "≥": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value beside its bound. ``relation`` is one of ``=``, ``≤``, ``≥``."""

    name: str
    value: float
    relation: str
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the value keeps to its bound."""
        return _RELATIONS[self.relation](self.value, self.bound)

    @property
    def measured(self) -> bool:
        """False where this machine did not allow it."""
        return not math.isnan(self.value)

    def __str__(self) -> str:
        if not self.measured:
            return f"{self.name}: not measured here"
        return f"{self.name} {self.value:,.6g} ({self.relation} {self.bound:,.6g})"


def none(name: str, value: float) -> Figure:
    """There must be none of it."""
    return Figure(name, value, "=", 0)


def equal(name: str, value: float, bound: float) -> Figure:
    """It must be exactly so much."""
    return Figure(name, value, "=", bound)


def at_most(name: str, value: float, bound: float) -> Figure:
    """It may be so much and no more."""
    return Figure(name, value, "≤", bound)


def at_least(name: str, value: float, bound: float) -> Figure:
    """It must be so much or more."""
    return Figure(name, value, "≥", bound)


def not_measured(name: str) -> Figure:
    """What cannot be measured on this machine: it does not pass."""
    return Figure(name, math.nan, "=", 0)


@dataclass(slots=True)
class Arena:
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
        made = sql.Identifier(name)
        conninfo = self.server.conninfo("postgres")
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as admin:
            template = sql.Identifier(self.template)
            await admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(made, template))
            try:
                yield self.server.url(name)
            finally:
                await admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(made))


Campaign = Callable[[Arena], Awaitable[Sequence[Figure]]]


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``switched_off`` says which mechanism was taken away and what was seen then."""

    number: int
    test: str
    passes: str
    campaign: Campaign
    switched_off: str


def all_rows() -> list[Row]:
    """Every row there is, by number."""
    package = importlib.import_module("chaos.rows")
    modules = [
        importlib.import_module(f"chaos.rows.{found.name}")
        for found in pkgutil.iter_modules(package.__path__)
        if found.name.startswith("row")
    ]
    return sorted((module.ROW for module in modules), key=lambda row: row.number)
