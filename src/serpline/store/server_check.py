"""The check of a server when a database is opened: version, encoding, and poolers before it."""

from contextlib import AsyncExitStack
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from serpline.domain.errors import UserError
from serpline.store.database_url import SETTING, one_line, secrets_of, shown

SERVER_VERSION_MIN: Final = 150_000
ENDS_NEW: Final = "the server ends new connections"
_PROBE: Final = sa.text(
    "SELECT current_setting('server_version_num')::int AS version,"
    " current_setting('server_encoding') AS encoding,"
    " current_setting('transaction_read_only') = 'on' AS read_only,"
    " current_setting('idle_in_transaction_session_timeout') <> '0' AS takes_options,"
    " pg_backend_pid() AS pid"
)
_PID: Final = sa.text("SELECT pg_backend_pid()")
_POOLED: Final = "a connection pooler in transaction mode (PgBouncer?): name PostgreSQL's own port"
_DROPPED_SETTINGS: Final = (
    "a connection pooler that drops our session settings (PgBouncer's"
    " ignore_startup_parameters?): name PostgreSQL's own port"
)
# How many transactions are held open to test whether a session keeps its server process.
_POOL_TRIES: Final = 4


async def check_server(engine: AsyncEngine, unpooled: AsyncEngine, url: URL) -> None:
    """Check the server behind both engines, which connect to ``url``.

    Raises ``UserError`` if it cannot be reached, refuses the login, is older than PostgreSQL 15,
    does not store UTF-8, is read-only, or is behind a pooler that breaks sessions.
    """
    try:
        async with engine.connect() as conn:
            row = (await conn.execute(_PROBE)).one()
            raw = (await conn.get_raw_connection()).driver_connection
            # Behind a pooler, libpq knows another backend pid than the one that answers.
            is_direct = raw is not None and raw.info.backend_pid == row.pid
        pooled = not is_direct and not await keeps_sessions(engine, unpooled)
    except (DBAPIError, sa.exc.InvalidRequestError) as error:
        message = str(error.orig) if isinstance(error, DBAPIError) else ENDS_NEW
        reason = one_line(message, *secrets_of(url))
        if "unsupported startup parameter" in reason:
            reason = f"{reason}: a connection pooler; name PostgreSQL's own port"
        raise UserError(f"{SETTING}={shown(url)}: cannot connect: {reason}") from None
    if pooled or not row.takes_options:
        why = _POOLED if pooled else _DROPPED_SETTINGS
        raise UserError(f"{SETTING}={shown(url)}: {why}")
    if row.version < SERVER_VERSION_MIN:
        found = f"{row.version // 10_000}.{row.version % 10_000}"
        raise UserError(f"{SETTING}={shown(url)}: PostgreSQL {found}; 15 or newer needed")
    if row.encoding != "UTF8":
        raise UserError(f"{SETTING}={shown(url)}: encoding {row.encoding}; create it with UTF8")
    if row.read_only:
        raise UserError(f"{SETTING}={shown(url)}: the database is read-only (a standby?)")


async def keeps_sessions(engine: AsyncEngine, unpooled: AsyncEngine) -> bool:
    """Whether a session keeps its server process, which locks and LISTEN need.

    A pooler in transaction mode gives the process to the next transaction.
    """
    async with unpooled.connect() as session, AsyncExitStack() as stack:
        own_pid = (await session.execute(_PID)).scalar_one()
        for _ in range(_POOL_TRIES):
            other = await stack.enter_async_context(engine.connect())
            if (await other.execute(_PID)).scalar_one() == own_pid:
                return False
            if (await session.execute(_PID)).scalar_one() != own_pid:
                return False
    return True
