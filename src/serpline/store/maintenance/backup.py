"""Backup: every table of ours as it was at one instant, in one file, while work goes on.

The promise: all tables are read in one snapshot (REPEATABLE READ), so an item that is completed in
the backup has its result in it, and a chunk's counters fit its items. Nobody is blocked meanwhile,
save migrations. ``archive`` says what is promised of the file.

The limits: not in it are the job queue's own tables (wake-ups are hints, the timer issues them
anew) and ``UNSAVED``. A long snapshot keeps PostgreSQL from reclaiming what is deleted while it
lasts. Why not pg_dump: the one we ship speaks no TLS, so it reaches no managed server; it refuses
servers newer than itself; and a restore of ours has more to do than to load.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import sqlalchemy as sa
from psycopg import sql

from serpline.domain.errors import UserError
from serpline.store.copying import copy_out
from serpline.store.database import Connection, Database
from serpline.store.maintenance.archive import (
    BLOCK_BYTES,
    ArchiveWriter,
    Manifest,
    SequenceEntry,
    TableEntry,
)
from serpline.store.migrate import HEAD
from serpline.store.tables import metadata

P = ParamSpec("P")
T = TypeVar("T")

Progress = Callable[[str, int], None]
"""Called with a table's name and its rows when the table is finished."""

UNSAVED: Final = frozenset({"queue_schema_versions", "provider_leases"})
"""What says something of the server or of living processes, and nothing of the project."""

# The text format depends on these; a long COPY must not be cut short by a limit for short work.
SESSION: Final = (
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = 'ISO, YMD'",
    "SET LOCAL extra_float_digits = 1",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
)


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a backup holds."""

    path: Path
    size_bytes: int
    manifest: Manifest

    @property
    def rows(self) -> dict[str, int]:
        """Rows by table."""
        return {entry.name: entry.rows for entry in self.manifest.tables}


def saved_tables() -> list[sa.Table]:
    """The tables of a backup, in an order that respects foreign keys."""
    return [table for table in metadata.sorted_tables if table.name not in UNSAVED]


async def backup(
    database: Database,
    target: Path,
    *,
    now: datetime,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> BackedUp:
    """Write a backup to ``target``, which appears whole or not at all.

    Raises ``UserError`` if the file is there already (unless ``overwrite``) or cannot be written,
    or if the database's schema is not this release's.
    """
    writer = ArchiveWriter(target, overwrite=overwrite)
    try:
        async with database.transaction() as conn:
            manifest = await _write_tables(conn, writer, database, now, progress)
        size_bytes = await in_thread(writer.commit, manifest)
    finally:
        await in_thread(writer.abort)
    return BackedUp(target, size_bytes, manifest)


async def _write_tables(
    conn: Connection,
    writer: ArchiveWriter,
    database: Database,
    now: datetime,
    progress: Progress | None,
) -> Manifest:
    await conn.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    for statement in SESSION:
        await conn.execute(sa.text(statement))
    tables = saved_tables()
    # The lock comes before the snapshot, so that no migration can come between the two.
    names = ", ".join(f'"{table.name}"' for table in tables)
    await conn.execute(sa.text(f"LOCK TABLE {names} IN ACCESS SHARE MODE"))
    revision = (await conn.execute(sa.text("SELECT version_num FROM alembic_version"))).scalar_one()
    if revision != HEAD:
        raise UserError(f"{database.shown_url}: its schema is {revision}, this release's is {HEAD}")
    entries = []
    for table in tables:
        entry = await _write_table(conn, writer, table)
        entries.append(entry)
        if progress is not None:
            progress(entry.name, entry.rows)
    server = sa.text("SELECT current_setting('server_version_num')::int")
    return Manifest(
        serpline_version=version("serpline"),
        revision=revision,
        server_version=(await conn.execute(server)).scalar_one(),
        created_at=now,
        tables=entries,
        # Read last: sequences know no snapshot, and must not be behind the rows.
        sequences=await _sequences(conn, tables),
    )


async def _write_table(conn: Connection, writer: ArchiveWriter, table: sa.Table) -> TableEntry:
    columns = [column.name for column in table.columns]
    source = sql.SQL("{} ({})").format(
        sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    await in_thread(writer.begin, table.name)
    async with aclosing(copy_out(conn, source, BLOCK_BYTES)) as blocks:
        async for block in blocks:
            await in_thread(writer.write, block)
    return await in_thread(writer.end, table.name, columns)


async def _sequences(conn: Connection, tables: list[sa.Table]) -> list[SequenceEntry]:
    found = []
    last = sa.text("SELECT pg_sequence_last_value(pg_get_serial_sequence(:table, :column))")
    for table in tables:
        for column in table.columns:
            if column.identity is None:
                continue
            given = {"table": table.name, "column": column.name}
            value = (await conn.execute(last, given)).scalar_one()
            if value is not None:
                found.append(SequenceEntry(table=table.name, column=column.name, value=value))
    return found


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking work in a thread; cancelled, it ends only when the thread has left the file."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
