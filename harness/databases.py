"""Migrated databases: a template on a server, and clones of it."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from serpline.store.database import Database
from serpline.store.embedded.server import EmbeddedServer
from serpline.store.migrate import migrate

Admin = psycopg.Connection[tuple[Any, ...]]
_TEMPLATE = "serpline_template"
_numbers = itertools.count(1)


def admin_connection(server: EmbeddedServer) -> Admin:
    """Connect as the server's administrator, in autocommit."""
    return psycopg.connect(server.conninfo("postgres"), autocommit=True)


async def make_template(server: EmbeddedServer) -> str:
    """Migrate a new database; returns its name. Clone it, and do not connect to it."""
    with admin_connection(server) as admin:
        create_database(admin, _TEMPLATE, "template1")
    database = await Database.connect(server.url(_TEMPLATE))
    try:
        await migrate(database)
    finally:
        await database.close()
    return _TEMPLATE


def create_database(admin: Admin, name: str, template: str, *, copies_files: bool = False) -> None:
    """Clone ``template``. Copying its files is faster on a server that does not fsync."""
    admin.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}").format(
            sql.Identifier(name),
            sql.Identifier(template),
            sql.SQL("FILE_COPY" if copies_files else "WAL_LOG"),
        )
    )


def drop_database(admin: Admin, name: str) -> None:
    """Drop a database and end its sessions."""
    admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def fresh_database(
    server: EmbeddedServer, template: str, *, copies_files: bool = False
) -> Iterator[str]:
    """The name of a new clone of ``template``, dropped at the end of the block."""
    name = f"fresh_{next(_numbers)}"
    with admin_connection(server) as admin:
        create_database(admin, name, template, copies_files=copies_files)
        try:
            yield name
        finally:
            drop_database(admin, name)


@contextmanager
def copied_database(server: EmbeddedServer, template: str) -> Iterator[str]:
    """The URL of a fresh database on a test server, which does not fsync."""
    with fresh_database(server, template, copies_files=True) as name:
        yield server.url(name)


async def until_blocked(db: Database) -> None:
    """Wait until a connection of this database waits for another's lock."""
    query = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND cardinality(pg_blocking_pids(pid)) > 0"
    )
    async with asyncio.timeout(30), db.session() as session:
        while (await session.execute(query)).scalar_one() == 0:
            await asyncio.sleep(0.005)
