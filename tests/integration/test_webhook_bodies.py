"""The bodies of webhooks: anyone who knows the path may send anything."""

import json

import httpx2
import pytest
import sqlalchemy as sa
from harness.guarded import owned_chunk, rows

from serpline.api.app import create_app
from serpline.core.clock import SystemClock
from serpline.pipeline.service import PipelineService
from serpline.store.database import Database

BODY = '{"batch": {"id": "B1"}, "result_set": {"id": 1}, "more": %s}'


async def answer(db: Database, body: str) -> int:
    """The status of a webhook at the path of the batch B1."""
    _, chunk_id, _ = await owned_chunk(db)
    async with db.transaction() as conn:
        await conn.execute(
            sa.text(
                "INSERT INTO provider_batches (chunk_id, generation, provider, name, secret_path,"
                " status, provider_batch_id, stage, priority, items) VALUES (:chunk, 0,"
                " 'scaleserp', 'b', 'path', 'running', 'B1', 'first', 'normal', '{a}')"
            ),
            {"chunk": chunk_id},
        )
    app = create_app(PipelineService(db, SystemClock()))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        reply = await client.post("/webhooks/scaleserp/path", content=body.encode())
    return reply.status_code


@pytest.mark.parametrize(
    "more",
    [
        "NaN",
        "[-Infinity]",
        "1e999",
        "9" * 5_000,
        "[" * 50_000 + "]" * 50_000,
    ],
    ids=["nan", "infinity", "a large number", "a long number", "deep"],
)
async def test_a_body_that_cannot_be_stored_gets_404(db: Database, more: str) -> None:
    """There is no traceback, and nothing is stored."""
    assert await answer(db, BODY % more) == 404
    assert await rows(db, "SELECT FROM webhook_inbox") == []


@pytest.mark.parametrize("more", [r'"\u0000"', r'{"\u0000": 1}', r'{"\ud800": ["\udfff"]}'])
async def test_text_that_postgresql_cannot_store_is_replaced(db: Database, more: str) -> None:
    """This holds for values and for names."""
    assert await answer(db, BODY % more) == 202
    (found,) = await rows(db, "SELECT body FROM webhook_inbox")
    assert found.body["more"] == json.loads(
        more.replace(r"\u0000", "�").replace(r"\ud800", "�").replace(r"\udfff", "�")
    )
