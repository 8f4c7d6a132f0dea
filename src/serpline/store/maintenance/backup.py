"""Backup: write a consistent snapshot of all our tables to one file. Workers keep running.

The promise: all tables are read in one snapshot (REPEATABLE READ). So an item that is completed in
the backup has its result there, and a chunk's counters fit its items. Only migrations are blocked.
``archive`` describes the file.

The limits: the backup leaves out the job queue's own tables (wake-ups are hints, which the timer
issues again) and ``UNSAVED``. PostgreSQL cannot reclaim deleted rows during a long snapshot. Why
not pg_dump: ours has no TLS, so it reaches no managed server; it refuses servers newer than itself;
and our restore does more than load.
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
"""Called with a table's name and row count when the table is finished."""

UNSAVED: Final = frozenset({"queue_schema_versions", "provider_leases"})
"""Tables about the server or live processes, not about the project."""

# The text format depends on these; time limits must not end a long COPY.
SESSION: Final = (
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = 'ISO, YMD'",
    "SET LOCAL extra_float_digits = 1",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
)


@dataclass(frozen=True, slots=True)
class BackupResult:
    """A finished backup."""

    path: Path
    size_bytes: int
    manifest: Manifest

    @property
    def rows(self) -> dict[str, int]:
        """Return row counts by table."""
        return {entry.name: entry.rows for entry in self.manifest.tables}


def saved_tables() -> list[sa.Table]:
    """Return the tables of a backup, in an order that respects foreign keys."""
    return [table for table in metadata.sorted_tables if table.name not in UNSAVED]


async def backup(
    database: Database,
    target: Path,
    *,
    now: datetime,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> BackupResult:
    """Write a backup to ``target``, completely or not at all.

    Raises ``UserError`` if the file exists (unless ``overwrite``) or cannot be written, or if the
    database's schema is not this release's.
    """
    writer = ArchiveWriter(target, overwrite=overwrite)
    try:
        async with database.transaction() as conn:
            manifest = await _write_tables(conn, writer, database, now, progress)
        size_bytes = await in_thread(writer.commit, manifest)
    finally:
        await in_thread(writer.abort)
    return BackupResult(target, size_bytes, manifest)


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
    # Lock before the snapshot, so that no migration comes between the two.
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
        # Read last: sequences ignore the snapshot, and must not be behind the rows.
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
    """Run blocking work in a thread; a cancellation waits until the thread has ended."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
