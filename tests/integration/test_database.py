"""Facts about access to PostgreSQL: clear errors, and losses that cost one transaction."""

import asyncio
import re

import psycopg
import pytest
import sqlalchemy as sa
from harness.pooler import pooled

import serpline.store.database as database_module
from serpline.domain.errors import UserError
from serpline.store.database import (
    IDLE_AFTER_SECONDS,
    POOL_OVERFLOW_MAX,
    Database,
    DatabaseUnavailable,
    LockUnavailable,
    TransactionConflict,
)
from serpline.store.database_url import parse_url
from serpline.store.embedded.files import SOCKET_NAME
from serpline.store.embedded.server import EmbeddedServer, ensure_server
from serpline.store.server_check import keeps_sessions


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "SERPLINE_DATABASE_URL=: not a URL of a PostgreSQL database"),
        ("postgresql//me:hunter2@host/x", "SERPLINE_DATABASE_URL=postgresql//***@host/x: not a"),
        ("postgresql://me:hunter2@host:port/x", "//***@host:port/x: not a URL"),
        ("sqlite:///x.db", "sqlite:///x.db: must start with postgresql://"),
        ("mysql://me:hunter2@host/x", "mysql://me:***@host/x: must start with"),
        ("postgresql://me:hunter2@host", "me:***@host: names no database"),
        ("postgresql://me:hunter2@127.0.0.1:1/x", "me:***@127.0.0.1:1/x: cannot connect:"),
        ("postgresql://me@127.0.0.1:1/x?password=hunter2", "x?password=***: cannot connect:"),
        ("postgresql://me@127.0.0.1:1/x?SSLPassword=hunter2", "x?SSLPassword=***: cannot connect:"),
        ("postgresql://me:conn@127.0.0.1:1/x?sslpassword=connection", "connect: *** failed: "),
        ("postgresql://me:a@hunter2@host/x", "//***@host/x: an @ in the password must be written"),
        ("postgresql://me:a@hunter2/b@host/x", "//***@host/x: an @ in the password"),
        ("postgresql://me:a@hunter2?b@host/x?user=c", "//***@host/x?user=c: an @ in the password"),
        ("mysql://me:a@hunter2@host/x", "mysql://***@host/x: an @ in the password"),
        ("postgresql//me:hun\nter2@host/x", "postgresql//***@host/x: not a URL"),
        ("postgresql://me:hunter2@127.0.0.1:1/x?nonsense=1", "cannot connect: "),
        ("postgresql://me:hunter2@127.0.0.1:1/x?connect_timeout=no", "cannot connect: "),
    ],
)
async def test_an_invalid_url_is_refused_in_one_line(url: str, said: str) -> None:
    """The error shows an invalid URL without its password."""
    with pytest.raises(UserError) as refused:
        await Database.connect(url)
    message = str(refused.value)
    assert said in message
    assert message.startswith("SERPLINE_DATABASE_URL=")
    assert "hunter2" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("postgresql://me:a%40b@host/x%40y", "a@b"),
        ("postgresql://me@tenant:a@host/x", "a"),
        ("postgresql://me:a@/x?host=/run/a@b", "a"),
        ("postgresql://me@/x?host=/run/a@b&user=c@d", None),
    ],
)
def test_an_at_sign_is_allowed_where_it_is_unambiguous(url: str, password: str | None) -> None:
    """An @ is allowed if escaped, in the user's name, and in the query's values."""
    assert parse_url(url).password == password


async def test_an_unknown_database_is_refused_in_one_line(postgres: EmbeddedServer) -> None:
    """The server's message about a refused login is in our one line."""
    with pytest.raises(UserError, match='database "nowhere" does not exist') as refused:
        await Database.connect(postgres.url("nowhere"))
    assert "\n" not in str(refused.value)


async def test_a_wrong_password_is_refused_without_showing_it(own_server: EmbeddedServer) -> None:
    """The error has the server's message about a wrong password, but not the password."""
    with psycopg.connect(own_server.conninfo("postgres"), autocommit=True) as admin:
        admin.execute("CREATE ROLE locked LOGIN PASSWORD 'correct'")
        (rules,) = own_server.data_dir.rglob("pg_hba.conf")
        rules.write_text("local all locked scram-sha-256\n" + rules.read_text())
        admin.execute("SELECT pg_reload_conf()")
    url = own_server.url().replace("postgres@", "locked:hunter2@")
    with pytest.raises(UserError, match="password authentication failed") as refused:
        await Database.connect(url)
    assert "hunter2" not in str(refused.value)
    right = await Database.connect(url.replace("hunter2", "correct"))
    try:
        assert "correct" not in right.shown_url
        async with right.transaction() as conn:
            assert (await conn.execute(sa.text("SELECT current_user"))).scalar_one() == "locked"
    finally:
        await right.close()


async def test_a_read_only_database_is_refused(database_url: str) -> None:
    """A read-only database (a standby) is refused at once, not at the first write."""
    url = f"{database_url}&options=-c%20default_transaction_read_only%3Don"
    with pytest.raises(UserError, match="the database is read-only"):
        await Database.connect(url)


async def test_another_encoding_is_refused(postgres: EmbeddedServer) -> None:
    """Keywords of every language need UTF-8."""
    with psycopg.connect(postgres.conninfo("postgres"), autocommit=True) as admin:
        admin.execute(
            "CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0"
            " LOCALE 'C' LOCALE_PROVIDER libc"
        )
    with pytest.raises(UserError, match="encoding SQL_ASCII"):
        await Database.connect(postgres.url("ascii"))


async def test_connections_carry_their_name_and_settings(database_url: str) -> None:
    """Every connection has its name, JIT off, and a limit on idle transactions.

    Idle pooled connections end; a session may be idle for any time."""
    query = sa.text(
        "SELECT current_setting('application_name'), current_setting('jit'),"
        " current_setting('idle_in_transaction_session_timeout'),"
        " current_setting('idle_session_timeout')"
    )
    long = "serpline worker ładny " + "x" * 70
    database = await Database.connect(database_url, application_name=long)
    other = await Database.connect(database_url, application_name=long)
    try:
        async with database.transaction() as conn:
            name, *limits = (await conn.execute(query)).one()
        assert re.fullmatch("serpline worker [?]adny x{18} [0-9a-f]{8}", name)
        assert limits == ["off", "20s", "1min"]
        async with database.session() as conn:
            assert tuple((await conn.execute(query)).one()) == (name, "off", "20s", "0")
        async with other.transaction() as conn:
            assert (await conn.execute(query)).one()[0] != name
    finally:
        await database.close()
        await other.close()


async def test_connections_that_are_ended_at_once_are_an_outage(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the server also ends the pool's new connections, it is unavailable; it is no bug."""
    monkeypatch.setattr(database_module, "is_readable", lambda _socket: True)
    with pytest.raises(DatabaseUnavailable, match="ends new connections"):
        async with db.transaction():
            pass
    monkeypatch.undo()
    async with db.transaction() as conn:
        await conn.execute(sa.text("SELECT 1"))


async def test_a_list_of_parameters_is_refused(db: Database) -> None:
    """It would be sent as a pipeline, to which no limit on idle transactions applies."""
    async with db.transaction() as conn:
        with pytest.raises(RuntimeError, match="as an array"):
            await conn.execute(sa.text("SELECT :n"), [{"n": 1}, {"n": 2}])


async def test_a_transaction_commits_or_rolls_back(db: Database) -> None:
    """The end of the block commits; an exception rolls back and passes unchanged."""
    async with db.transaction() as conn:
        await conn.execute(sa.text("CREATE TABLE things (id int)"))

    async def fail() -> None:
        async with db.transaction() as conn:
            await conn.execute(sa.text("INSERT INTO things VALUES (1)"))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail()
    async with db.transaction() as conn:
        count = await conn.execute(sa.text("SELECT count(*) FROM things"))
        assert count.scalar_one() == 0


async def test_an_error_does_not_show_the_values_of_its_statement(db: Database) -> None:
    """They may be raw replies or keys; the statement itself is shown."""
    with pytest.raises(sa.exc.DBAPIError) as caught:
        async with db.session() as conn:
            await conn.execute(sa.text("SELECT :value WHERE nonsense"), {"value": "hunter2"})
    assert "nonsense" in str(caught.value)
    assert "hunter2" not in f"{caught.value} {caught.value!r}"


async def test_a_lost_connection_costs_one_transaction(db: Database) -> None:
    """Killing every connection rolls back the current transaction; the next one works."""

    async def lose() -> None:
        async with db.transaction() as conn:
            await conn.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))

    async with db.transaction() as conn:
        await conn.execute(sa.text("SELECT 1"))
    with pytest.raises(DatabaseUnavailable, match="terminating connection"):
        await lose()
    async with db.transaction() as conn:
        assert (await conn.execute(sa.text("SELECT 1"))).scalar_one() == 1


async def test_short_statements_share_a_connection(db: Database) -> None:
    """A pool grows for long work, not for loops that coincide."""
    pid = sa.text("SELECT pg_backend_pid()")

    async def one() -> int:
        async with db.statement() as conn:
            return int((await conn.execute(pid)).scalar_one())

    first = await one()
    assert await asyncio.gather(one(), one()) == [first, first]
    async with db.transaction() as conn:
        assert (await conn.execute(pid)).scalar_one() == first
        assert await one() != first
    # Both are idle now. A busy process uses both; after a pause, loops that coincide share one.
    assert len(set(await asyncio.gather(one(), one()))) == 2
    await asyncio.sleep(IDLE_AFTER_SECONDS + 0.1)
    assert len(set(await asyncio.gather(one(), one(), one()))) == 1


async def test_a_connection_that_ended_while_idle_costs_nothing(db: Database) -> None:
    """The pool sees at the socket that the server ended it, and replaces it before use."""
    pid = sa.text("SELECT pg_backend_pid()")
    async with db.transaction() as conn:
        ended = (await conn.execute(pid)).scalar_one()
    async with db.session() as admin:
        await admin.execute(sa.text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": ended})
    async with db.transaction() as conn:
        assert (await conn.execute(pid)).scalar_one() != ended


async def test_a_restart_of_the_server_is_survived(own_server: EmbeddedServer) -> None:
    """While the server is down it is unavailable; afterwards the same object works."""

    async def ask() -> int:
        async with database.transaction() as conn:
            answer: int = (await conn.execute(sa.text("SELECT 42"))).scalar_one()
        return answer

    database = await Database.connect(own_server.url())
    try:
        assert await ask() == 42
        await asyncio.to_thread(own_server.stop)
        with pytest.raises(DatabaseUnavailable):
            await ask()
        await asyncio.to_thread(ensure_server, own_server.data_dir)
        assert await ask() == 42
    finally:
        await database.close()


async def test_a_deadlock_is_a_conflict(db: Database) -> None:
    """One of two transactions in a deadlock is rolled back with ``TransactionConflict``."""
    async with db.transaction() as conn:
        await conn.execute(sa.text("CREATE TABLE things (id int PRIMARY KEY)"))
        await conn.execute(sa.text("INSERT INTO things VALUES (1), (2)"))
    barrier = asyncio.Barrier(2)

    async def lock(first: int, second: int) -> None:
        async with db.transaction() as conn:
            query = sa.text("SELECT FROM things WHERE id = :id FOR UPDATE")
            await conn.execute(query, {"id": first})
            await barrier.wait()
            await conn.execute(query, {"id": second})

    results = await asyncio.gather(lock(1, 2), lock(2, 1), return_exceptions=True)
    (undone,) = [result for result in results if result is not None]
    assert isinstance(undone, TransactionConflict)


async def do(database: Database, *statements: str) -> None:
    """The statements in one transaction."""
    async with database.transaction() as conn:
        for statement in statements:
            await conn.execute(sa.text(statement))


RAISE = "DO $$ BEGIN RAISE SQLSTATE '{state}' USING MESSAGE = 'the reason'; END $$"


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("08006", DatabaseUnavailable),
        ("53200", DatabaseUnavailable),
        ("57014", DatabaseUnavailable),
        ("57P01", DatabaseUnavailable),
        ("58030", DatabaseUnavailable),
        ("25006", DatabaseUnavailable),
        ("40001", TransactionConflict),
        ("55P03", LockUnavailable),
        ("42P01", sa.exc.DBAPIError),
        ("XX000", sa.exc.DBAPIError),
    ],
)
async def test_server_errors_are_unavailability(
    db: Database, state: str, kind: type[Exception]
) -> None:
    """Errors of the server's state become ``DatabaseUnavailable``; other errors stay."""
    with pytest.raises(kind, match="the reason") as told:
        await do(db, RAISE.format(state=state))
    if kind is not sa.exc.DBAPIError:
        assert "\n" not in str(told.value)
    async with db.transaction() as conn:
        assert (await conn.execute(sa.text("SELECT 42"))).scalar_one() == 42


async def test_a_statement_timeout_is_unavailability(db: Database) -> None:
    """A statement timeout of the operator becomes ``DatabaseUnavailable``."""
    with pytest.raises(DatabaseUnavailable, match="statement timeout"):
        await do(db, "SET LOCAL statement_timeout = '10ms'", "SELECT pg_sleep(5)")


async def test_a_lock_timeout_is_a_conflict(db: Database) -> None:
    """A lock timeout is a conflict, which can be retried."""
    lock = "LOCK TABLE items IN ACCESS EXCLUSIVE MODE"
    async with db.transaction() as holder:
        await holder.execute(sa.text(lock))
        with pytest.raises(LockUnavailable, match="lock timeout"):
            await do(db, "SET LOCAL lock_timeout = '10ms'", lock)


async def test_times_come_in_utc(database_url: str) -> None:
    """Whatever the server's zone: tables, JSON and messages show times as they come."""
    name = sa.make_url(database_url).database
    database = await Database.connect(database_url, pool_size=1)
    await do(database, f"ALTER DATABASE \"{name}\" SET timezone = 'Asia/Kolkata'")
    await database.close()
    database = await Database.connect(database_url, pool_size=1)
    try:
        async with database.transaction() as conn:
            found = (await conn.execute(sa.text("SELECT now()"))).scalar_one()
        assert found.utcoffset().total_seconds() == 0
    finally:
        await database.close()


async def test_the_servers_default_isolation_does_not_change_ours(
    database_url: str,
) -> None:
    """A statement after a lock sees the state after it: no snapshot outlives its statement."""
    name = sa.make_url(database_url).database
    query = sa.text("SELECT current_setting('transaction_isolation')")
    database = await Database.connect(database_url, pool_size=1)
    usual = "default_transaction_isolation = serializable"
    await do(database, f'ALTER DATABASE "{name}" SET {usual}')
    await database.close()
    database = await Database.connect(database_url, pool_size=1)
    try:
        async with database.transaction() as conn:
            assert (await conn.execute(query)).scalar_one() == "read committed"
        async with database.statement() as conn:
            assert (await conn.execute(query)).scalar_one() == "read committed"
        async with database.session() as conn:
            assert (await conn.execute(query)).scalar_one() == "read committed"
    finally:
        await database.close()


async def test_a_server_that_became_read_only_is_disconnected(database_url: str) -> None:
    """After a fail-over every connection to the old server is replaced."""
    database = await Database.connect(database_url, pool_size=2)

    async def pids() -> set[int]:
        async with database.transaction() as one, database.transaction() as two:
            query = sa.text("SELECT pg_backend_pid()")
            return {(await conn.execute(query)).scalar_one() for conn in (one, two)}

    try:
        before = await pids()
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            await do(database, "SET TRANSACTION READ ONLY", "DELETE FROM items")
        assert before.isdisjoint(await pids())
    finally:
        await database.close()


async def test_the_pool_is_bounded_and_the_wait_for_it_too(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If all connections are in use, the next transaction waits, and then raises."""
    monkeypatch.setattr("serpline.store.database.POOL_WAIT_SECONDS", 0.05)
    database = await Database.connect(database_url, pool_size=1)
    size = 1 + POOL_OVERFLOW_MAX
    busy = asyncio.Barrier(size + 1)
    free = asyncio.Event()

    async def hold() -> None:
        async with database.transaction():
            await busy.wait()
            await free.wait()

    async def once_more() -> None:
        async with database.transaction():
            pass

    holding = [asyncio.create_task(hold()) for _ in range(size)]
    try:
        await busy.wait()
        with pytest.raises(DatabaseUnavailable, match="no free connection"):
            await once_more()
    finally:
        free.set()
        await asyncio.gather(*holding)
        await database.close()


async def test_a_session_lock_ends_with_its_session(db: Database) -> None:
    """A session's locks are released when its block ends."""
    take = sa.text("SELECT pg_try_advisory_lock(4711)")
    async with db.session() as first:
        assert (await first.execute(take)).scalar_one() is True
        async with db.session() as second:
            assert (await second.execute(take)).scalar_one() is False
    wait = sa.text("SELECT pg_advisory_lock(4711)")
    async with asyncio.timeout(30), db.session() as third:
        await third.execute(wait)


async def test_a_pooler_in_transaction_mode_is_refused_at_once(
    database_url: str, postgres: EmbeddedServer
) -> None:
    """One line, before a lock is taken in a session that another client could get."""
    name = sa.make_url(database_url).database
    async with pooled(postgres.socket_dir / SOCKET_NAME) as port:
        with pytest.raises(
            UserError, match=r"pooler in transaction mode .*: name PostgreSQL.s own port"
        ):
            await Database.connect(f"postgresql://postgres@127.0.0.1:{port}/{name}")


async def test_what_is_in_use_is_closed_when_it_is_given_back(database_url: str) -> None:
    """A transaction in progress at ``close`` still commits, and leaves no open connection."""
    database = await Database.connect(database_url)
    async with database.transaction() as conn:
        raw = (await conn.get_raw_connection()).driver_connection
        await conn.execute(sa.text("CREATE TABLE outlasts AS SELECT 1 AS n"))
        await database.close()
        assert raw is not None
        assert not raw.closed
    assert raw.closed
    async with database.transaction() as conn:
        again = (await conn.get_raw_connection()).driver_connection
        assert (await conn.execute(sa.text("SELECT n FROM outlasts"))).scalar_one() == 1
    assert again is not None
    assert again.closed


async def test_a_transaction_pooler_is_detected(
    database_url: str, postgres: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooler that passes our settings on but shares server processes is detected too."""
    name = sa.make_url(database_url).database
    async with pooled(postgres.socket_dir / SOCKET_NAME) as port:
        parsed = parse_url(f"postgresql://postgres@127.0.0.1:{port}/{name}")
        database = Database(parsed, application_name="test", pool_size=2)
        try:
            assert not await keeps_sessions(database._engine, database._unpooled)
        finally:
            await database.close()
    direct = await Database.connect(database_url)
    try:
        assert await keeps_sessions(direct._engine, direct._unpooled)
    finally:
        await direct.close()
