"""What ``serpline run show`` reads."""

import asyncio
import subprocess
from uuid import uuid4

from harness.commands import run_command
from sqlalchemy import text

from serpline.config.run import PipelineConfig
from serpline.domain.names import PhaseName
from serpline.domain.phases import lanes_of
from serpline.domain.states import LaneStatus
from serpline.store.database import Database
from serpline.store.runs import runs


def test_the_tables_of_a_run_read_none_of_its_scores(database_url: str) -> None:
    """``run show`` works without access to the scores; ``--json`` includes them and fails."""
    run_id = asyncio.run(_run_without_readable_scores(database_url))
    assert run_id in _shown(database_url, run_id).stdout.decode()
    assert _shown(database_url, run_id, "--json").returncode != 0


async def _run_without_readable_scores(url: str) -> str:
    database = await Database.connect(url)
    run_id = uuid4()
    wanted = PipelineConfig()
    try:
        async with database.transaction() as conn:
            await runs.create(
                conn, run_id, mode="manual", config=wanted.to_json(),
                lanes=[(key, LaneStatus.COMPLETED) for key in lanes_of(wanted.content_types)],
                sources=dict.fromkeys(PhaseName, run_id), scheduled_for=wanted.scheduled_for,
            )  # fmt: skip
            await conn.execute(text("ALTER TABLE dsi_scores RENAME TO unreadable"))
    finally:
        await database.close()
    return str(run_id)


def _shown(url: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    return run_command("run", "show", *options, SERPLINE_DATABASE_URL=url)
