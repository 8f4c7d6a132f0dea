"""A server's clock that was set, as its database shows it: every time in it lies elsewhere."""

import sqlalchemy as sa

from serpline.store.database import Database
from serpline.store.tables import metadata

# The job queue's own table.
_HEARTBEATS = "UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat + :by"


async def set_clock_back(database: Database, seconds: float) -> None:
    """Make all times that are stored later by so many ``seconds`` (negative: the clock went on).

    What is committed meanwhile is not of that time: there should be nobody who writes.
    """
    by = "make_interval(secs => :seconds)"
    async with database.transaction() as conn:
        for table in metadata.sorted_tables:
            times = [c.name for c in table.columns if isinstance(c.type, sa.DateTime)]
            if times:
                sets = ", ".join(f"{name} = {name} + {by}" for name in times)
                await conn.execute(sa.text(f"UPDATE {table} SET {sets}"), {"seconds": seconds})
        statement = _HEARTBEATS.replace(":by", by)
        await conn.execute(sa.text(statement), {"seconds": seconds})
        await conn.execute(
            sa.text(
                "UPDATE circuit_breakers SET machine = jsonb_set(machine, '{open_until}',"
                f" to_jsonb(CAST(machine ->> 'open_until' AS timestamptz) + {by}))"
                " WHERE machine ->> 'open_until' IS NOT NULL"
            ),
            {"seconds": seconds},
        )
