"""Restore: a verified backup into a fresh database, in one transaction.

The promise: all of it or nothing. What the backup says of the project is there row for row, and a
run that was running goes on: whoever owned work when the backup was made is gone, so owned chunks
are ready at a higher epoch, running jobs wait, and living workers have left. No death is counted
for that. A backup of an older schema is loaded into tables of that schema, which are then migrated;
one of a newer release is refused.

The limits: only a database without any table, or without any row in ours, is accepted (the built-in
markets aside); every other is left as it is, its schema too. What was done and paid for after the
backup is not known, and is done again if its run was running; calls that were in flight count as
possibly paid. Two databases restored from one backup know nothing of each other: let only one of
them work.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.exc import DBAPIError

from serpline.domain.errors import UserError
from serpline.store import migrate as migrations
from serpline.store.copying import driver
from serpline.store.database import (
    Connection,
    Database,
    DatabaseUnavailable,
    LockUnavailable,
    one_line,
)
from serpline.store.maintenance.archive import ArchiveReader, SequenceEntry, TableEntry
from serpline.store.maintenance.backup import SESSION, UNSAVED, Progress, in_thread
from serpline.store.tables import functions, metadata

LOCK_WAIT_SECONDS: Final = 10
_VERSIONS: Final = "alembic_version"
_QUEUE_VERSIONS: Final = "queue_schema_versions"
_FRESH: Final = "restore into a fresh database (another --data-dir, or --into URL)"

_COLUMNS: Final = sa.text(
    "SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns"
    " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
    " WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'"
    " AND a.attnum > 0 AND NOT a.attisdropped AND c.relname NOT LIKE 'procrastinate\\_%'"
    " GROUP BY c.relname"
)

# Of whomever, with our own versions among them or not; what extensions bring is nobody's.
_TABLES: Final = sa.text(
    "SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace"
    " AND c.relkind IN ('r', 'p', 'f') AND NOT EXISTS (SELECT FROM pg_depend d"
    " WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"
    " ORDER BY c.relname"
)

_DISOWN: Final = (
    "UPDATE chunks SET status = 'ready', owner = NULL, epoch = epoch + 1, next_check_at = now()"
    " WHERE status = 'owned'",
    "UPDATE workers SET ended_at = heartbeat_at WHERE ended_at IS NULL",
    "UPDATE queued_jobs SET status = 'waiting', epoch = epoch + 1, next_check_at = now()"
    " WHERE status = 'running'",
)


async def restore(
    database: Database, archive: ArchiveReader, *, progress: Progress | None = None
) -> dict[str, int]:
    """Load ``archive`` into ``database``, which is migrated if need be; rows by table.

    Raises ``UserError``, with nothing written, if the database is not fresh or in use, or if the
    backup is of a newer release.
    """
    manifest = archive.manifest
    _check_known(archive)
    lock_wait = sa.text(f"SET LOCAL lock_timeout = '{LOCK_WAIT_SECONDS}s'")
    # Before anything is migrated: a database named by mistake must stay as it is.
    async with _explained(database, archive), database.transaction() as conn:
        await conn.execute(lock_wait)
        await _check_fresh(conn, database)
    await migrations.migrate(database)
    async with _explained(database, archive), database.transaction() as conn:
        for statement in SESSION:
            await conn.execute(sa.text(statement))
        await conn.execute(lock_wait)
        strange = {*await _shape(conn)} - {*metadata.tables, _VERSIONS}
        await _take_fresh(conn, database)
        is_older = manifest.revision != migrations.HEAD
        if is_older:
            await _rebuild_at(conn, manifest.revision)
        await _check_shape(conn, archive, strange)
        for entry in manifest.tables:
            await _load(conn, archive, entry)
            if progress is not None:
                progress(entry.name, entry.rows)
        if is_older:
            await _upgrade(conn, "head")
        for statement in _DISOWN:
            await conn.execute(sa.text(statement))
        # Otherwise the first plans would be made for empty tables.
        await conn.execute(sa.text("ANALYZE " + _listed(entry.name for entry in manifest.tables)))
        # Last, for a sequence is not set back when the transaction is undone.
        for sequence in manifest.sequences:
            await _set_sequence(conn, sequence)
    return {entry.name: entry.rows for entry in manifest.tables}


def _check_known(archive: ArchiveReader) -> None:
    from alembic.script import ScriptDirectory

    revision = archive.manifest.revision
    known = {
        script.revision for script in ScriptDirectory(str(migrations.SCRIPTS)).walk_revisions()
    }
    if revision not in known:
        raise UserError(
            f"{archive.path}: made by a newer serpline ({archive.manifest.serpline_version}, schema"
            f" {revision}; this release knows up to {migrations.HEAD}); use that release"
        )


async def _check_fresh(conn: Connection, database: Database) -> None:
    """Nothing in it, or our tables (of whichever release) without a row; raises ``UserError``."""
    found = list((await conn.execute(_TABLES)).scalars())
    if found and not {_VERSIONS, _QUEUE_VERSIONS} <= {*found}:
        raise UserError(
            f"{database.shown_url}: is not serpline's, it has a table {found[0]}; {_FRESH}"
        )
    for name in sorted(metadata.tables.keys() & {*found} - {_QUEUE_VERSIONS}):
        # The built-in markets come by themselves, with the first command that needs one.
        where = " WHERE NOT builtin" if name == "markets" else ""
        rows = await conn.execute(sa.text(f'SELECT EXISTS (SELECT FROM "{name}"{where})'))
        if rows.scalar_one():
            raise UserError(f"{database.shown_url}: table {name} has rows already; {_FRESH}")


async def _take_fresh(conn: Connection, database: Database) -> None:
    """Keep everybody from writing, and prove that nobody has."""
    names = _listed(sorted(metadata.tables))
    await conn.execute(sa.text(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE"))
    await _check_fresh(conn, database)
    await conn.execute(sa.text("DELETE FROM markets"))


async def _rebuild_at(conn: Connection, revision: str) -> None:
    """Make our tables, which are empty, anew as they were at an older ``revision``.

    The queue's own tables stay, and so what is known of their version.
    """
    kept = (
        await conn.execute(
            sa.text(
                "SELECT array_agg(version ORDER BY version) AS versions,"
                f" array_agg(applied_at ORDER BY version) AS times FROM {_QUEUE_VERSIONS}"
            )
        )
    ).one()
    # The functions first: rows of the tables are types of their parameters.
    await conn.execute(sa.text("DROP FUNCTION IF EXISTS " + _listed(functions.NAMES)))
    await conn.execute(sa.text("DROP TABLE " + _listed([*metadata.tables, _VERSIONS])))
    await _upgrade(conn, revision)
    await conn.execute(
        sa.text(
            f"INSERT INTO {_QUEUE_VERSIONS} (version, applied_at) SELECT * FROM"
            " unnest(CAST(:versions AS text[]), CAST(:times AS timestamptz[]))"
        ),
        {"versions": kept.versions, "times": kept.times},
    )


async def _upgrade(conn: Connection, revision: str) -> None:
    from alembic import command

    await conn.run_sync(lambda sync: command.upgrade(migrations.alembic_config(sync), revision))


async def _check_shape(conn: Connection, archive: ArchiveReader, strange: Collection[str]) -> None:
    """The backup's tables and columns are exactly those of its schema; ``strange`` ones aside."""
    wanted = {
        name: set(columns)
        for name, columns in (await _shape(conn)).items()
        if name not in {*UNSAVED, *strange, _VERSIONS}
    }
    given = {entry.name: set(entry.columns) for entry in archive.manifest.tables}
    if wanted != given:
        different = sorted(
            name for name in {*wanted, *given} if wanted.get(name) != given.get(name)
        )
        raise UserError(
            f"{archive.path}: table {different[0]} is not that of schema"
            f" {archive.manifest.revision}"
        )


async def _shape(conn: Connection) -> Mapping[str, Sequence[str]]:
    return {row.name: row.columns for row in await conn.execute(_COLUMNS)}


async def _load(conn: Connection, archive: ArchiveReader, entry: TableEntry) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(entry.name), sql.SQL(", ").join(map(sql.Identifier, entry.columns))
    )
    blocks = archive.blocks(entry)
    async with (await driver(conn)).cursor() as cursor:
        async with cursor.copy(statement) as rows:
            # The sums are taken again, so a file that changes meanwhile undoes the transaction.
            while block := await in_thread(next, blocks, b""):
                await rows.write(block)
        if cursor.rowcount != entry.rows:
            raise UserError(
                f"{archive.path}: table {entry.name} has {cursor.rowcount} rows, not {entry.rows}"
            )


async def _set_sequence(conn: Connection, sequence: SequenceEntry) -> None:
    """No number that was ever given out is given out again, even if its row is long gone."""
    statement = (
        "SELECT setval(pg_get_serial_sequence(:table, :column), greatest(:value,"
        f' (SELECT max("{sequence.column}") FROM "{sequence.table}")))'
    )
    given = {"table": sequence.table, "column": sequence.column, "value": sequence.value}
    await conn.execute(sa.text(statement), given)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


@asynccontextmanager
async def _explained(database: Database, archive: ArchiveReader) -> AsyncIterator[None]:
    """What the server says against it, in one line; the transaction is undone already."""
    try:
        yield
    except LockUnavailable as error:
        raise UserError(
            f"{database.shown_url}: is in use; stop whatever uses it, then restore"
        ) from error
    except (DBAPIError, psycopg.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        reason = one_line(str(cause))
        if isinstance(cause, psycopg.OperationalError):
            raise DatabaseUnavailable(reason) from error
        if isinstance(error, psycopg.Error):
            raise UserError(f"{archive.path}: cannot be loaded: {reason}") from error
        raise
