"""Stored schedules over a real database, with a clock that the test sets."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from serpline.core.clock import SystemClock
from serpline.domain.names import PipelineMode
from serpline.domain.states import RunStatus
from serpline.imports.reading import parse_keywords
from serpline.pipeline.service import PipelineService
from serpline.scheduling import merging
from serpline.scheduling.service import SchedulingService
from serpline.scheduling.slot_runs import config_of
from serpline.scheduling.spec import ScheduleSpec
from serpline.scheduling.tick import ScheduleTick
from serpline.store import projects
from serpline.store.database import Database

MORNING = datetime(2026, 3, 2, 8, tzinfo=UTC)
KEYWORDS = b"keyword,market\nmoka pot,US\ncafe,US\nespresso,GB\n"


class SetClock(SystemClock):
    """A clock that stands still until the test sets it."""

    def __init__(self, at: datetime = MORNING) -> None:
        self.at = at

    def now(self) -> datetime:
        """The instant that the test set."""
        return self.at


def spec(**given: Any) -> ScheduleSpec:
    """News every day at nine, or as given."""
    usual = {"content_type": "news", "frequency": "daily", "time_of_day": "09:00"}
    if "content_types" in given:
        usual.pop("content_type")
    if given.get("frequency", "daily") not in ("daily", "weekly", "monthly", "quarterly"):
        usual.pop("time_of_day")
    return ScheduleSpec.from_json({**usual, **given})


async def start_scheduled(
    pipeline: PipelineService, name: str, specs: Sequence[ScheduleSpec], instant: datetime
) -> list[UUID]:
    """Start the runs that a schedule has at an instant, without storing it; return their ids."""
    due = merging.due_at(specs, instant)
    assert due is not None
    configs = [config_of(name, specs, followed, instant, instant) for followed in due.runs]
    return [await pipeline.start(config, PipelineMode.SCHEDULED) for config in configs]


@dataclass
class Schedules:
    """The scheduling service and the tick of one process."""

    database: Database
    clock: SetClock = field(default_factory=SetClock)
    runs_max: int = 100

    def __post_init__(self) -> None:
        """Make the service and the tick."""
        pipeline = PipelineService(self.database, self.clock)
        self.service = SchedulingService(self.database, pipeline, self.clock)
        self.tick = ScheduleTick(self.database, pipeline, self.clock, runs_max=self.runs_max)

    async def import_keywords(self) -> None:
        """Give the project three keywords."""
        async with self.database.transaction() as conn:
            await projects.ensure_builtin_markets(conn)
            await projects.import_keywords(conn, parse_keywords(KEYWORDS).rows)

    async def at(self, instant: datetime) -> float | None:
        """Set the clock and tick."""
        self.clock.at = instant
        return await self.tick.run()

    async def after(self, **given: float) -> float | None:
        """Let this much time pass (as ``timedelta``), and tick."""
        return await self.at(self.clock.at + timedelta(**given))

    async def query(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        """The rows of a statement."""
        async with self.database.transaction() as conn:
            rows = await conn.execute(sa.text(sql), values)
            return [dict(row) for row in rows.mappings()] if rows.returns_rows else []

    async def slots(self, name: str = "s") -> list[dict[str, Any]]:
        """All slots of a schedule, oldest first."""
        return (await self.service.slots(name, limit=10_000))[::-1]

    async def outcomes(self, name: str = "s") -> list[tuple[str, str, str]]:
        """Instant, outcome and code of each slot, oldest first."""
        return [
            (f"{row['scheduled_for']:%m-%d %H:%M}", row["outcome"], row["reason_code"])
            for row in await self.slots(name)
        ]

    async def runs(self) -> list[dict[str, Any]]:
        """All runs by scheduled time."""
        return await self.query("SELECT * FROM pipeline_executions ORDER BY scheduled_for, id")

    async def events(self, kind: str = "%") -> list[dict[str, Any]]:
        """Events of a kind (a pattern), oldest first, with their detail."""
        return await self.query(
            "SELECT event_type, run_id, content_type, detail FROM pipeline_events"
            " WHERE event_type LIKE :kind ORDER BY id",
            kind=kind,
        )

    async def collect(self, run_id: UUID, kind: str, at: datetime) -> None:
        """Give a run one search of a content type, made at this instant."""
        await self.query(
            "INSERT INTO serps (run_id, content_type, keyword_id, market, device, collected_at,"
            " results, source) VALUES (:run, :kind, 1, 'US', 'desktop', :at, 0, 'batch')",
            run=run_id,
            kind=kind,
            at=at,
        )

    async def end_lanes(self, run_id: UUID, kind: str, status: str = "completed") -> None:
        """End the lanes of a content type of a run."""
        await self.query(
            "UPDATE pipeline_phase_status SET status = :status, completed_at = :now"
            " WHERE pipeline_execution_id = :run AND content_type = :kind",
            run=run_id,
            kind=kind,
            status=status,
            now=self.clock.at,
        )

    async def end_runs(
        self,
        status: RunStatus = RunStatus.COMPLETED,
        *,
        failed: Sequence[str] = (),
        run_id: UUID | None = None,
    ) -> None:
        """End the runs in progress; ``failed``: content types without figures.

        Lanes of a cancelled run stay as they are.
        """
        await self.query(
            "UPDATE pipeline_phase_status SET status = CASE WHEN content_type = ANY(:failed)"
            " OR :run_failed THEN 'failed' ELSE 'completed' END FROM pipeline_executions e"
            " WHERE e.id = pipeline_execution_id AND e.status IN ('pending', 'running')"
            " AND NOT :cancelled AND (CAST(:run AS uuid) IS NULL OR e.id = :run)",
            cancelled=status is RunStatus.CANCELLED,
            failed=list(failed),
            run_failed=status is RunStatus.FAILED,
            run=run_id,
        )
        await self.query(
            "UPDATE pipeline_executions SET status = :status, completed_at = :now"
            " WHERE status IN ('pending', 'running') AND (CAST(:run AS uuid) IS NULL OR id = :run)",
            status=status,
            now=self.clock.at,
            run=run_id,
        )
