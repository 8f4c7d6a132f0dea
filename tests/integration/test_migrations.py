"""Facts about migrations: they create the tables' schema, once, from any number of processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from serpline.domain.errors import UserError
from serpline.store import migrate as migrations
from serpline.store.database import Connection, Database
from serpline.store.migrate import HEAD, SCRIPTS, migrate
from serpline.store.tables import metadata, queueing

assert queueing.dead_letters.metadata is metadata

# Our whole schema, as PostgreSQL prints it.
CATALOGS = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
               a.attidentity, a.attgenerated, a.attstorage, a.attcompression, co.collname,
               a.attstattarget, pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        LEFT JOIN pg_collation co ON co.oid = a.attcollation
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
          AND NOT a.attisdropped""",
    "indexes": """
        SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
    "storage": """
        SELECT relname, relkind, reloptions, relpersistence FROM pg_class
        WHERE relnamespace = 'public'::regnamespace""",
    "functions": """
        SELECT proname, pg_get_functiondef(oid) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace""",
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger
        WHERE NOT tgisinternal""",
    "views": """
        SELECT viewname, definition FROM pg_views WHERE schemaname = 'serpline_v1'""",
    "comments": """
        SELECT c.relname, d.objsubid, d.description FROM pg_description d
        JOIN pg_class c ON c.oid = d.objoid WHERE d.classoid = 'pg_class'::regclass
          AND c.relnamespace = 'serpline_v1'::regnamespace""",
}


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = await Database.connect(url)
    try:
        yield database
    finally:
        await database.close()


def ours(row: tuple[Any, ...]) -> bool:
    return not any("procrastinate_" in str(part) or "alembic_version" in str(part) for part in row)


async def catalogs(conn: Connection) -> dict[str, set[tuple[Any, ...]]]:
    found: dict[str, set[tuple[Any, ...]]] = {}
    for name, query in CATALOGS.items():
        rows = (await conn.execute(sa.text(query))).all()
        found[name] = {tuple(str(part) for part in row) for row in rows}
    return found


async def of_ours(url: str) -> dict[str, set[tuple[Any, ...]]]:
    async with opened(url) as database, database.transaction() as conn:
        found = await catalogs(conn)
    return {name: {row for row in rows if ours(row)} for name, rows in found.items()}


def queue_files() -> dict[str, str]:
    """The library's own migration files, name → SQL, in their order."""
    files = resources.files("procrastinate.sql.migrations").iterdir()
    found = {file.name: file.read_text() for file in files if file.name.endswith(".sql")}
    return {name.removesuffix(".sql"): found[name] for name in sorted(found)}


async def test_migrations_equal_the_tables(empty_database_url: str, database_url: str) -> None:
    """A migrated database and one created from the tables have the same catalogs."""
    async with opened(empty_database_url) as database, database.transaction() as conn:
        await conn.run_sync(metadata.create_all)
    declared, migrated = await of_ours(empty_database_url), await of_ours(database_url)
    tables = {row[0] for row in declared["columns"]}
    assert tables == set(metadata.tables)
    for name in CATALOGS:
        assert migrated[name] == declared[name], name


async def test_the_queue_has_the_librarys_schema(db: Database) -> None:
    """Procrastinate's whole schema is applied, and its last migration file is recorded."""
    async with db.transaction() as conn:
        version = (
            await conn.execute(sa.select(queueing.queue_schema_versions.c.version))
        ).scalar_one()
        functions = (
            await conn.execute(
                sa.text("SELECT count(*) FROM pg_proc WHERE proname LIKE 'procrastinate%'")
            )
        ).scalar_one()
    assert version == list(queue_files())[-1]
    assert functions > 10


async def test_head_is_the_newest_revision() -> None:
    """The constant that the fast path compares names the newest migration."""
    assert ScriptDirectory(str(SCRIPTS)).get_heads() == [HEAD]


async def test_four_migrators_at_once(empty_database_url: str, database_url: str) -> None:
    """If four processes migrate at once, one does the work and the others find it done."""
    databases = [await Database.connect(empty_database_url) for _ in range(4)]
    try:
        worked = await asyncio.gather(*(migrate(database) for database in databases))
        assert any(worked)
        async with databases[0].transaction() as conn:
            applied = (
                await conn.execute(
                    sa.select(sa.func.count()).select_from(queueing.queue_schema_versions)
                )
            ).scalar_one()
        assert applied == 1
    finally:
        for database in databases:
            await database.close()
    assert await of_ours(empty_database_url) == await of_ours(database_url)


async def test_nothing_to_do_is_one_query(db: Database) -> None:
    """At the newest schema, migrate runs a single statement."""
    statements: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    engine = db._engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        assert await migrate(db) is False
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    assert len(statements) == 1


async def test_a_failed_migration_changes_nothing(empty_database_url: str) -> None:
    """If the queue's schema cannot be applied, our tables are not created either."""
    async with opened(empty_database_url) as database:
        async with database.transaction() as conn:
            await conn.execute(sa.text("CREATE TABLE procrastinate_jobs (id int)"))
        with pytest.raises(Exception, match="procrastinate_jobs"):
            await migrate(database)
        async with database.transaction() as conn:
            names = (
                await conn.execute(
                    sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
                )
            ).scalars()
            assert list(names) == ["procrastinate_jobs"]


async def test_the_wait_for_another_migrating_process_is_limited(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that cannot get the lock in time changes nothing and raises one line."""
    monkeypatch.setattr(migrations, "_LOCK_WAIT", "10ms")
    async with opened(empty_database_url) as target, target.transaction() as conn:
        await conn.execute(sa.select(sa.func.pg_advisory_xact_lock(migrations._LOCK_KEY)))
        with pytest.raises(UserError, match="another process has been migrating it for 10ms"):
            await migrate(target)
        assert not await conn.run_sync(lambda sync: sa.inspect(sync).get_table_names())


async def test_a_newer_database_is_refused(db: Database) -> None:
    """An unknown schema is refused in one line that names it."""
    async with db.transaction() as conn:
        await conn.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UserError, match=r"newer serpline \(schema 9999") as refused:
        await migrate(db)
    assert "\n" not in str(refused.value)


async def test_the_queue_is_upgraded_from_an_older_schema(
    empty_database_url: str, database_url: str
) -> None:
    """A database with an older queue schema gets the missing files and equals a fresh one."""
    known = "03.00.00_50_post_cancel_notification"
    async with opened(empty_database_url) as database:
        async with database.session() as conn:
            driver = (await conn.get_raw_connection()).driver_connection
            assert driver is not None
            for name, sql in queue_files().items():
                if name <= known:
                    await driver.execute(sql)
        async with database.transaction() as conn:
            await conn.run_sync(metadata.create_all)
            await conn.execute(sa.insert(queueing.queue_schema_versions).values(version=known))
            await conn.execute(sa.text("CREATE TABLE alembic_version (version_num varchar(32))"))
            await conn.execute(
                sa.text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD}
            )
        assert await migrate(database) is True
        assert await migrate(database) is False
    found = []
    for url in (empty_database_url, database_url):
        async with opened(url) as database, database.transaction() as conn:
            rows = await catalogs(conn)
        found.append(rows["functions"] | rows["triggers"])
    assert found[0] >= found[1]
