"""Stored schedules with ``driver: provider``, a driver for them, and the simulated account."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from harness.inline import TravelClock
from serpline.app.housekeeping import create_provider_driver
from serpline.app.tools import open_tools
from serpline.core.settings import load
from serpline.imports.reading import parse_keywords
from serpline.scheduling.provider_driver import ProviderDriver
from serpline.scheduling.spec import ScheduleSpec
from serpline.simulator.config import SimulatorConfig
from serpline.simulator.scaleserp.batches import Batch
from serpline.simulator.server import Simulator
from serpline.store import projects
from serpline.store.database import Database

SPEC: Mapping[str, Any] = {
    "content_type": "news",
    "frequency": "daily",
    "time_of_day": "09:00",
    "driver": "provider",
}


async def store_schedule(
    db: Database,
    name: str,
    specs: Sequence[Mapping[str, Any]],
    *,
    version: int = 1,
    status: str = "active",
) -> None:
    """Store a version of a schedule and make it the newest."""
    written = json.dumps([ScheduleSpec.from_json(spec).to_json() for spec in specs])
    async with db.transaction() as conn:
        for statement in (
            "INSERT INTO schedules (id, version, status, decided_until)"
            " VALUES (:id, :version, :status, now()) ON CONFLICT (id) DO UPDATE"
            " SET version = excluded.version, status = excluded.status",
            "INSERT INTO schedule_versions (schedule_id, version, specs)"
            " VALUES (:id, :version, CAST(:specs AS jsonb)) ON CONFLICT DO NOTHING",
        ):
            values = {"id": name, "version": version, "status": status, "specs": written}
            await conn.execute(sa.text(statement), values)


async def store_keywords(db: Database, lines: str) -> None:
    """Import keywords: lines of ``keyword,market``."""
    async with db.transaction() as conn:
        await projects.ensure_builtin_markets(conn)
        rows = parse_keywords(f"keyword,market\n{lines}".encode()).require_clean().rows
        await projects.import_keywords(conn, rows)


@dataclass
class Account:
    """A driver, and the simulated provider as its auditor."""

    db: Database
    clock: TravelClock
    sim: Simulator
    driver: ProviderDriver

    async def drive(self) -> None:
        """Make every batch due and run the driver."""
        async with self.db.transaction() as conn:
            await conn.execute(sa.text("UPDATE provider_schedules SET next_check_at = now()"))
        await self.driver.run()

    def batches(self) -> dict[str, Batch]:
        """The batches at the provider by the end of their names: content type and part."""
        found = self.sim.scaleserp.account.batches.values()
        return {" ".join(batch.name.split()[-2:]): batch for batch in found}

    @property
    def created(self) -> int:
        """How many batches were ever created."""
        return self.sim.scaleserp.account.created

    async def events(self) -> list[str]:
        """The types of all events, in order."""
        async with self.db.transaction() as conn:
            rows = await conn.execute(sa.text("SELECT event_type FROM pipeline_events ORDER BY id"))
            return list(rows.scalars())

    async def rows(self) -> list[dict[str, Any]]:
        """The stored batches."""
        async with self.db.transaction() as conn:
            rows = await conn.execute(
                sa.text("SELECT * FROM provider_schedules ORDER BY content_type, part")
            )
            return [dict(row) for row in rows.mappings()]


@asynccontextmanager
async def open_account(db: Database, **settings: Any) -> AsyncIterator[Account]:
    """A driver and a simulator that share a clock which the test sets ahead.

    It is ten o'clock: no start of ``SPEC`` is near.
    """
    clock = TravelClock()
    now = clock.now()
    ten = now.replace(hour=10, minute=0, second=0, microsecond=0) + timedelta(days=1)
    clock.ahead_seconds = (ten - now).total_seconds()
    async with Simulator(SimulatorConfig(seed=3, clock=clock)) as sim:
        loaded = load(
            scaleserp_base_url=sim.environment()["SERPLINE_SCALESERP_BASE_URL"],
            scaleserp_api_key=sim.config.key("scaleserp"),
            provider_rates={"scaleserp": 500},
            **settings,
        )
        async with open_tools(loaded, db, clock) as tools:
            yield Account(db, clock, sim, create_provider_driver(loaded, db, tools))
            assert sim.gateway.crashes == []
