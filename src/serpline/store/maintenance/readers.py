"""Roles that may read the results, and nothing else.

A reader may log in, connect to this database and select from the views of ``serpline_v1``. Its
transactions are read only and its statements end after a time, unless it changes these two itself.
It has no right to our tables, so it changes nothing either way. The marked comment of a role tells
ours from others, which are left alone. Roles belong to the server: a backup has none, and a reader
may be one of several databases.
"""

import math
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import psycopg
import sqlalchemy as sa
from psycopg import errors, sql
from sqlalchemy.exc import DBAPIError

from serpline.domain.errors import UserError
from serpline.store.copying import driver
from serpline.store.database import Connection
from serpline.store.database_url import one_line
from serpline.store.tables.views import SCHEMA

NAME_DEFAULT: Final = "serpline_reader"
_MARK: Final = "Reads results of serpline."
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_TIME: Final = re.compile(r"\s*([0-9.]+)\s*(us|ms|s|min|h|d)?\s*")
_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a reader's statement may take, 0: without limit, and how often it may connect."""

    statement_seconds: int
    connections_max: int


@dataclass(frozen=True, slots=True)
class Reader:
    """A role that reads this database, and its connections now."""

    name: str
    limits: Limits
    connected: int


def check_name(name: str) -> str:
    """Return the name. Raises ``UserError`` for one that is no plain, free name of a role."""
    if not _NAME.fullmatch(name) or name.startswith("pg_") or name in ("public", "none"):
        raise UserError(
            f"reader {name!r}: must be a name of a-z, 0-9 and _, up to 63 characters, not pg_…"
        )
    return name


def statements(
    name: str, database: str, limits: Limits, *, owner: str, is_new: bool = True
) -> list[sql.Composed]:
    """Return the SQL that makes a reader, but for its password.

    ``owner``: the role that makes the views. Who executes the SQL may be another one.
    """
    role, place, schema = map(sql.Identifier, (name, database, SCHEMA))
    verb = sql.SQL("CREATE" if is_new else "ALTER")
    # Before its first ANALYZE, the server expects a handful of results in a run. With memoize it
    # would rather keep all of them and compare each with each search than look them up by the key.
    settings = {
        "default_transaction_read_only": "on",
        "statement_timeout": f"{limits.statement_seconds}s",
        "idle_in_transaction_session_timeout": "60s",
        "search_path": SCHEMA,
        "timezone": "UTC",
        "jit": "off",
        "enable_memoize": "off",
    }
    return [
        sql.SQL("{} ROLE {} LOGIN CONNECTION LIMIT {}").format(
            verb, role, sql.Literal(limits.connections_max)
        ),
        sql.SQL("COMMENT ON ROLE {} IS {}").format(role, sql.Literal(_MARK)),
        *(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(
                role, sql.Identifier(key), sql.Literal(value)
            )
            for key, value in settings.items()
        ),
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(place, role),
        sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role),
        sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(schema, role),
        # Views that a later release adds.
        sql.SQL(
            "ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {} GRANT SELECT ON TABLES TO {}"
        ).format(sql.Identifier(owner), schema, role),
    ]


async def owner(conn: Connection) -> str:
    """Return our own role, which makes the views."""
    return str((await conn.execute(sa.text("SELECT current_user"))).scalar_one())


async def create(conn: Connection, name: str, limits: Limits, *, password: str | None) -> bool:
    """Make a reader of this database, or set an existing one's limits; returns whether it is new.

    Without a ``password`` an existing one stays. Raises ``UserError`` if the name is another
    role's, if our own role may not make roles, or if every role may create objects.
    """
    is_new = await is_missing(conn, name)
    async with _explained(conn, name):
        session = await driver(conn)
        made = statements(name, session.info.dbname, limits, owner=await owner(conn), is_new=is_new)
        for statement in made:
            await session.execute(statement)
        if session.info.server_version >= 160_000:
            # For ``may_become``: who makes a role may give it to others, but not take it.
            await session.execute(
                sql.SQL("GRANT {} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE").format(
                    sql.Identifier(name)
                )
            )
        if password is not None:
            # The server's log may have the statement, so it has a hash of the password.
            hashed = session.pgconn.encrypt_password(
                password.encode(), name.encode(), b"scram-sha-256"
            ).decode()
            await session.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(name), sql.Literal(hashed)
                )
            )
    rows = await conn.execute(_WRITABLE, {"name": name})
    if writable := list(rows.scalars()):
        raise UserError(
            f"reader {name}: every role may create objects in the schema {writable[0]}; end that by"
            f" REVOKE CREATE ON SCHEMA {writable[0]} FROM PUBLIC"
        )
    return is_new


async def remove(conn: Connection, name: str) -> bool:
    """Take a reader's rights to this database; False if its role stays, for another database.

    Its sessions are ended where our role may end them. Raises ``UserError`` if there is no such
    reader.
    """
    if await is_missing(conn, name):
        raise UserError(f"reader {name}: there is no such role; 'serpline reader list' has them")
    async with _explained(conn, name):
        session = await driver(conn)
        role, schema = sql.Identifier(name), sql.Identifier(SCHEMA)
        place = sql.Identifier(session.info.dbname)
        for statement in (
            "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} REVOKE ALL ON TABLES FROM {role}",
            "REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}",
            "REVOKE ALL ON SCHEMA {schema} FROM {role}",
            "REVOKE ALL ON DATABASE {place} FROM {role}",
        ):
            await session.execute(sql.SQL(statement).format(role=role, schema=schema, place=place))
        rows = await conn.execute(_ELSEWHERE, {"name": name})
        if rows.scalar_one():
            return False
        # Sessions have the name of their role only as long as there is one.
        await conn.execute(_END_SESSIONS, {"name": name})
        await session.execute(sql.SQL("DROP ROLE {}").format(role))
    return True


_READERS: Final = sa.text(
    "SELECT r.rolname AS name, r.rolconnlimit AS connections_max,"
    " coalesce((SELECT split_part(s, '=', 2) FROM unnest(c.setconfig) AS s"
    " WHERE s LIKE 'statement_timeout=%'), '0') AS timeout,"
    " (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid) AS connected"
    " FROM pg_roles r LEFT JOIN pg_db_role_setting c ON c.setrole = r.oid AND c.setdatabase = 0"
    " WHERE shobj_description(r.oid, 'pg_authid') = :mark"
    " AND has_schema_privilege(r.oid, :schema, 'USAGE') ORDER BY 1"
)
_ELSEWHERE: Final = sa.text(
    "SELECT EXISTS (SELECT FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid"
    " WHERE d.refclassid = 'pg_authid'::regclass AND r.rolname = :name)"
)
# Who may create objects in a schema that our own role searches, as PUBLIC in ``public`` before
# PostgreSQL 15, may have our statements call functions of theirs (CVE-2018-1058).
_WRITABLE: Final = sa.text(
    "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_'"
    " AND has_schema_privilege(CAST(:name AS name), oid, 'CREATE') ORDER BY 1"
)
_END_SESSIONS: Final = sa.text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = :name"
    " AND pg_has_role(current_user, 'pg_signal_backend', 'USAGE')"
)


async def readers(conn: Connection) -> list[Reader]:
    """Return the readers of this database, by name."""
    rows = await conn.execute(_READERS, {"mark": _MARK, "schema": SCHEMA})
    return [
        Reader(row.name, Limits(_whole_seconds(row.timeout), row.connections_max), row.connected)
        for row in rows
    ]


def _whole_seconds(setting: str) -> int:
    """A time as the server's settings have it, rounded up: 60s, 5min, or 60000 in milliseconds."""
    found = _TIME.fullmatch(setting)
    if found is None:
        return 0
    return math.ceil(float(found[1]) * _SECONDS[found[2] or "ms"])


async def is_missing(conn: Connection, name: str) -> bool:
    """Whether no role of the server has the name. Raises ``UserError`` if it is not a reader's."""
    rows = await conn.execute(
        sa.text(
            "SELECT shobj_description(oid, 'pg_authid') AS mark FROM pg_roles WHERE rolname = :name"
        ),
        {"name": check_name(name)},
    )
    row = rows.first()
    if row is not None and row.mark != _MARK:
        raise UserError(f"reader {name}: the server has another role of this name; choose another")
    return row is None


@asynccontextmanager
async def _explained(conn: Connection, name: str) -> AsyncGenerator[None, None]:
    """Translate the server's refusals to one line."""
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, errors.InsufficientPrivilege):
            raise UserError(
                f"reader {name}: the database's user may not do this ({one_line(str(cause))});"
                " an administrator can run what 'serpline reader create --sql' prints"
            ) from error
        if isinstance(cause, errors.DependentObjectsStillExist):
            raise UserError(f"reader {name}: {one_line(str(cause))}") from error
        raise


async def may_become(conn: Connection, name: str) -> bool:
    """Whether there is a reader of this name whose rights our session may take."""
    rows = await conn.execute(
        sa.text(
            "SELECT pg_has_role(current_user, oid, CASE WHEN"
            " current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)"
            " FROM pg_roles WHERE rolname = :name AND shobj_description(oid, 'pg_authid') = :mark"
            " AND has_schema_privilege(oid, :schema, 'USAGE')"
        ),
        {"name": name, "mark": _MARK, "schema": SCHEMA},
    )
    return bool(rows.scalar())
