"""The share of plain PostgreSQL's speed that plan, chunk, work and settle reach.

Both sides write rows of the same widths to the same server, alternating, three times each.
"""

import asyncio
import statistics
from collections.abc import Sequence

from harness.figures import Figure, at_least, at_most

from bench.place import Place
from bench.raw import raw_seconds

TITLE = "durable items beside plain psycopg"
ITEMS, FEW_ITEMS, ROUNDS = 100_000, 10_000, 3


async def measure(place: Place) -> Sequence[Figure]:
    """The ratio of the medians, and the growth of memory with the items."""
    count = place.sized(ITEMS)
    ours, limit, resident = [], [], []
    few = await place.walk_items(place.sized(FEW_ITEMS))
    for _ in range(ROUNDS):
        walked = await place.walk_items(count)
        ours.append(count / walked["seconds"])
        resident.append(walked["resident_mb"])
        with place.fresh_database(migrated=False) as name:
            conninfo = place.server.conninfo(name)
            limit.append(count / await asyncio.to_thread(raw_seconds, conninfo, count))
    median, median_limit = statistics.median(ours), statistics.median(limit)
    place.notes.append(f"{median:,.0f} items/s beside {median_limit:,.0f} by plain psycopg")
    return [
        at_least("share of plain psycopg's speed", median / median_limit, 0.5),
        at_most(
            f"resident at {count:,} items ÷ at {place.sized(FEW_ITEMS):,}",
            max(resident) / few["resident_mb"],
            1.2,
        ),
    ]
