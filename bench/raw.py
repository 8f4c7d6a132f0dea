"""The limit: plain psycopg writes rows of the same widths as serpline's."""

import time

import psycopg

from bench.noop import RESULT

_BATCH = 500


def raw_seconds(conninfo: str, count: int) -> float:
    """Seconds to insert items, update them and insert results, 500 rows a transaction."""
    names = [f"item-{n:09}" for n in range(1, count + 1)]
    batches = [names[i : i + _BATCH] for i in range(0, count, _BATCH)]
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute(
            "CREATE TABLE raw_items (lane_id bigint, item text, chunk_no int, status text,"
            " attempts smallint, next_attempt_at timestamptz, error_category text, error text,"
            " PRIMARY KEY (lane_id, item)) WITH (fillfactor = 60)"
        )
        conn.execute(
            "CREATE TABLE raw_results (lane_id bigint, item text, result jsonb,"
            " PRIMARY KEY (lane_id, item))"
        )
        started = time.perf_counter()
        for no, batch in enumerate(batches):
            with conn.transaction():
                conn.execute(
                    "INSERT INTO raw_items (lane_id, item, chunk_no, status, attempts)"
                    " SELECT 1, i, %s, 'pending', 0 FROM unnest(%s::text[]) i",
                    (no, batch),
                )
        for batch in batches:
            with conn.transaction():
                conn.execute(
                    "UPDATE raw_items SET status = 'completed' FROM unnest(%s::text[]) u(i)"
                    " WHERE lane_id = 1 AND item = u.i",
                    (batch,),
                )
                conn.execute(
                    "INSERT INTO raw_results SELECT 1, i, r::jsonb"
                    " FROM unnest(%s::text[], %s::text[]) u(i, r)",
                    (batch, [RESULT] * len(batch)),
                )
        return time.perf_counter() - started
