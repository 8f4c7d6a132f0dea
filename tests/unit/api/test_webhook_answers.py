"""The webhook endpoint's answers when the database fails or must not be asked."""

import json
from typing import Any, cast

import httpx2
import pytest

from serpline.api.app import create_app
from serpline.core.ids import secret_path
from serpline.pipeline.service import PipelineService
from serpline.store.database import DatabaseUnavailable, TransactionConflict

BODY = json.dumps({"batch": {"id": "B1"}, "result_set": {"id": 1}}).encode()


class Awaiting:
    async def awaits_webhook(self, _: str) -> bool:
        return True


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), TransactionConflict("deadlock")])
async def test_a_webhook_that_is_not_stored_gets_503(error: Exception) -> None:
    """503 makes the sender retry a webhook that the database could not store."""

    class Pipeline(Awaiting):
        async def record_webhook(self, *_: Any) -> bool:
            raise error

    assert await _answer(Pipeline(), "secret") == 503


@pytest.mark.parametrize("path", ["%00", "a%00b", "%ED%A0%80", "caf%C3%A9", "secret%0A", "a.b"])
async def test_an_impossible_path_is_not_looked_up(path: str) -> None:
    """It gets 404, whatever its bytes; some could not be sent to the database at all."""

    class Pipeline:
        async def awaits_webhook(self, _: str) -> bool:
            raise AssertionError("asked")

    assert await _answer(Pipeline(), path) == 404


async def test_every_secret_path_is_looked_up() -> None:
    """Generated paths use only accepted characters."""

    class Pipeline(Awaiting):
        async def record_webhook(self, *_: Any) -> bool:
            return True

    assert {await _answer(Pipeline(), secret_path()) for _ in range(50)} == {202}


async def _answer(pipeline: Any, path: str) -> int:
    app = create_app(cast(PipelineService, pipeline))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        reply = await client.post(f"/webhooks/scaleserp/{path}", content=BODY)
    return reply.status_code
