"""The same run is not started twice within minutes by mistake."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from subprocess import CompletedProcess
from uuid import UUID

import pytest
from harness.commands import run_command
from sqlalchemy import text

from serpline.config.run import PipelineConfig
from serpline.core.clock import SystemClock
from serpline.domain.keywords import KeywordRow
from serpline.domain.names import ContentType, Device, PhaseName, PipelineMode
from serpline.pipeline.repeats import WITHIN, RunRepeatedError
from serpline.pipeline.service import PipelineService
from serpline.store import projects
from serpline.store.database import Database

NEWS = PipelineConfig(content_types=(ContentType.NEWS,))


@pytest.fixture
async def service(db: Database) -> PipelineService:
    """A project of one keyword."""
    await _add(db, "flights")
    return PipelineService(db, SystemClock())


async def _add(db: Database, keyword: str) -> None:
    async with db.transaction() as conn:
        await projects.ensure_builtin_markets(conn)
        await projects.import_keywords(conn, [KeywordRow(1, keyword, keyword, "US")])


async def _refuses(service: PipelineService, config: PipelineConfig) -> UUID | None:
    """The run that is in the way, or None if the run was started."""
    try:
        await service.start(config, unless_repeated=True)
    except RunRepeatedError as error:
        return UUID(str(error).split()[1].rstrip(","))
    return None


async def test_the_same_run_is_refused_for_minutes(db: Database, service: PipelineService) -> None:
    """The refusal names the run. Another moment, or a run that was given up, is in nobody's way."""
    first = await service.start(NEWS, unless_repeated=True)
    assert await _refuses(service, NEWS) == first
    assert await service.start(NEWS) != first
    async with db.transaction() as conn:
        await conn.execute(
            text("UPDATE pipeline_executions SET created_at = created_at - :age"),
            {"age": WITHIN + timedelta(seconds=1)},
        )
    assert await _refuses(service, NEWS) is None
    for run in await _running(db):
        await service.cancel(run)
    assert await _refuses(service, NEWS) is None


async def _running(db: Database) -> list[UUID]:
    async with db.transaction() as conn:
        rows = await conn.execute(text("SELECT id FROM pipeline_executions"))
        return list(rows.scalars())


async def test_other_runs_are_started(db: Database, service: PipelineService) -> None:
    """Other types, devices, phases or keywords, mode testing, and computing alone."""
    first = await service.start(NEWS, unless_repeated=True)
    others = (
        {"content_types": (ContentType.VIDEO,)},
        {"devices": (Device.MOBILE,)},
        {"keyword_limit": 1},
        {"phases": (PhaseName.KEYWORD_METRICS, PhaseName.SERP_COLLECTION)},
    )
    for other in others:
        assert await _refuses(service, NEWS.model_copy(update=other)) is None
    await service.start(NEWS, PipelineMode.TESTING, unless_repeated=True)
    await service.start(NEWS, PipelineMode.TESTING, unless_repeated=True)
    await _add(db, "hotels")
    assert await _refuses(service, NEWS) is None
    await service.cancel(first)
    computed = NEWS.model_copy(
        update={"phases": (PhaseName.DSI_CALCULATION,), "inputs_from": first}
    )
    assert [await _refuses(service, computed) for _ in range(2)] == [None, None]


def test_a_command_without_a_terminal_is_refused(database_url: str, tmp_path: Path) -> None:
    """It ends with one line and starts nothing; ``--again`` starts another run."""
    file = tmp_path / "keywords.csv"
    file.write_text("keyword,market\nflights,US\n")

    def serpline(*command: str) -> CompletedProcess[bytes]:
        return run_command(*command, SERPLINE_DATABASE_URL=database_url, stdin=b"")

    assert serpline("keywords", "import", str(file)).returncode == 0
    command = ("run", "start", "--content-types", "news")
    first = serpline(*command).stdout.decode().strip()
    refused = serpline(*command)
    assert (refused.returncode, refused.stdout) == (2, b"")
    (line,) = refused.stderr.decode().splitlines()
    assert f"run {first}, started " in line
    assert line.endswith("has the same keywords, types, devices and phases: --again starts another")
    assert serpline(*command, "--again").returncode == 0
    assert len(json.loads(serpline("run", "list", "--json").stdout)) == 2


async def test_of_two_at_once_one_is_started(service: PipelineService) -> None:
    """The second one waits for the first one's transaction."""
    both = await asyncio.gather(_refuses(service, NEWS), _refuses(service, NEWS))
    assert both.count(None) == 1
