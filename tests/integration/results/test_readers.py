"""Facts about readers: roles that read the views and nothing else, as BI tools do."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa
from harness.collected_run import DEPTH, KEYWORDS, Filled, filled_database
from harness.databases import copied_database
from harness.plans import count_handled_rows
from sqlalchemy.exc import DBAPIError

from serpline.cli import main
from serpline.domain.errors import UserError
from serpline.domain.results import ROWS, Ranking, columns_of
from serpline.store.database import Connection, Database
from serpline.store.embedded.server import EmbeddedServer
from serpline.store.maintenance.readers import (
    Limits,
    create,
    may_become,
    readers,
    remove,
    statements,
)
from serpline.store.tables.views import DDL, SCHEMA

LIMITS = Limits(statement_seconds=7, connections_max=3)
NAME = "reader_of_tests"
RESULTS = KEYWORDS * DEPTH
VIEWS = {row.VIEW for row in ROWS}

# What Metabase asks when it reads a database's schema, in our own words after
# src/metabase/driver/postgres.clj of metabase/metabase at 370249b.
METABASE = {
    "privileges": """
        SELECT schema, name FROM (
            SELECT schemaname AS schema, tablename AS name FROM pg_catalog.pg_tables
            UNION SELECT schemaname, viewname FROM pg_catalog.pg_views
            UNION SELECT schemaname, matviewname FROM pg_catalog.pg_matviews
        ) t WHERE schema !~ '^pg_' AND schema <> 'information_schema'
        AND has_schema_privilege(current_user, schema, 'usage')
        AND has_any_column_privilege(current_user, format('%I.%I', schema, name), 'select')""",
    "tables": """
        SELECT n.nspname, c.relname, c.relkind, d.description, stat.n_live_tup
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON c.relnamespace = n.oid
        LEFT JOIN pg_catalog.pg_description d ON c.oid = d.objoid AND d.objsubid = 0
            AND d.classoid = 'pg_class'::regclass
        LEFT JOIN pg_stat_user_tables stat
            ON n.nspname = stat.schemaname AND c.relname = stat.relname
        WHERE n.nspname = 'serpline_v1' AND c.relkind IN ('r', 'p', 'v', 'f', 'm')""",
    "fields": """
        SELECT c.table_name, c.column_name, c.udt_name, c.ordinal_position, pk.column_name,
            col_description(format('%I.%I', c.table_schema, c.table_name)::regclass::oid,
                c.ordinal_position) AS comment
        FROM information_schema.columns c LEFT JOIN (
            SELECT tc.table_schema, tc.table_name, kc.column_name
            FROM information_schema.table_constraints tc
            JOIN information_schema.key_column_usage kc USING (constraint_name, table_schema)
            WHERE tc.constraint_type = 'PRIMARY KEY'
        ) pk USING (table_schema, table_name, column_name)
        WHERE c.table_schema !~ '^information_schema|catalog_history|pg_'""",
}


@pytest.fixture(scope="module")
def filled(postgres: EmbeddedServer, template_database: str) -> Iterator[Filled]:
    with filled_database(postgres, template_database, []) as made:
        yield made


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    database = await Database.connect(url, pool_size=1)
    try:
        async with database.transaction() as conn:
            yield conn
    finally:
        await database.close()


@pytest.fixture
async def reader_url(postgres: EmbeddedServer, filled: Filled) -> AsyncIterator[str]:
    """The URL of a reader of the database, which is removed after the test."""
    owner = postgres.url(filled.name)
    async with connected(owner) as conn:
        assert await create(conn, NAME, LIMITS, password="correct horse")
    yield sa.make_url(owner).set(username=NAME).render_as_string()
    async with connected(owner) as conn:
        await remove(conn, NAME)


def as_reader(url: str) -> sa.Engine:
    """Opened as another program would: without our own settings of a session."""
    return sa.create_engine(url, poolclass=sa.NullPool)


def test_a_reader_reads_every_view(reader_url: str, filled: Filled) -> None:
    """Each view is found without naming its schema, under the limits of the role."""
    with as_reader(reader_url).connect() as conn:
        for row in ROWS:
            conn.execute(sa.text(f"SELECT * FROM {row.VIEW}")).fetchmany(1)
        ranked = sa.text("SELECT count(*) FROM rankings WHERE run_id = :run AND state = 'ranked'")
        assert conn.execute(ranked, {"run": filled.run_id}).scalar_one() > 100
        shown = [conn.execute(sa.text(f"SHOW {name}")).scalar_one() for name in (
            "statement_timeout", "transaction_read_only", "search_path")]  # fmt: skip
        assert shown == ["7s", "on", SCHEMA]


def test_a_run_that_was_not_analysed_is_read_in_time(reader_url: str, filled: Filled) -> None:
    """Without statistics too, a query over a run handles rows in proportion to it."""
    with as_reader(reader_url).connect() as conn, count_handled_rows() as seen:
        rows = conn.execute(
            sa.text("SELECT * FROM rankings WHERE run_id = :run"), {"run": filled.run_id}
        )
        found = len(rows.all())
    assert found == RESULTS
    # 19 rows for each result; with memoize 96, and more in a larger run.
    assert seen.rows <= 30 * RESULTS


def test_a_reader_reads_nothing_else(reader_url: str) -> None:
    """A reader has no right to a table or sequence of ours, and writes nothing when it may try."""
    engine = as_reader(reader_url)
    with engine.connect() as conn:
        others = conn.execute(
            sa.text(
                "SELECT c.oid::regclass::text FROM pg_class c"
                " WHERE c.relnamespace = 'public'::regnamespace"
                " AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'USAGE, SELECT')"
                " WHEN c.relkind IN ('r', 'v', 'm', 'p') THEN"
                " has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE, REFERENCES') END"
            )
        ).scalars()
        assert list(others) == []
        rights = "SELECT has_schema_privilege('public', 'CREATE'),"
        rights += " has_schema_privilege('serpline_v1', 'CREATE'),"
        rights += " has_database_privilege(current_database(), 'CREATE')"
        assert conn.execute(sa.text(rights)).one() == (False, False, False)
    for statement in (
        "SELECT * FROM public.keywords",
        "SELECT public.end_calls('[{\"id\": null}]')",
        "CREATE TABLE serpline_v1.mine (n int)",
        "DROP VIEW serpline_v1.runs",
        "ALTER ROLE reader_of_tests CREATEDB",
    ):
        with engine.connect() as conn:
            conn.execute(sa.text("SET TRANSACTION READ WRITE"))
            conn.execute(sa.text("SET search_path = public"))
            with pytest.raises(DBAPIError, match=r"denied|must be owner"):
                conn.execute(sa.text(statement))


def test_the_server_has_no_readable_password(
    reader_url: str, postgres: EmbeddedServer, filled: Filled
) -> None:
    """The password is stored, and sent, as a SCRAM hash."""
    assert NAME in reader_url
    with as_reader(postgres.url(filled.name)).connect() as conn:
        stored = sa.text("SELECT rolpassword FROM pg_authid WHERE rolname = :name")
        assert conn.execute(stored, {"name": NAME}).scalar_one().startswith("SCRAM-SHA-256$")
    assert "correct horse" not in postgres.log_file.read_text()


def test_metabase_finds_views_and_comments(reader_url: str) -> None:
    """The questions of Metabase are answered: views, columns and types, each with its comment."""
    with as_reader(reader_url).connect() as conn:
        found = {name: conn.execute(sa.text(query)).all() for name, query in METABASE.items()}
    assert set(found["privileges"]) == {(SCHEMA, view) for view in VIEWS}
    assert {(row.relname, row.relkind) for row in found["tables"]} == {(v, "v") for v in VIEWS}
    assert all(row.description for row in found["tables"])
    fields = {(row.table_name, row[1]): row for row in found["fields"]}
    assert set(fields) == {(row.VIEW, each.name) for row in ROWS for each in columns_of(row)}
    assert all(row.comment for row in fields.values())
    assert fields["rankings", "tags"].udt_name == "_text"


def test_superset_finds_views_and_comments(reader_url: str) -> None:
    """SQLAlchemy's inspector, which Superset uses, sees the views with types and comments."""
    with as_reader(reader_url).connect() as conn:
        _inspect(sa.inspect(conn))


def _inspect(inspector: sa.Inspector) -> None:
    assert SCHEMA in inspector.get_schema_names()
    assert inspector.default_schema_name == SCHEMA
    assert set(inspector.get_view_names(SCHEMA)) == VIEWS
    assert inspector.get_table_names(SCHEMA) == []
    columns = inspector.get_columns(Ranking.VIEW, SCHEMA)
    assert [(each["name"], each["comment"]) for each in columns] == [
        (each.name, each.column.comment) for each in columns_of(Ranking)
    ]
    assert inspector.get_table_comment(Ranking.VIEW, SCHEMA)["text"]
    assert inspector.get_indexes(Ranking.VIEW, SCHEMA) == []


def test_a_chart_of_superset(reader_url: str) -> None:
    """A virtual data set with a time grain, as Superset's charts send it, has an answer."""
    chart = """
        SELECT date_trunc('week', collected_on) AS "__timestamp", market AS market,
            avg(position) AS "AVG(position)", count(DISTINCT company) AS companies
        FROM (SELECT * FROM serpline_v1.rankings WHERE state = 'ranked') AS virtual_table
        WHERE collected_on >= to_date('2020-01-01', 'YYYY-MM-DD')
        GROUP BY date_trunc('week', collected_on), market
        ORDER BY "AVG(position)" DESC LIMIT 1000"""
    with as_reader(reader_url).connect() as conn:
        (row,) = conn.execute(sa.text(chart)).all()
        assert (row.market, row.companies > 100) == ("US", True)
        assert "cost=" in conn.execute(sa.text(f"EXPLAIN {chart}")).scalar()


def test_psql_reads_and_writes_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``serpline psql`` takes the reader's role if there is one, and writes nothing."""
    monkeypatch.setenv("SERPLINE_DATABASE_URL", database_url)

    def ask(statement: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "serpline.cli", "psql", "--", "-At"]
        for each in statement.split(";"):
            command += ["-c", each]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    counting = "SELECT current_user, count(*) FROM runs"
    with_options = sa.make_url(database_url).update_query_dict({"options": "-c geqo=off"})
    for url in (with_options.render_as_string(hide_password=False), database_url):
        monkeypatch.setenv("SERPLINE_DATABASE_URL", url)
        refused = ask(f"{counting}; SHOW geqo; DELETE FROM public.keywords")
        assert "postgres|0" in refused.stdout
        assert ("off" in refused.stdout) is (url != database_url)
        assert "read-only transaction" in refused.stderr
    assert main(["reader", "create", "--json"]) == 0
    try:
        found = json.loads(capsys.readouterr().out)
        assert (found["is_new"], found["has_password"]) == (True, True)
        assert sa.make_url(found["url"]).username == "serpline_reader"
        refused = ask(f"{counting}; SELECT * FROM public.keywords")
        assert "serpline_reader|0" in refused.stdout
        assert "permission denied" in refused.stderr
        assert main(["reader", "create", "--password", "secret"]) == 2
        assert "only - is allowed" in capsys.readouterr().err
    finally:
        assert main(["reader", "remove"]) == 0


async def test_a_reader_is_made_again_and_removed(db: Database, database_url: str) -> None:
    """Making a reader again sets its limits; removing it takes role and rights."""
    async with db.transaction() as conn:
        assert await create(conn, "again", LIMITS, password=None)
        assert not await create(conn, "again", Limits(0, 4), password=None)
        (found,) = await readers(conn)
        assert (found.name, found.limits) == ("again", Limits(0, 4))
        for given, seconds in (("5min", 300), ("1500", 2), ("1.5h", 5400)):
            await conn.execute(sa.text(f"ALTER ROLE again SET statement_timeout = '{given}'"))
            assert [each.limits for each in await readers(conn)] == [Limits(seconds, 4)]
        assert await may_become(conn, "again")
    async with db.transaction() as conn:
        assert await remove(conn, "again")
        assert await readers(conn) == []
        assert not await may_become(conn, "again")
        with pytest.raises(UserError, match="there is no such role"):
            await remove(conn, "again")


async def test_a_reader_of_two_databases(
    db: Database, postgres: EmbeddedServer, template_database: str
) -> None:
    """Removed from one database, a reader goes on reading the other."""
    with copied_database(postgres, template_database) as url:
        async with connected(url) as conn:
            assert await create(conn, "of_two", LIMITS, password=None)
        async with db.transaction() as conn:
            assert not await create(conn, "of_two", LIMITS, password=None)
        async with db.transaction() as conn:
            assert not await remove(conn, "of_two")
            assert await readers(conn) == []
        async with connected(url) as conn:
            assert [each.name for each in await readers(conn)] == ["of_two"]
            assert await remove(conn, "of_two")


async def test_removing_a_reader_ends_its_sessions(db: Database, database_url: str) -> None:
    """A session that was opened before reads no more."""
    async with db.transaction() as conn:
        await create(conn, "leaving", LIMITS, password=None)
    url = sa.make_url(database_url).set(username="leaving").render_as_string()
    with as_reader(url).connect() as session:
        session.execute(sa.text("SELECT 1"))
        async with db.transaction() as conn:
            assert await remove(conn, "leaving")
        with pytest.raises(DBAPIError, match="terminating connection"):
            session.execute(sa.text("SELECT pg_sleep(6)"))


def test_a_reader_of_another_database_keeps_its_password(
    database_url: str,
    postgres: EmbeddedServer,
    template_database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Tools that read the other database go on with the password that they have."""
    with copied_database(postgres, template_database) as other:
        found = []
        for url in (other, database_url):
            monkeypatch.setenv("SERPLINE_DATABASE_URL", url)
            assert main(["reader", "create", "shared_reader", "--json"]) == 0
            found.append(json.loads(capsys.readouterr().out))
        assert [(each["is_new"], each["has_password"]) for each in found] == [
            (True, True),
            (False, False),
        ]
        for url in (database_url, other):
            monkeypatch.setenv("SERPLINE_DATABASE_URL", url)
            assert main(["reader", "remove", "shared_reader"]) == 0


async def test_an_administrator_makes_a_reader(db: Database) -> None:
    """Views that our own role adds later are read, whoever executed the SQL."""
    async with db.transaction() as conn:
        await conn.execute(sa.text("CREATE ROLE ours_of_tests"))
        await conn.execute(sa.text("GRANT USAGE, CREATE ON SCHEMA serpline_v1 TO ours_of_tests"))
        for each in statements("of_admin", db.name, LIMITS, owner="ours_of_tests"):
            await conn.execute(sa.text(each.as_string()))
        await conn.execute(sa.text("SET ROLE ours_of_tests"))
        await conn.execute(sa.text("CREATE VIEW serpline_v1.added AS SELECT 1 AS n"))
        right = "SELECT has_table_privilege('of_admin', 'serpline_v1.added', 'SELECT')"
        assert (await conn.execute(sa.text(right))).scalar_one()
        await conn.rollback()


async def test_a_reader_that_could_create_objects_is_refused(db: Database) -> None:
    """A function of a reader's in a schema that we search would run with our rights."""
    async with db.transaction() as conn:
        await conn.execute(sa.text("GRANT CREATE ON SCHEMA public TO PUBLIC"))
        with pytest.raises(UserError, match="REVOKE CREATE ON SCHEMA public FROM PUBLIC"):
            await create(conn, "creating", LIMITS, password=None)
        await conn.rollback()


async def test_views_made_again_are_still_read(db: Database) -> None:
    """A release that makes a view again, or adds one, leaves it to the readers."""
    async with db.transaction() as conn:
        await create(conn, "lasting", LIMITS, password=None)
        await conn.execute(sa.text("DROP VIEW serpline_v1.dsi"))
        for statement in DDL:
            await conn.execute(sa.text(statement))
        for view in VIEWS:
            right = sa.text("SELECT has_table_privilege('lasting', :view, 'SELECT')")
            assert (await conn.execute(right, {"view": f"{SCHEMA}.{view}"})).scalar_one(), view
        await remove(conn, "lasting")


async def test_names_that_are_refused(db: Database) -> None:
    """A name that is no plain one, or is another role's, is refused in one line."""
    async with db.transaction() as conn:
        for name in ("Reader", "a b", "pg_reader", "", "x" * 64, "a;b"):
            with pytest.raises(UserError, match="must be a name of a-z"):
                await create(conn, name, LIMITS, password=None)
        with pytest.raises(UserError, match="another role of this name"):
            await create(conn, "postgres", LIMITS, password=None)
        with pytest.raises(UserError, match="another role of this name"):
            await remove(conn, "postgres")


async def test_a_role_that_may_make_no_roles(db: Database) -> None:
    """Without the right to make roles, one line names what an administrator can run."""
    async with db.session() as conn:
        await conn.execute(sa.text("CREATE ROLE plain"))
        await conn.execute(sa.text("SET SESSION AUTHORIZATION plain"))
        with pytest.raises(UserError, match=r"may not do this .*reader create --sql"):
            await create(conn, "made_by_plain", LIMITS, password=None)
        await conn.execute(sa.text("RESET SESSION AUTHORIZATION"))
        await conn.execute(sa.text("DROP ROLE plain"))
