"""Access to PostgreSQL: one small pool per process, transactions, and separate sessions.

The promise: ``Database.connect`` returns a usable server (PostgreSQL 15 or newer, UTF-8, writable)
or raises a one-line ``UserError`` that never shows the password. A lost connection costs only its
transaction: it raises ``DatabaseUnavailable``, which callers can catch without knowing the driver,
and the next transaction reconnects.

The limits: nothing is retried here. A connection lost during COMMIT leaves the outcome unknown, so
a repeated transaction must be safe to run twice: our writes compare and set.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

from serpline.core.sockets import is_readable
from serpline.store.database_url import (
    driver_arguments,
    one_line,
    parse_url,
    shown,
    without_secrets,
)
from serpline.store.server_check import ENDS_NEW, check_server

Connection = AsyncConnection

POOL_SIZE: Final = 4
POOL_OVERFLOW_MAX: Final = 2
POOL_WAIT_SECONDS: Final = 30.0
# More than most statements take.
_WAIT_SECONDS: Final = 0.05
# A process that returned no connection for this long is idle. It has time to wait longer.
IDLE_AFTER_SECONDS: Final = 1.0
_IDLE_WAIT_SECONDS: Final = 0.5
_NO_IDLE_TIMEOUT: Final = "-c idle_session_timeout=0"
# For the select list of a statement that locks rows other workers wait for: a worker that is cut
# off loses such a lock this soon.
IDLE_LIMIT: Final = "set_config('idle_in_transaction_session_timeout', '2s', true)"
# SQLSTATE classes about the server, not the statement: connection, resources, operator intervention
# (with statement timeouts, which an immediate retry would meet again), disk.
_UNAVAILABLE: Final = ("08", "53", "57", "58")
_CONFLICT: Final = "40"
_LOCK_NOT_AVAILABLE: Final = "55P03"
_READ_ONLY: Final = "25006"


class DatabaseUnavailable(Exception):  # noqa: N818  a state of the server, not our bug
    """The server cannot be reached or lacks resources; retry later.

    During COMMIT, the transaction may have taken effect nevertheless.
    """


class TransactionConflict(Exception):  # noqa: N818
    """PostgreSQL rolled the transaction back in favour of another; a retry may succeed."""


class LockUnavailable(TransactionConflict):
    """Another transaction held a lock for longer than this one may wait."""


class Database:
    """An open database: a pool of at most ``pool_size + POOL_OVERFLOW_MAX`` connections."""

    def __init__(self, url: URL, *, application_name: str, pool_size: int) -> None:
        """Prefer ``connect``, which also checks the server."""
        self._url = url
        arguments = driver_arguments(url, application_name)
        url = url.difference_update_query([name for name in arguments if name in url.query])
        self._engine: AsyncEngine = create_async_engine(
            url,
            connect_args=arguments,
            hide_parameters=True,
            pool_size=pool_size,
            max_overflow=POOL_OVERFLOW_MAX,
            pool_timeout=POOL_WAIT_SECONDS,
            pool_use_lifo=True,
        )
        sa.event.listen(self._engine.sync_engine, "checkout", _refuse_ended)
        self._returned = asyncio.Event()
        self._returned_at = float("-inf")
        sa.event.listen(self._engine.sync_engine, "checkin", self._note_return)
        sa.event.listen(self._engine.sync_engine, "before_cursor_execute", _refuse_many)
        sa.event.listen(self._engine.sync_engine, "handle_error", _disconnect_read_only)
        sa.event.listen(self._engine.sync_engine, "checkin", self._keep_none_when_closed)
        self._is_closed = False
        self._by_statement = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        # Parameters are hidden in error messages: they may be raw replies and hold anything.
        # A session's connection ends with its block, and releases its session locks.
        self._unpooled: AsyncEngine = create_async_engine(
            url,
            connect_args=arguments | {"options": f"{arguments['options']} {_NO_IDLE_TIMEOUT}"},
            hide_parameters=True,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
        )

    @classmethod
    async def connect(
        cls, url: str, *, application_name: str = "serpline", pool_size: int = POOL_SIZE
    ) -> "Database":
        """Open ``url`` (``postgresql://user:password@host:port/name``) and check the server.

        ``pg_stat_activity`` shows ``application_name`` (or the URL's) and four bytes that identify
        this object. Raises ``UserError`` for an invalid URL and for a server that cannot be
        reached, refuses the login, is older than PostgreSQL 15, does not store UTF-8, or is
        read-only.
        """
        parsed = parse_url(url)
        database = cls(parsed, application_name=application_name, pool_size=pool_size)
        try:
            await check_server(database._engine, database._unpooled, parsed)
        except BaseException:
            await database.close()
            raise
        return database

    @property
    def shown_url(self) -> str:
        """Return the URL without its password, for messages."""
        return shown(self._url)

    @property
    def name(self) -> str:
        """Return the database's name."""
        return str(self._url.database)

    def url_of(self, user: str, password: str | None) -> str:
        """Return the URL for another role, as libpq and most tools read it."""
        url = without_secrets(self._url).set(username=user, password=password)
        return url.render_as_string(hide_password=False)

    def conninfo(self) -> tuple[str, str | None, str]:
        """Return libpq's URL without password and options, the password, and the options.

        Options in a URL would win over those of the environment.
        """
        options = self._url.query.get("options", "")
        url = without_secrets(self._url).difference_update_query(["options"])
        return url.render_as_string(), self._url.password, str(options)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection, None]:
        """Run a transaction on a pooled connection: COMMIT at the end, ROLLBACK on any exception.

        Raises ``DatabaseUnavailable`` and ``TransactionConflict`` instead of the driver's errors of
        those kinds. Other exceptions pass unchanged.
        """
        async with _translated(), AsyncExitStack() as stack:
            await self._wait_for_idle_connection()
            try:
                conn = await stack.enter_async_context(self._engine.begin())
            except sa.exc.InvalidRequestError as error:
                # The pool gives up if the server also ends its new connections at once.
                raise DatabaseUnavailable(ENDS_NEW) from error
            yield conn

    @asynccontextmanager
    async def statement(self) -> AsyncGenerator[Connection, None]:
        """Yield a pooled connection in autocommit: each statement is its own transaction.

        Its locks end when the server has executed it, whatever happens to this process. Raises as
        ``transaction`` does.
        """
        async with _translated(), AsyncExitStack() as stack:
            await self._wait_for_idle_connection()
            try:
                conn = await stack.enter_async_context(self._by_statement.connect())
            except sa.exc.InvalidRequestError as error:
                raise DatabaseUnavailable(ENDS_NEW) from error
            yield conn

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[Connection, None]:
        """Yield a connection outside the pool, in autocommit: for session locks and LISTEN.

        It ends with the block and releases its locks. Raises as ``transaction`` does.
        """
        async with _translated(), self._unpooled.connect() as conn:
            yield conn

    async def close(self) -> None:
        """Close all connections; those in use close when they are returned.

        The object cannot be used again.
        """
        self._is_closed = True
        await self._engine.dispose()
        await self._unpooled.dispose()

    def _keep_none_when_closed(self, _connection: Any, record: Any) -> None:
        """Invalidate a returned connection: a disposed pool would keep it until collected."""
        if self._is_closed:
            record.invalidate()

    def _note_return(self, *_: object) -> None:
        self._returned_at = time.monotonic()
        self._returned.set()

    async def _wait_for_idle_connection(self) -> None:
        """Wait briefly for a connection to be returned before another one is used.

        So the loops of an idle process, some of which always run at once, share one connection, and
        the server ends the others. A busy process waits only before it opens another connection.
        """
        pool = self._engine.pool
        assert isinstance(pool, QueuePool)
        is_idle = time.monotonic() - self._returned_at > IDLE_AFTER_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(_IDLE_WAIT_SECONDS if is_idle else _WAIT_SECONDS):
                while (used := pool.checkedout()) and (
                    not pool.checkedin() or (is_idle and used == 1)
                ):
                    self._returned.clear()
                    await self._returned.wait()


def has_ended(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether the server ended an idle connection; its socket shows it without a round trip."""
    pgconn = connection.pgconn
    return pgconn.status != psycopg.pq.ConnStatus.OK or is_readable(pgconn.socket)


def _refuse_ended(connection: Any, *_: object) -> None:
    """Have the pool replace a connection that the server ended while it was idle."""
    if has_ended(connection.driver_connection):
        raise sa.exc.DisconnectionError("the server ended it")


def _disconnect_read_only(context: Any) -> None:
    """Treat read-only as disconnected. Reconnecting may reach the new primary."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True


def _refuse_many(*call: Any) -> None:
    """Refuse a list of parameters: the driver sends it as a pipeline, which is never idle.

    A process that freezes in the middle of one would hold its locks, because the server's idle
    timeout never applies. Pass the rows to one statement, as an array.
    """
    *_, executemany = call
    if executemany:
        raise RuntimeError("a list of parameters: pass the rows to one statement, as an array")


@asynccontextmanager
async def _translated() -> AsyncGenerator[None, None]:
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseUnavailable(f"no free connection within {POOL_WAIT_SECONDS:g} s") from error
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or ""
        reason = one_line(str(error.orig))
        lost = error.connection_invalidated or (
            not state and isinstance(error.orig, psycopg.OperationalError)
        )
        if lost or state == _READ_ONLY or state.startswith(_UNAVAILABLE):
            raise DatabaseUnavailable(reason) from error
        if state == _LOCK_NOT_AVAILABLE:
            raise LockUnavailable(reason) from error
        if state.startswith(_CONFLICT):
            raise TransactionConflict(reason) from error
        raise
