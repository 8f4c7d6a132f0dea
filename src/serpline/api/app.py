"""The web application: the webhook endpoint and a health check.

A webhook is accepted at the secret path of a batch, stored, and acknowledged. Its sender is not
authenticated, so it only makes a worker check the batch. Results come from the provider's answer to
our own authenticated call. No URL in the payload is followed.
"""

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from serpline.core.ids import may_be_secret_path
from serpline.core.logging import get
from serpline.pipeline.service import PipelineService
from serpline.providers.scaleserp.webhook import parse_notice
from serpline.store.database import DatabaseUnavailable, TransactionConflict

# The largest genuine webhook lists fifteen result pages in three formats.
BODY_BYTES_MAX = 262_144

log = get(__name__)


def create_app(pipeline: PipelineService) -> FastAPI:
    """Create the application for a pipeline service."""
    app = FastAPI(title="serpline", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/webhooks/scaleserp/{secret}")
    async def scaleserp(secret: str, request: Request) -> Response:
        try:
            return Response(status_code=await _receive(pipeline, secret, request))
        except (DatabaseUnavailable, TransactionConflict):
            # The webhook is not stored, so the sender has to retry.
            return Response(status_code=503)
        except ClientDisconnect:
            log.info("webhook", action="webhook.aborted")
            return Response(status_code=400)

    return app


async def _receive(pipeline: PipelineService, secret: str, request: Request) -> int:
    """Store a webhook; return its HTTP status. The body is read only if a batch awaits it."""
    # A path with a NUL cannot be sent to the database and belongs to no batch.
    if not may_be_secret_path(secret) or not await pipeline.awaits_webhook(secret):
        return 404
    body = await _read_body(request)
    if body is None or (webhook := parse_notice(body)) is None:
        return 404
    known = await pipeline.record_webhook(
        secret, webhook.batch_id, webhook.result_set_id, webhook.body
    )
    log.info("webhook", action="webhook.accepted" if known else "webhook.unknown")
    return 202 if known else 404


async def _read_body(request: Request) -> bytes | None:
    """Read the body; return None if it exceeds ``BODY_BYTES_MAX``."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES_MAX:
            return None
    return bytes(body)
