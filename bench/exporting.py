"""A fresh process that exports the rankings of a run, as ``serpline export`` does.

Arguments: the database's URL, the run, the file. It prints ``{"seconds", "rows", "resident_mb"}``:
the time from an open database to the complete file, and the peak resident size of the process.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from uuid import UUID

from bench.walk import resident_mb_max
from serpline.domain.results import Ranking
from serpline.exports.layout import format_of
from serpline.exports.writing import write_file
from serpline.store.database import Database
from serpline.store.results.selection import Selection


async def export(url: str, run_id: UUID, target: Path) -> dict[str, float]:
    """Write the file; returns what is measured."""
    database = await Database.connect(url, pool_size=1)
    try:
        started = time.perf_counter()
        async with database.transaction() as conn:
            selection = Selection(run_id=run_id)
            rows = await write_file(conn, Ranking, selection, target, format_of(target))
        seconds = time.perf_counter() - started
    finally:
        await database.close()
    return {"seconds": seconds, "rows": rows, "resident_mb": resident_mb_max()}


if __name__ == "__main__":
    url, run, file = sys.argv[1:]
    measured = asyncio.run(export(url, UUID(run), Path(file)))
    sys.stdout.write(json.dumps(measured))
