"""Simulate a step of the server's clock: shift every time that is stored in its database."""

import sqlalchemy as sa

from serpline.store.database import Database
from serpline.store.tables import metadata

# The job queue's own table.
_HEARTBEATS = "UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat + :by"


async def set_clock_back(database: Database, seconds: float) -> None:
    """Move every stored time ``seconds`` later (negative: earlier, as if the clock went forward).

    Nothing else may write at the same time: a row committed during the step would not be shifted.
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
