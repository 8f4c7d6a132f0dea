"""The DSI of 600,000 results of a content type, in a worker process, beside one SQL statement.

The rows are generated (``bench.landscape``). The seconds are those of a lane by the server's clock:
plan, compute, and write a score for each of some 100,000 companies. The statement beside it sums
each company's results with hash joins and writes nothing: the time PostgreSQL alone needs to read
the same rows.
"""

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID

import psycopg
from harness.figures import Figure, at_most

from bench import landscape
from bench.place import Place
from serpline.store.database import Database

TITLE = "the DSI of 600,000 results"
PAIRS = 20_000
POLL_SECONDS = 0.1
SECONDS_MAX = 900.0

_REFERENCE = """
    SELECT count(*), sum(keywords), sum(volume), sum(relevance) FROM (
        SELECT coalesce(o.domain, s.domain) AS company, count(DISTINCT s.keyword_id) AS keywords,
            sum(m.search_volume) AS volume, avg(a.relevance) AS relevance
        FROM serp_results s
        LEFT JOIN youtube_videos v ON v.run_id = %(run)s AND v.video_id = s.video_id
        LEFT JOIN channel_owners o ON o.run_id = %(run)s AND o.channel_id = v.channel_id
        LEFT JOIN keyword_metrics m ON m.run_id = %(run)s AND m.keyword_id = s.keyword_id
            AND m.market = s.market
        LEFT JOIN content_analyses a ON a.run_id = %(run)s AND a.content_type = s.content_type
            AND a.subject = coalesce('v:' || s.video_id, 'u:' || s.canonical_url)
        WHERE s.run_id = %(run)s GROUP BY 1
    ) company
"""


async def measure(place: Place) -> Sequence[Figure]:
    """Seconds of both lanes, and the worker's peak resident size."""
    with place.fresh_database() as name:
        conninfo = place.server.conninfo(name)
        database = await Database.connect(place.server.url(name))
        try:
            run_id = await landscape.create_run(database)
            pairs = place.sized(PAIRS)
            results = await asyncio.to_thread(landscape.fill, conninfo, run_id, pairs)
            plain_seconds = await asyncio.to_thread(_plain_seconds, conninfo, run_id)
            environment = place.worker_environment(name)
            async with place.process("bench.worker", **environment) as worker:
                await landscape.start(database, run_id)
                async with asyncio.timeout(SECONDS_MAX):
                    seconds, combined_seconds, companies = await _wait_for_scores(conninfo, run_id)
                ended = await place.end_worker(worker)
        finally:
            await database.close()
    place.notes.append(
        f"{results:,} results of {companies:,} companies; one SQL statement sums them in"
        f" {plain_seconds:.1f} s; the combined DSI then takes {combined_seconds:.1f} s"
    )
    return [
        at_most("seconds", seconds, 20),
        at_most("seconds of the combined DSI", combined_seconds, 20),
        at_most("resident MB of the worker", ended["resident_mb"], 600),
    ]


def _plain_seconds(conninfo: str, run_id: UUID) -> float:
    with psycopg.connect(conninfo) as conn:
        conn.execute("SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off")
        started = time.perf_counter()
        conn.execute(_REFERENCE, {"run": run_id})
        return time.perf_counter() - started


async def _wait_for_scores(conninfo: str, run_id: UUID) -> tuple[float, float, int]:
    """Wait for the run's end; returns the seconds of its two lanes and the scored companies."""
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as conn:
        while True:
            found = await conn.execute(
                "SELECT status, error_message FROM pipeline_executions WHERE id = %s", (run_id,)
            )
            status, error = await found.fetchone() or ("gone", None)
            if status not in ("pending", "running"):
                break
            await asyncio.sleep(POLL_SECONDS)
        if status != "completed":
            raise RuntimeError(f"the run is {status}: {error}")
        found = await conn.execute(
            "SELECT extract(epoch FROM completed_at - started_at) FROM pipeline_phase_status"
            " WHERE pipeline_execution_id = %s AND phase_name = 'dsi_calculation'"
            " ORDER BY content_type = 'all'",
            (run_id,),
        )
        (typed,), (combined,) = await found.fetchall()
        found = await conn.execute("SELECT count(*) FROM dsi_scores WHERE run_id = %s", (run_id,))
        (scored,) = await found.fetchone() or (0,)
    return float(typed), float(combined), scored // 2
