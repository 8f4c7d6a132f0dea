"""What the webhook endpoint answers when the database does not help."""

import json
from typing import Any, cast

import httpx2
import pytest

from serpline.api.app import create_app
from serpline.pipeline.service import PipelineService
from serpline.store.database import DatabaseUnavailable, TransactionConflict

BODY = json.dumps({"batch": {"id": "B1"}, "result_set": {"id": 1}}).encode()


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), TransactionConflict("deadlock")])
async def test_what_was_not_stored_is_sent_again(error: Exception) -> None:
    """503 makes the sender repeat a webhook that the database could not take now."""

    class Pipeline:
        async def take_notice(self, *_: Any) -> bool:
            raise error

    app = create_app(cast(PipelineService, Pipeline()))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        reply = await client.post("/webhooks/scaleserp/secret", content=BODY)
    assert reply.status_code == 503
