"""The cost of a poll: the same after two days of polls as after the first."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa

from serpline.core.ids import new_id
from serpline.store.calls import ledger
from serpline.store.calls.ledger import AdmissionRequest, Answer, Intent, Limits
from serpline.store.database import Connection, Database
from serpline.store.rows import document

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = bytes(range(32))
HOW = Limits(1000, retry_share=0.1, retry_floor=30, tokens_max=20)
FEW, MANY = 200, 20_000

_POLLS = sa.text(
    "WITH polls AS (INSERT INTO provider_calls (id, key, provider, operation, identity, freshness,"
    " shared, status, attempt, started_at, finished_at, error_category)"
    " SELECT gen_random_uuid(), :key, 'example', 'get_batch', :key, 'run:x', false, :status, n,"
    " CAST(:now AS timestamptz) - make_interval(secs => CAST(:polls AS int) - n + 1),"
    " CAST(:now AS timestamptz) - make_interval(secs => CAST(:polls AS int) - n + 1),"
    " :category FROM generate_series(1, CAST(:polls AS int)) AS n RETURNING id, finished_at)"
    " INSERT INTO raw_replies (call_id, http_status, headers, url, body, size_bytes, stored_at)"
    " SELECT id, 200, '{}', 'u', 'b', 1, finished_at FROM polls WHERE :status = 'ok'"
)


def poll(fresh_since: datetime | None = None) -> AdmissionRequest:
    intent = Intent(
        id=new_id(),
        key=KEY,
        provider="example",
        operation="get_batch",
        identity=KEY,
        freshness="run:x",
        shared=False,
        run_id=None,
        chunk_id=None,
        epoch=None,
        started_at=NOW,
        credits=Decimal(0),
        scopes=(),
    )
    return AdmissionRequest(intent, HOW, fresh_since)


async def polled(conn: Connection, polls: int, status: str, category: str | None) -> None:
    """Write polls to the ledger, one a second, the last a second before ``NOW``."""
    given = {"key": KEY, "now": NOW, "polls": polls, "status": status, "category": category}
    await conn.execute(_POLLS, given)


async def pages_read(conn: Connection, request: AdmissionRequest) -> int:
    """Database pages that the admission of a call reads."""
    values = {
        "requests": document([ledger._as_request(request)]),
        "policies": json.dumps(
            {"example": {"rate": 1000, "retry_share": 0.1, "retry_floor": 30, "tokens_max": 20}}
        ),
        "horizon": 1.0,
        "at": NOW,
    }
    await conn.execute(sa.text("SAVEPOINT asked"))
    found = await conn.execute(
        sa.text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {ledger._ADMIT.text}"), values
    )
    ((plan,),) = found.all()
    await conn.execute(sa.text("ROLLBACK TO SAVEPOINT asked"))
    top = plan[0]["Plan"]
    return int(top["Shared Hit Blocks"] + top["Shared Read Blocks"])


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize(("status", "category"), [("ok", None), ("failed", "network")])
async def test_a_poll_costs_the_same_after_many(
    db: Database, status: str, category: str | None, analyzed: bool
) -> None:
    """A poll reads the same number of pages after 20,000 polls as after 200."""
    read = []
    for polls in (FEW, MANY):
        async with db.transaction() as conn:
            await conn.execute(sa.text("TRUNCATE provider_calls CASCADE"))
            await polled(conn, polls, status, category)
            if analyzed:
                await conn.execute(sa.text("ANALYZE provider_calls"))
                await conn.execute(sa.text("ANALYZE raw_replies"))
            await pages_read(conn, poll())  # whoever comes first reads the catalogue
            read.append(await pages_read(conn, poll()))
    few, many = read
    assert many <= few * 1.25, read


@pytest.mark.parametrize(
    ("status", "category", "fresh_since", "answer", "attempt"),
    [
        ("ok", None, None, Answer.ADMITTED, 6),
        ("failed", "network", None, Answer.ADMITTED, 6),
        ("ok", None, NOW - timedelta(seconds=1), Answer.CACHED, 5),
        ("ok", None, NOW, Answer.ADMITTED, 6),
    ],
)
async def test_the_history_of_a_key(
    db: Database,
    status: str,
    category: str | None,
    fresh_since: datetime | None,
    answer: Answer,
    attempt: int,
) -> None:
    """Attempts count up, and a reply serves again from ``fresh_since`` on, not before."""
    async with db.transaction() as conn:
        await polled(conn, 5, status, category)
        request = poll(fresh_since)
        (decision,) = await ledger.admit(conn, [request], horizon_seconds=1.0, at=NOW)
        (last,) = (await conn.execute(sa.text("SELECT max(attempt) FROM provider_calls"))).scalars()
    assert (decision.answer, last) == (answer, attempt)
