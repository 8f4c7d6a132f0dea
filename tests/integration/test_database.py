"""Facts about the way to PostgreSQL: clear refusals, and losses that cost one transaction."""

import asyncio
import re

import psycopg
import pytest
import sqlalchemy as sa
from harness.pooler import pooled

import serpline.store.database as database_module
from serpline.domain.errors import UserError
from serpline.store.database import (
    POOL_OVERFLOW_MAX,
    Database,
    DatabaseUnavailable,
    LockUnavailable,
    TransactionConflict,
    parse_url,
)
from serpline.store.embedded.files import SOCKET_NAME
from serpline.store.embedded.server import EmbeddedServer, ensure_server


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
async def test_a_url_that_is_no_use_is_refused_in_one_line(url: str, said: str) -> None:
    """A URL that cannot be used is named, its password is not."""
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
def test_an_at_sign_may_stand_where_it_ends_no_password(url: str, password: str | None) -> None:
    """Escaped, in the user's name, and in the values of the query."""
    assert parse_url(url).password == password


async def test_an_unknown_database_is_refused_in_one_line(postgres: EmbeddedServer) -> None:
    """What the server says about a refused login ends up in our one line."""
    with pytest.raises(UserError, match='database "nowhere" does not exist') as refused:
        await Database.connect(postgres.url("nowhere"))
    assert "\n" not in str(refused.value)


async def test_a_wrong_password_is_refused_without_showing_it(own_server: EmbeddedServer) -> None:
    """The server's words about a wrong password are told, the password is not."""
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
    """A database that cannot be written (a standby) is refused at once, not at the first write."""
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
    """Every connection shows whose it is, and runs with JIT off and idle transactions bounded.

    Those of the pool end when nobody needs them; a session may lie idle as long as it likes."""
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
    """What the pool connects anew is ended as well: that is the server's state, no bug of ours."""
    monkeypatch.setattr(database_module, "is_readable", lambda _socket: True)
    with pytest.raises(DatabaseUnavailable, match="ends new connections"):
        async with db.transaction():
            pass
    monkeypatch.undo()
    async with db.transaction() as conn:
        await conn.execute(sa.text("SELECT 1"))


async def test_a_list_of_parameters_is_refused(db: Database) -> None:
    """It would be sent as a pipeline, in which no limit on idle transactions runs."""
    async with db.transaction() as conn:
        with pytest.raises(RuntimeError, match="as an array"):
            await conn.execute(sa.text("SELECT :n"), [{"n": 1}, {"n": 2}])


async def test_a_transaction_commits_or_undoes(db: Database) -> None:
    """The end of the block commits; an exception undoes everything and passes unchanged."""
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
    """Killing every connection undoes the transaction under way; the next one works."""

    async def lose() -> None:
        async with db.transaction() as conn:
            await conn.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))

    async with db.transaction() as conn:
        await conn.execute(sa.text("SELECT 1"))
    with pytest.raises(DatabaseUnavailable, match="terminating connection"):
        await lose()
    async with db.transaction() as conn:
        assert (await conn.execute(sa.text("SELECT 1"))).scalar_one() == 1


async def test_short_statements_that_meet_share_a_connection(db: Database) -> None:
    """A pool grows for work that takes long, not for loops that meet by chance."""
    pid = sa.text("SELECT pg_backend_pid()")

    async def one() -> int:
        async with db.statement() as conn:
            return int((await conn.execute(pid)).scalar_one())

    first = await one()
    assert await asyncio.gather(one(), one()) == [first, first]
    async with db.transaction() as conn:
        assert (await conn.execute(pid)).scalar_one() == first
        assert await one() != first


async def test_a_connection_ended_while_it_lay_idle_costs_nothing(db: Database) -> None:
    """The pool sees by the socket that the server ended it, and replaces it before its use."""
    pid = sa.text("SELECT pg_backend_pid()")
    async with db.transaction() as conn:
        ended = (await conn.execute(pid)).scalar_one()
    async with db.session() as admin:
        await admin.execute(sa.text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": ended})
    async with db.transaction() as conn:
        assert (await conn.execute(pid)).scalar_one() != ended


async def test_a_restart_of_the_server_is_survived(own_server: EmbeddedServer) -> None:
    """While the server is down it is unavailable; when it is back, the same object works."""

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
    """Of two transactions that wait for each other one is undone, and told so by name."""
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
async def test_states_of_the_server_are_no_bugs(
    db: Database, state: str, kind: type[Exception]
) -> None:
    """What the server could not do now is told as that, in words; all else stays what it is."""
    with pytest.raises(kind, match="the reason") as told:
        await do(db, RAISE.format(state=state))
    if kind is not sa.exc.DBAPIError:
        assert "\n" not in str(told.value)
    async with db.transaction() as conn:
        assert (await conn.execute(sa.text("SELECT 42"))).scalar_one() == 42


async def test_a_statement_that_ran_out_of_time_is_no_bug(db: Database) -> None:
    """A limit that the operator set ends a statement, and is told as the server's state."""
    with pytest.raises(DatabaseUnavailable, match="statement timeout"):
        await do(db, "SET LOCAL statement_timeout = '10ms'", "SELECT pg_sleep(5)")


async def test_a_lock_that_is_not_to_be_had_is_a_conflict(db: Database) -> None:
    """Who may not wait for a lock any longer can do the same again later."""
    lock = "LOCK TABLE items IN ACCESS EXCLUSIVE MODE"
    async with db.transaction() as holder:
        await holder.execute(sa.text(lock))
        with pytest.raises(LockUnavailable, match="lock timeout"):
            await do(db, "SET LOCAL lock_timeout = '10ms'", lock)


async def test_a_server_with_another_usual_isolation_does_not_change_ours(
    database_url: str,
) -> None:
    """What is judged after a lock is judged as it is then: no snapshot outlives its statement."""
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


async def test_a_server_that_became_read_only_is_left(database_url: str) -> None:
    """After a fail-over no connection to the old server is used again: each is made anew."""
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
    """When every connection is in use the next transaction waits, and then says so."""
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
    """What a session holds is free as soon as its block is left."""
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
    """One line, before anything is locked in a session that another client would be given."""
    name = sa.make_url(database_url).database
    async with pooled(postgres.socket_dir / SOCKET_NAME) as port:
        with pytest.raises(
            UserError, match=r"pooler in transaction mode .*: name PostgreSQL.s own port"
        ):
            await Database.connect(f"postgresql://postgres@127.0.0.1:{port}/{name}")


async def test_what_is_in_use_is_closed_when_it_is_given_back(database_url: str) -> None:
    """A transaction that outlasts ``close`` is committed, and leaves no open connection."""
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


async def test_sessions_are_told_from_transactions(
    database_url: str, postgres: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooler that passes our settings on, and still shares its server processes, is found too."""
    name = sa.make_url(database_url).database
    async with pooled(postgres.socket_dir / SOCKET_NAME) as port:
        parsed = parse_url(f"postgresql://postgres@127.0.0.1:{port}/{name}")
        database = Database(parsed, application_name="test", pool_size=2)
        try:
            assert not await database._keeps_sessions()
        finally:
            await database.close()
    direct = await Database.connect(database_url)
    try:
        assert await direct._keeps_sessions()
    finally:
        await direct.close()
