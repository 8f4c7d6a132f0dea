"""What the benchmark reads from PostgreSQL's log."""

from pathlib import Path

import psycopg
import pytest
from bench.statements import LOGGED, costs
from psycopg import sql

from serpline.store.embedded.server import EmbeddedServer


@pytest.mark.parametrize("times", [3, 30])
def test_a_statement_is_counted_with_its_processor_time(
    postgres: EmbeddedServer, database_url: str, times: int
) -> None:
    """Each execution once, prepared or not, whatever its values; sleeping takes no time."""
    log: Path = postgres.log_file
    conninfo = database_url.replace("+psycopg", "")
    with psycopg.connect(conninfo, autocommit=True) as conn:
        for setting in LOGGED:
            name, value = setting.split(" = ")
            conn.execute(sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        offset = log.stat().st_size
        for n in range(times):
            conn.execute("SELECT count(*),\n %s FROM generate_series(1, 20000)", (n,))
            conn.execute(f"SELECT pg_sleep(0.01), '{n}'")
        conn.execute("SET log_statement_stats = off")
    found = costs(log, offset)
    counted = found["SELECT count(*), $? FROM generate_series(?, ?)"]
    slept = found["SELECT pg_sleep(?.?), ?"]
    assert (counted.calls, slept.calls) == (times, times)
    assert 0 < slept.seconds < 0.01 * times
    assert counted.seconds > slept.seconds
