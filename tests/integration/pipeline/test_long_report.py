"""The bounds of a run's report."""

from datetime import UTC, datetime, timedelta

from harness.inline import METRICS, open_harness

from serpline.pipeline.report import run_report, seconds_of
from serpline.store.database import Database
from serpline.store.runs import runs


async def test_a_report_shows_a_hundred_failures_and_a_thousand_batches(db: Database) -> None:
    """The report shows the first ones; the lanes' counters give the totals."""
    async with open_harness(db) as harness:
        names = [f"REJECT-{n:03}" for n in range(110)]
        run_id = await harness.start({METRICS: names}, lanes=[METRICS])
        await harness.drive(run_id)
        await harness.query(
            "INSERT INTO provider_batches (chunk_id, generation, provider, name, secret_path,"
            " status, stage, priority, items)"
            " SELECT id, n, 'scaleserp', n, n, 'lost', 'first', 'normal', '{}'"
            " FROM chunks, generate_series(1, 1010) AS n"
        )
        report = await run_report(db, run_id, harness.clock.now())
    assert [row["item"] for row in report["failures"]] == names[:100]
    assert [row["name"] for row in report["batches"]] == [str(n) for n in range(1, 1_001)]


async def test_a_runs_seconds_have_milliseconds(db: Database) -> None:
    """They count from the run's start to its end."""
    async with open_harness(db) as harness:
        run_id = await harness.start({METRICS: ["DONE-1"]}, lanes=[METRICS])
        await harness.drive(run_id)
        began = datetime(2026, 3, 1, tzinfo=UTC)
        await harness.query(
            "UPDATE pipeline_executions SET started_at = :at, completed_at = :end",
            at=began,
            end=began + timedelta(seconds=1.23456),
        )
        async with db.transaction() as conn:
            run = await runs.get(conn, run_id)
    assert run is not None
    assert seconds_of(run, began) == 1.235
