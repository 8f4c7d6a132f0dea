"""Restore: load a verified backup into a fresh database, in one transaction.

The promise: all or nothing. Every row of the backup is loaded, and running runs go on. The workers
of that time are gone, so owned chunks become ready at a higher epoch, running jobs wait again, and
running workers are ended, without counting deaths. A backup of an older schema is loaded into
tables of that schema, which are then migrated. A backup of a newer release is refused.

The limits: the database must have no tables, or no rows in our tables (except the built-in
markets). Any other database stays unchanged, including its schema. Work done and paid for after the
backup is unknown, and is repeated if its run was running. Calls that were in flight count as
possibly paid. Two databases restored from one backup do not know of each other: use only one.
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
)
from serpline.store.database_url import one_line
from serpline.store.maintenance.archive import ArchiveReader, SequenceEntry, TableEntry
from serpline.store.maintenance.backup import SESSION, UNSAVED, Progress, in_thread
from serpline.store.tables import functions, metadata, views

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

# All tables of the schema, except those of extensions.
_TABLES: Final = sa.text(
    "SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace"
    " AND c.relkind IN ('r', 'p', 'f') AND NOT EXISTS (SELECT FROM pg_depend d"
    " WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"
    " ORDER BY c.relname"
)

_RELEASE_OWNED: Final = (
    "UPDATE chunks SET status = 'ready', owner = NULL, epoch = epoch + 1, next_check_at = now()"
    " WHERE status = 'owned'",
    "UPDATE workers SET ended_at = heartbeat_at WHERE ended_at IS NULL",
    "UPDATE queued_jobs SET status = 'waiting', epoch = epoch + 1, next_check_at = now()"
    " WHERE status = 'running'",
)


async def restore(
    database: Database, archive: ArchiveReader, *, progress: Progress | None = None
) -> dict[str, int]:
    """Load ``archive`` into ``database`` and migrate it if needed; returns rows by table.

    Raises ``UserError``, with nothing written, if the database is not fresh or is in use, or if the
    backup is of a newer release.
    """
    manifest = archive.manifest
    _check_known(archive)
    lock_wait = sa.text(f"SET LOCAL lock_timeout = '{LOCK_WAIT_SECONDS}s'")
    # Before the migration: a database named by mistake must stay unchanged.
    async with _translated(database, archive), database.transaction() as conn:
        await conn.execute(lock_wait)
        await _check_fresh(conn, database)
    await migrations.migrate(database)
    async with _translated(database, archive), database.transaction() as conn:
        for statement in SESSION:
            await conn.execute(sa.text(statement))
        await conn.execute(lock_wait)
        foreign = {*await _shape(conn)} - {*metadata.tables, _VERSIONS}
        await _lock_fresh(conn, database)
        is_older = manifest.revision != migrations.HEAD
        if is_older:
            await _rebuild_at(conn, manifest.revision)
        await _check_shape(conn, archive, foreign)
        for entry in manifest.tables:
            await _load(conn, archive, entry)
            if progress is not None:
                progress(entry.name, entry.rows)
        if is_older:
            await _upgrade(conn, "head")
        for statement in _RELEASE_OWNED:
            await conn.execute(sa.text(statement))
        # Otherwise the first queries would be planned for empty tables.
        await conn.execute(sa.text("ANALYZE " + _listed(entry.name for entry in manifest.tables)))
        # Last, because a rollback does not reset a sequence.
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
    """Raise ``UserError`` unless the database is empty or has only our tables, without rows."""
    found = list((await conn.execute(_TABLES)).scalars())
    if found and not {_VERSIONS, _QUEUE_VERSIONS} <= {*found}:
        raise UserError(
            f"{database.shown_url}: is not serpline's, it has a table {found[0]}; {_FRESH}"
        )
    for name in sorted(metadata.tables.keys() & {*found} - {_QUEUE_VERSIONS}):
        # The first command that needs a market inserts the built-in ones.
        where = " WHERE NOT builtin" if name == "markets" else ""
        rows = await conn.execute(sa.text(f'SELECT EXISTS (SELECT FROM "{name}"{where})'))
        if rows.scalar_one():
            raise UserError(f"{database.shown_url}: table {name} has rows already; {_FRESH}")


async def _lock_fresh(conn: Connection, database: Database) -> None:
    """Lock our tables against writes, and check again that they are empty."""
    names = _listed(sorted(metadata.tables))
    await conn.execute(sa.text(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE"))
    await _check_fresh(conn, database)
    await conn.execute(sa.text("DELETE FROM markets"))


async def _rebuild_at(conn: Connection, revision: str) -> None:
    """Recreate our empty tables at an older ``revision``.

    The queue's own tables stay, and so does the record of their version.
    """
    kept = (
        await conn.execute(
            sa.text(
                "SELECT array_agg(version ORDER BY version) AS versions,"
                f" array_agg(applied_at ORDER BY version) AS times FROM {_QUEUE_VERSIONS}"
            )
        )
    ).one()
    # The views read the tables, and the functions' parameters have row types of them.
    await conn.execute(sa.text(f"DROP SCHEMA IF EXISTS {views.SCHEMA} CASCADE"))
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


async def _check_shape(conn: Connection, archive: ArchiveReader, foreign: Collection[str]) -> None:
    """Raise ``UserError`` unless the backup has exactly its schema's tables and columns.

    ``foreign``: tables that are not ours, which do not count.
    """
    expected = {
        name: set(columns)
        for name, columns in (await _shape(conn)).items()
        if name not in {*UNSAVED, *foreign, _VERSIONS}
    }
    given = {entry.name: set(entry.columns) for entry in archive.manifest.tables}
    if expected != given:
        different = sorted(
            name for name in {*expected, *given} if expected.get(name) != given.get(name)
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
            # The checksums are verified again: a changed file rolls the transaction back.
            while block := await in_thread(next, blocks, b""):
                await rows.write(block)
        if cursor.rowcount != entry.rows:
            raise UserError(
                f"{archive.path}: table {entry.name} has {cursor.rowcount} rows, not {entry.rows}"
            )


async def _set_sequence(conn: Connection, sequence: SequenceEntry) -> None:
    """Set a sequence so that no value is used twice, even if its row was deleted."""
    statement = (
        "SELECT setval(pg_get_serial_sequence(:table, :column), greatest(:value,"
        f' (SELECT max("{sequence.column}") FROM "{sequence.table}")))'
    )
    given = {"table": sequence.table, "column": sequence.column, "value": sequence.value}
    await conn.execute(sa.text(statement), given)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


@asynccontextmanager
async def _translated(database: Database, archive: ArchiveReader) -> AsyncIterator[None]:
    """Translate the server's errors to one line; the transaction is rolled back already."""
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
