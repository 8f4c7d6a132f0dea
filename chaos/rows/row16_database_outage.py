"""Row 16: the database is stopped in mid-run; in another run its disk is full. Both runs resume.

Each run has its own server. The full disk is a small mount with the whole data directory: ballast
fills it until neither tables nor the write-ahead log can grow. After a while the ballast is
removed, and the server is started again if it had stopped. Both faults begin while a worker owns a
chunk of the run. No worker dies, so nothing may be paid again. Without the right to mount, the
second part is not measured, and the row reports that.
"""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import UUID

import psycopg
from harness.figures import Figure, at_least, not_measured, zero
from harness.waiting import until
from harness.world import World, open_world

from chaos.scorecard import Context, Row
from chaos.standard_run import (
    DEFAULT_TAKEOVER,
    RUN_SECONDS_MAX,
    RunTotals,
    Undisturbed,
    has_ended,
    keywords,
    owners,
    paged_simulator,
    start,
    undisturbed,
)
from serpline.store.database import Database
from serpline.store.embedded.server import EmbeddedServer, ensure_server
from serpline.store.migrate import migrate

PAIRS = 60
WORKERS = 2
DISK_MEGABYTES = 256
_PIECE_BYTES = 1_000_000


async def campaign(context: Context) -> Sequence[Figure]:
    """Both parts side by side."""
    reference = await undisturbed(context, context.sized(4, PAIRS))
    totals, folder = RunTotals(), context.folder("full")
    with small_disk(folder / "disk") as disk:
        # One after the other: in one process Alembic migrates one database at a time.
        away = await make_server(context.folder("stopped") / "server")
        small = await make_server(disk / "server") if disk else None
        try:
            parts = await asyncio.gather(
                stopped_server(context, away, reference, totals),
                full_disk(context, small, reference, totals),
            )
        finally:
            for server in filter(None, (away, small)):
                await asyncio.to_thread(server.stop)
    return [*parts[0], *parts[1], *totals.figures()]


async def make_server(data_dir: Path) -> EmbeddedServer:
    """Start a server with a migrated database."""
    server = await asyncio.to_thread(ensure_server, data_dir)
    database = await Database.connect(server.url())
    try:
        await migrate(database)
    finally:
        await database.close()
    return server


async def stopped_server(
    context: Context, server: EmbeddedServer, reference: Undisturbed, totals: RunTotals
) -> list[Figure]:
    """Stop the server, and start it again after a while."""
    away_seconds = context.sized(2.0, 60.0)
    async with running_world(context, server, reference) as (world, run_id):
        at_work = await owners(world)
        await asyncio.to_thread(server.stop)
        stopped_at = time.monotonic()
        await asyncio.sleep(away_seconds)
        away = time.monotonic() - stopped_at
        await asyncio.to_thread(ensure_server, server.data_dir)
        await totals.add(world, run_id, reference)
        (found,) = await world.query("SELECT count(*) AS dead FROM workers WHERE died")
    return [
        at_least("workers that owned a chunk at the stop", len(at_work), 1),
        at_least("seconds stopped", away, away_seconds),
        zero("running workers taken over", found["dead"]),
    ]


async def full_disk(
    context: Context, server: EmbeddedServer | None, reference: Undisturbed, totals: RunTotals
) -> list[Figure]:
    """Keep the disk full for a while."""
    if server is None:
        return [not_measured("a full disk")]
    async with running_world(context, server, reference) as (world, run_id):
        at_work = await owners(world)
        ballast = server.data_dir.parent / "ballast"
        await asyncio.to_thread(fill, ballast)
        refused = await asyncio.to_thread(count_refused_writes, server)
        await asyncio.sleep(context.sized(1.0, 20.0))
        ballast.unlink()
        await asyncio.to_thread(ensure_server, server.data_dir)
        await totals.add(world, run_id, reference)
    return [
        at_least("workers that owned a chunk on the full disk", len(at_work), 1),
        at_least("kinds of writes refused by the full disk", refused, 2),
    ]


@asynccontextmanager
async def running_world(
    context: Context, server: EmbeddedServer, reference: Undisturbed
) -> AsyncIterator[tuple[World, UUID]]:
    """A standard run on the server, at a seeded point of its calls."""
    name = server.data_dir.parent.name
    calls = context.random(name).uniform(0.2, 0.6) * reference.calls
    settings = {**DEFAULT_TAKEOVER, "SERPLINE_DATABASE_URL": server.url()}
    words, config = keywords(reference.pairs), paged_simulator(reference.pairs)
    folder = context.folder(f"world-{name}")
    async with open_world(server.url(), folder, words, config=config, **settings) as world:
        run_id = await start(world)
        for _ in range(context.sized(1, WORKERS)):
            await world.start_worker()

        async def is_time() -> bool:
            far = len(world.sim.log) >= calls and bool(await owners(world))
            return far or await has_ended(world, run_id)

        await until(is_time, f"call {calls:.0f}", seconds=RUN_SECONDS_MAX)
        yield world, run_id


@contextmanager
def small_disk(path: Path) -> Iterator[Path | None]:
    """A file system of ``DISK_MEGABYTES``; None if this machine does not let us mount."""
    path.mkdir()
    options = f"size={DISK_MEGABYTES}m,mode=0755"
    mount = ["mount", "-t", "tmpfs", "-o", options, "serpline-chaos", str(path)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield path if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(ballast: Path) -> None:
    """Write until the disk is full."""
    with ballast.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(b"\0" * _PIECE_BYTES)
            except OSError:
                return


def count_refused_writes(server: EmbeddedServer) -> int:
    """Grow a table, then the write-ahead log; returns how many of the two were refused."""
    refused = 0
    for statement in (
        "CREATE TABLE ballast AS SELECT repeat(md5(n::text), 50) FROM generate_series(1, 100000) n",
        "SELECT pg_logical_emit_message(false, 'ballast', repeat('x', 100000000))",
    ):
        try:
            with psycopg.connect(server.conninfo(), autocommit=True) as connection:
                connection.execute(statement)
        except psycopg.Error:
            refused += 1
    return refused


ROW = Row(
    16,
    f"database stopped for 60 s; its disk full (two runs of {PAIRS} pairs)",
    "both runs resume; 0 completed items without a result; nothing paid again",
    campaign,
    "No restart of the queue's worker after the server ended it: the run on the full disk had not"
    " ended 90 s later. Outcomes of calls dropped if the database refuses them at first: 8 paid"
    " replies lost, 3 calls paid again (short forms).",
    covered_by=(
        "tests/faults/test_server_kept.py::test_a_worker_restarts_a_killed_server",
        "tests/faults/test_worker_deaths.py::test_a_cut_of_all_connections_costs_nothing",
        "tests/faults/test_embedded_faults.py::test_a_disk_that_fills_up_stops_the_writer_only",
        "tests/integration/test_queueing.py::test_the_database_may_restart",
        "tests/integration/test_database.py::test_server_errors_are_unavailability",
        "tests/integration/pipeline/test_worker.py::test_an_outage_of_the_database_is_no_crash",
        "tests/unit/robustness/test_groups.py::test_a_database_that_comes_back_loses_nothing",
        "tests/unit/robustness/test_ledger.py::test_ends_wait_ten_minutes_for_the_database",
    ),
)
