"""The cost of an idle worker: transactions a second, and connections.

The worker has worked before, so its pool has had its full size. The server counts commits and
rollbacks in this database, and its connections once a second. The worker closes unused connections
within a minute, so the count begins after that. Autovacuum is off during the count: its worker is
a session of the database too, with a dozen transactions.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from harness.figures import Figure, at_most

from bench.lane_runs import LANE, count_completed, start_run
from bench.place import Place
from serpline.store.database import Database

TITLE = "a worker without work"
ITEMS = 10_000
WORK_SECONDS_MAX, SETTLE_SECONDS, COUNTED_SECONDS = 300.0, 75, 60
_TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s"
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"


async def measure(place: Place) -> Sequence[Figure]:
    """Transactions and connections of one worker process with default settings."""
    with place.fresh_database() as name:
        environment = place.worker_environment(name)
        async with place.process("bench.worker", ITEMS, **environment) as worker:
            await _work_once(place, name)
            await asyncio.sleep(SETTLE_SECONDS)
            with _without_autovacuum(place):
                transactions, started = _count(place, _TRANSACTIONS, name), time.perf_counter()
                connections = []
                for _ in range(COUNTED_SECONDS):
                    await asyncio.sleep(1)
                    connections.append(_count(place, _CONNECTIONS, name))
                transactions = _count(place, _TRANSACTIONS, name) - transactions
                seconds = time.perf_counter() - started
            await place.end_worker(worker)
    place.notes.append(f"{transactions} transactions in {seconds:.0f} s")
    return [
        at_most("transactions a second", transactions / seconds, 1),
        at_most("connections", max(connections), 3),
    ]


async def _work_once(place: Place, name: str) -> None:
    """Give the worker a run, and wait for its end."""
    database = await Database.connect(place.server.url(name))
    try:
        run_id = await start_run(database, LANE)
        async with asyncio.timeout(WORK_SECONDS_MAX):
            while await count_completed(database, run_id) < ITEMS:
                await asyncio.sleep(1)
    finally:
        await database.close()


@contextmanager
def _without_autovacuum(place: Place) -> Iterator[None]:
    with psycopg.connect(place.server.conninfo("postgres"), autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET autovacuum = off")
        admin.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            admin.execute("ALTER SYSTEM RESET autovacuum")
            admin.execute("SELECT pg_reload_conf()")


def _count(place: Place, query: str, name: str) -> int:
    with psycopg.connect(place.server.conninfo("postgres"), autocommit=True) as admin:
        (found,) = admin.execute(query, (name,)).fetchone() or (0,)
    return int(found)
