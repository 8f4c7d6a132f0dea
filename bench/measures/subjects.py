"""The cost of finding the searches of a chunk of pages, in a large run and a small one.

Each page ranks for two keywords. The tables have no statistics, as after any new run.
"""

import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from harness.figures import Figure, at_most
from harness.worker_parts import create_run
from sqlalchemy import text

from bench.lane_runs import LANE
from bench.place import Place
from serpline.store import projects
from serpline.store.database import Database
from serpline.store.results.inputs import searches_of_subjects

TITLE = "searches of pages among 20,000 pairs beside 550"
FEW, MANY, DEPTH, CHUNK, ROUNDS = 550, 20_000, 10, 100, 15

_RUN = (
    "INSERT INTO run_keywords (run_id, keyword_id, keyword, market)"
    " SELECT :run, k, 'keyword ' || k, 'US' FROM generate_series(1, :pairs) k",
    "INSERT INTO serps (run_id, content_type, keyword_id, market, device, collected_at, results,"
    " source) SELECT run_id, 'organic', keyword_id, market, 'desktop', now(), :depth, 'x'"
    " FROM run_keywords",
    "INSERT INTO serp_results (run_id, content_type, keyword_id, market, device, rank, position,"
    " url, canonical_url, domain, title) SELECT run_id, content_type, keyword_id, market, device,"
    " r, r, url, url, 'a.example', 'x' FROM serps, generate_series(1, :depth) r,"
    " LATERAL (SELECT 'https://a.example/' || ((keyword_id + r % 2) / 2) || '/' || r AS url) u",
)


async def measure(place: Place) -> Sequence[Figure]:
    """The ratio of the medians; both sides alternate."""
    few, many = place.sized(FEW), place.sized(MANY)
    costs: dict[int, list[float]] = {few: [], many: []}
    async with _prepared_run(place, few) as small, _prepared_run(place, many) as large:
        for number in range(-1, ROUNDS):
            for (database, run_id), (pairs, found) in zip(
                (small, large), costs.items(), strict=True
            ):
                seconds = await _seconds(database, run_id, number, pairs)
                if number >= 0:  # a connection's first query is slower
                    found.append(seconds)
    least, most = (statistics.median(costs[pairs]) for pairs in (few, many))
    place.notes.append(
        f"{CHUNK} pages: {least * 1e3:.1f} ms among {few:,} pairs, {most * 1e3:.1f} among {many:,}"
    )
    return [at_most(f"cost per page at {many:,} pairs ÷ at {few:,}", most / least, 1.25)]


@asynccontextmanager
async def _prepared_run(place: Place, pairs: int) -> AsyncIterator[tuple[Database, UUID]]:
    """A run of ``pairs`` pairs in its own database; its results are read once, as by its plan."""
    with place.fresh_database() as name:
        database = await Database.connect(place.server.url(name))
        try:
            run_id = await create_run(database, [LANE], is_due=False)
            async with database.transaction() as conn:
                await projects.ensure_builtin_markets(conn)
                for statement in _RUN:
                    values = {"run": run_id, "pairs": pairs, "depth": DEPTH}
                    await conn.execute(text(statement), values)
            async with database.transaction() as conn:
                await conn.execute(text("SELECT count(DISTINCT title) FROM serp_results"))
            yield database, run_id
        finally:
            await database.close()


async def _seconds(database: Database, run_id: UUID, number: int, pairs: int) -> float:
    pages = [(number * CHUNK + n) * 7919 % (pairs // 2 - 1) + 1 for n in range(CHUNK)]
    subjects = [f"u:https://a.example/{page}/{page % DEPTH + 1}" for page in pages]
    started = time.perf_counter()
    async with database.transaction() as conn:
        found = await searches_of_subjects(conn, run_id, "organic", subjects, depth=DEPTH, limit=20)
    seconds = time.perf_counter() - started
    if {len(searches) for searches in found.values()} != {2}:
        raise RuntimeError("a page is not in exactly two searches")
    return seconds
