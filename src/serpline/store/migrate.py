"""Migrate a database to this release's schema: on every start, safely from many processes.

The promise: ``migrate`` costs one query if there is nothing to do. Otherwise one transaction under
one advisory lock applies Alembic's revisions and Procrastinate's schema, whose SQL can be applied
neither twice nor by two processes at once. A process killed half-way changes nothing. Procrastinate
stores no version, so ``queue_schema_versions`` records the files applied. Its SQL files are read
from the installed distribution without importing the library: SQL belongs to this room, the library
to ``queueing``.

The limits: a database newer than this release is refused. Nothing migrates backwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata as distributions
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from serpline.domain.errors import UserError
from serpline.store.database import Connection, Database, LockUnavailable

HEAD: Final = "0001"
SCRIPTS: Final = Path(__file__).with_name("migrations")

# Any unused number; it must never change.
_LOCK_KEY: Final = 0x5E8917E
_LOCK_WAIT: Final = "300s"
_UNDEFINED_TABLE: Final = "42P01"
_VERSIONS: Final = sa.text(
    "SELECT (SELECT max(version_num) FROM alembic_version) AS tables,"
    " (SELECT max(version) FROM queue_schema_versions) AS queue"
)


@dataclass(frozen=True, slots=True)
class _QueueSchema:
    """Procrastinate's SQL: the whole schema, and its migration files in order."""

    create: Path
    upgrades: Sequence[Path]

    @property
    def head(self) -> str:
        return self.upgrades[-1].stem


async def migrate(database: Database) -> bool:
    """Migrate ``database`` to the newest schema; True if anything had to be done.

    Raises ``UserError`` when the database is newer than this release, or when another process has
    been migrating it for longer than five minutes.
    """
    queue = _queue_schema()
    if await _at_head(database, queue):
        return False
    try:
        async with database.transaction() as conn:
            await conn.execute(sa.text(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'"))
            await conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))
            # Only the wait for the lock above has a limit, not the migration.
            await conn.execute(sa.text("SET LOCAL lock_timeout = 0"))
            await _upgrade_tables(conn, database)
            await _upgrade_queue(conn, queue)
    except LockUnavailable:
        raise UserError(
            f"{database.shown_url}: another process has been migrating it for {_LOCK_WAIT}"
        ) from None
    return True


async def _at_head(database: Database, queue: _QueueSchema) -> bool:
    try:
        async with database.transaction() as conn:
            row = (await conn.execute(_VERSIONS)).one()
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != _UNDEFINED_TABLE:
            raise
        return False
    return bool(row.tables == HEAD and row.queue == queue.head)


async def _upgrade_tables(conn: Connection, database: Database) -> None:
    """Run Alembic on our connection. Imported here, because the fast path does not need it."""
    from alembic import command
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    def upgrade(sync: sa.Connection) -> None:
        config = alembic_config(sync)
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        found = MigrationContext.configure(sync).get_current_revision()
        if found is not None and found not in known:
            raise UserError(
                f"{database.shown_url}: made by a newer serpline (schema {found}, this release"
                f" knows up to {HEAD}); use that release"
            )
        command.upgrade(config, "head")

    await conn.run_sync(upgrade)


def alembic_config(connection: sa.Connection) -> Any:
    """Return Alembic's configuration for our scripts, inside ``connection``'s transaction."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


async def _upgrade_queue(conn: Connection, queue: _QueueSchema) -> None:
    versions = sa.text("SELECT max(version) FROM queue_schema_versions")
    found = (await conn.execute(versions)).scalar_one()
    if found is None:
        files: Sequence[Path] = [queue.create]
        applied = [queue.head]
    else:
        files = [file for file in queue.upgrades if file.stem > found]
        applied = [file.stem for file in files]
    # The files have many statements and bare percent signs. The driver executes them unchanged, in
    # the same transaction.
    driver = (await conn.get_raw_connection()).driver_connection
    assert driver is not None
    for file in files:
        await driver.execute(file.read_text(encoding="utf-8"))
    for version in applied:
        await conn.execute(
            sa.text("INSERT INTO queue_schema_versions (version) VALUES (:version)"),
            {"version": version},
        )


def _queue_schema() -> _QueueSchema:
    files = distributions.distribution("procrastinate")
    folder = Path(str(files.locate_file("procrastinate/sql")))
    return _QueueSchema(
        create=folder / "schema.sql", upgrades=sorted((folder / "migrations").glob("*.sql"))
    )
