"""``make bench``: how much of PostgreSQL's own speed is left after plan, chunk, work and settle.

Both sides write rows of the same widths to the same server in the same minutes: serpline through
its ordinary path (plan → wake → claim → work → settle with a result row → release), the limit by
plain psycopg (batched insert, update and result insert, 500 rows a transaction). Each runs three
times, alternating; the figure is the ratio of the medians.
"""

import argparse
import asyncio
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from uuid import UUID

import psycopg

from bench.noop import RESULT, NoopPhase
from serpline.core.clock import SystemClock
from serpline.core.ids import new_id
from serpline.core.logging import configure
from serpline.domain.config import PipelineConfig
from serpline.domain.names import ContentType, PhaseName, PipelineMode
from serpline.domain.phases import LaneKey
from serpline.domain.states import LaneStatus
from serpline.pipeline.lifeline import Lifeline
from serpline.pipeline.orchestrator import PhaseOrchestrator
from serpline.pipeline.worker import ChunkWorker
from serpline.robustness.state_tracker import StateTracker
from serpline.store import planning, runs
from serpline.store.database import Database
from serpline.store.embedded import EmbeddedServer, ensure_server
from serpline.store.migrate import migrate

CONCURRENCY = 4
RATIO_MIN = 0.3
RESIDENT_RATIO_MAX = 1.2


async def serpline_items_per_second(database: Database, count: int) -> float:
    """Durable items per second through the ordinary path, planning included."""
    clock = SystemClock()
    phases = {PhaseName.KEYWORD_METRICS: NoopPhase(count)}
    tracker = StateTracker(database, clock)
    lifeline = Lifeline(database, clock)
    orchestrator = PhaseOrchestrator(database, clock, phases)
    worker = ChunkWorker(database, clock, phases, tracker, lifeline)
    run_id = new_id()
    lane = LaneKey(PhaseName.KEYWORD_METRICS, ContentType.ALL)
    async with database.transaction() as conn:
        await runs.create(
            conn,
            run_id,
            mode=PipelineMode.MANUAL,
            config=PipelineConfig().to_json(),
            priority=0,
            lanes=[(lane, LaneStatus.PENDING)],
        )
    async with lifeline.living():
        started = time.perf_counter()
        await orchestrator.look_at(run_id)
        await work_off(database, worker, run_id)
        await orchestrator.look_at(run_id)
        seconds = time.perf_counter() - started
    async with database.transaction() as conn:
        (view,) = await runs.lanes(conn, run_id)
        if view.completed != count or view.status is not LaneStatus.COMPLETED:
            raise SystemExit(f"the run did not finish: {view}")
    return count / seconds


async def work_off(database: Database, worker: ChunkWorker, run_id: UUID) -> None:
    """Work every ready chunk, a few at a time, as a worker process does."""
    async with database.transaction() as conn:
        (view,) = await runs.lanes(conn, run_id)
        ready = iter(await planning.ready_of(conn, view.id))

    async def one() -> None:
        for chunk_id in ready:
            await worker.work(chunk_id)

    await asyncio.gather(*[one() for _ in range(CONCURRENCY)])


def raw_items_per_second(server: EmbeddedServer, count: int) -> float:
    """Insert, update and insert the result, by plain psycopg in transactions of 500 rows."""
    names = [f"item-{n:09}" for n in range(1, count + 1)]
    batches = [names[i : i + 500] for i in range(0, count, 500)]
    with psycopg.connect(server.conninfo("bench"), autocommit=True) as conn:
        conn.execute("DROP TABLE IF EXISTS raw_items, raw_results")
        conn.execute(
            "CREATE TABLE raw_items (lane_id bigint, item text, chunk_no int, status text,"
            " attempts smallint, next_attempt_at timestamptz, error_category text, error text,"
            " PRIMARY KEY (lane_id, item)) WITH (fillfactor = 60)"
        )
        conn.execute(
            "CREATE TABLE raw_results (lane_id bigint, item text, result jsonb,"
            " PRIMARY KEY (lane_id, item))"
        )
        started = time.perf_counter()
        for no, batch in enumerate(batches):
            with conn.transaction():
                conn.execute(
                    "INSERT INTO raw_items (lane_id, item, chunk_no, status, attempts)"
                    " SELECT 1, i, %s, 'pending', 0 FROM unnest(%s::text[]) i",
                    (no, batch),
                )
        for batch in batches:
            with conn.transaction():
                conn.execute(
                    "UPDATE raw_items SET status = 'completed' FROM unnest(%s::text[]) u(i)"
                    " WHERE lane_id = 1 AND item = u.i",
                    (batch,),
                )
                conn.execute(
                    "INSERT INTO raw_results SELECT 1, i, r::jsonb"
                    " FROM unnest(%s::text[], %s::text[]) u(i, r)",
                    (batch, [RESULT] * len(batch)),
                )
        return count / (time.perf_counter() - started)


def resident_megabytes_max() -> float:
    """The largest resident size this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


async def measure(server: EmbeddedServer, count: int, rounds: int) -> None:
    """Print the figures."""
    database = await Database.connect(server.url("bench"))
    try:
        await migrate(database)
        await serpline_items_per_second(database, 10_000)
        small = resident_megabytes_max()
        ours, limit = [], []
        for number in range(rounds):
            ours.append(await serpline_items_per_second(database, count))
            limit.append(await asyncio.to_thread(raw_items_per_second, server, count))
            sys.stdout.write(f"round {number + 1}: {ours[-1]:,.0f} of {limit[-1]:,.0f} items/s\n")
    finally:
        await database.close()
    large = resident_megabytes_max()
    ratio = statistics.median(ours) / statistics.median(limit)
    sys.stdout.write(
        f"durable items, {count:,} through plan, chunk, no-op work and settle:"
        f" {statistics.median(ours):,.0f}/s\n"
        f"the limit, plain psycopg, rows of the same widths: {statistics.median(limit):,.0f}/s\n"
        f"ratio: {ratio:.2f} (at least {RATIO_MIN})\n"
        f"resident at 10,000 items {small:.0f} MB, at {count:,} {large:.0f} MB:"
        f" {large / small:.2f} (at most {RESIDENT_RATIO_MAX})\n"
    )
    if ratio < RATIO_MIN or large / small > RESIDENT_RATIO_MAX:
        raise SystemExit(1)


def main() -> None:
    """Measure on a throw-away server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    configure("WARNING")
    with tempfile.TemporaryDirectory(prefix="serpline-bench-") as folder:
        server = ensure_server(Path(folder) / "data")
        try:
            with psycopg.connect(server.conninfo("postgres"), autocommit=True) as admin:
                admin.execute("CREATE DATABASE bench")
            asyncio.run(measure(server, given.items, given.rounds))
        finally:
            server.stop()


main()
