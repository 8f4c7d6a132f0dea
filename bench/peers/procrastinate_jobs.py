"""A Procrastinate job per item, each writing a result row: ``CONNINFO COUNT CONCURRENCY``.

Jobs are deferred a thousand at a time and finished ones deleted. Runs in ``.venv-bench``.
"""

import asyncio
import json
import logging
import sys
import time

import procrastinate
import psycopg_pool

RESULT = '{"n": 1, "note": "a result of an ordinary width, some sixty bytes"}'
BATCH = 1_000
POOL_MAX = 20


async def main(conninfo: str, count: int, concurrency: int) -> float:
    """Seconds from the first defer to the last result."""
    connector = procrastinate.PsycopgConnector(conninfo=conninfo, min_size=4, max_size=POOL_MAX)
    app = procrastinate.App(connector=connector)
    pool = psycopg_pool.AsyncConnectionPool(
        conninfo, min_size=4, max_size=POOL_MAX, kwargs={"autocommit": True}, open=False
    )

    @app.task(name="item")
    async def item(n: int) -> None:
        async with pool.connection() as conn:
            await conn.execute("INSERT INTO results VALUES (%s, %s)", (n, RESULT))

    async with app.open_async(), pool:
        await app.schema_manager.apply_schema_async()
        async with pool.connection() as conn:
            await conn.execute("CREATE TABLE results (item int PRIMARY KEY, result jsonb)")
        started = time.perf_counter()
        for first in range(0, count, BATCH):
            last = min(first + BATCH, count)
            await item.batch_defer_async(*[{"n": n} for n in range(first, last)])
        await app.run_worker_async(
            wait=False, concurrency=concurrency, install_signal_handlers=False, delete_jobs="always"
        )
        seconds = time.perf_counter() - started
        async with pool.connection() as conn:
            done = await (await conn.execute("SELECT count(*) FROM results")).fetchone()
    if done != (count,):
        raise SystemExit(f"{done} of {count} items are done")
    return seconds


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    seconds = asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
    sys.stdout.write(json.dumps({"seconds": seconds}))
