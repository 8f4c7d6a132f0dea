"""A million ranking rows to a file of each format, in fresh processes, beside one COPY.

The rows are generated (``bench.landscape``). The COPY beside it sends the same rows, in the same
order, of the view to a client that drops them: the time PostgreSQL alone needs.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from uuid import UUID

import psycopg
from harness.figures import Figure, at_most

from bench import landscape
from bench.place import Place
from serpline.domain.results import Ranking
from serpline.exports.layout import Format
from serpline.store.database import Database

# Beside the COPY, the format that is compared with it.
FORMATS = (Format.PARQUET, Format.CSV, Format.JSON, Format.XLSX)
TITLE = "a million ranking rows to a file"
PAIRS = 33_334
MB_MAX = 300
TIMES_COPY_MAX = 2.0


async def measure(place: Place) -> Sequence[Figure]:
    """Seconds beside a COPY, and each process's peak resident size."""
    with place.fresh_database() as name:
        conninfo = place.server.conninfo(name)
        database = await Database.connect(place.server.url(name))
        try:
            run_id = await landscape.create_run(database)
        finally:
            await database.close()
        await asyncio.to_thread(landscape.fill, conninfo, run_id, place.sized(PAIRS))
        copy_seconds, copied = await asyncio.to_thread(_copy, conninfo, run_id)
        measured = {}
        for form in FORMATS:
            target = place.directory / f"rankings.{form}"
            measured[form] = await place.run_process(
                *(sys.executable, "-m", "bench.exporting"),
                *(place.server.url(name), str(run_id), target),
            )
            place.notes.append(
                f"{form}: {measured[form]['seconds']:.1f} s, {target.stat().st_size / 1e6:,.0f} MB"
            )
            target.unlink()
    rows = int(measured[Format.PARQUET]["rows"])
    if rows != copied:
        raise RuntimeError(f"{rows} rows exported, {copied} copied")
    place.notes.insert(0, f"{rows:,} rows; one COPY sends them in {copy_seconds:.1f} s")
    return [
        at_most(
            "seconds to Parquet ÷ of one COPY",
            measured[Format.PARQUET]["seconds"] / copy_seconds,
            TIMES_COPY_MAX,
        ),
        *(
            at_most(f"resident MB, {form}", measured[form]["resident_mb"], MB_MAX)
            for form in Format
        ),
    ]


def _copy(conninfo: str, run_id: UUID) -> tuple[float, int]:
    """Seconds of one COPY of the run's rows, and their number."""
    keys = [f"{key.removeprefix('-')} {'DESC' if key[0] == '-' else ''}" for key in Ranking.ORDER]
    statement = (
        f"COPY (SELECT * FROM serpline_v1.rankings WHERE run_id = '{run_id}'"
        f" ORDER BY {', '.join(keys)}) TO STDOUT"
    )
    with psycopg.connect(conninfo) as conn:
        conn.execute("ANALYZE")
        conn.execute("SET LOCAL enable_nestloop = off")
        conn.execute("SET LOCAL enable_mergejoin = off")
        conn.execute("SET LOCAL work_mem = '64MB'")
        started = time.perf_counter()
        with conn.cursor() as cursor:
            with cursor.copy(statement.encode()) as rows:
                for _ in rows:
                    pass
            return time.perf_counter() - started, cursor.rowcount
