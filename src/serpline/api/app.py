"""The web application: for now the webhook endpoint and a health check.

A webhook proves nothing, for its sender is not authenticated: it is known by the secret path of
one batch, stored, acknowledged, and only makes somebody look. What is then believed is what the
provider answers to our own key. Nothing in the payload is followed.
"""

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from serpline.core.ids import may_be_secret_path
from serpline.core.logging import get
from serpline.pipeline.service import PipelineService
from serpline.providers.scaleserp.webhook import notice
from serpline.store.database import DatabaseUnavailable, TransactionConflict

# The largest honest one names fifteen pages of results in three formats.
BODY_BYTES_MAX = 262_144

log = get(__name__)


def create_app(pipeline: PipelineService) -> FastAPI:
    """The application over a pipeline service."""
    app = FastAPI(title="serpline", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/webhooks/scaleserp/{secret}")
    async def scaleserp(secret: str, request: Request) -> Response:
        try:
            return Response(status_code=await _taken(pipeline, secret, request))
        except (DatabaseUnavailable, TransactionConflict):
            # Not stored: the sender has to try again.
            return Response(status_code=503)
        except ClientDisconnect:
            log.info("webhook", action="webhook.aborted")
            return Response(status_code=400)

    return app


async def _taken(pipeline: PipelineService, secret: str, request: Request) -> int:
    """The status of a webhook. The body of one that no batch awaits is not read."""
    # What the database cannot even be asked about (a NUL) is no batch's either.
    if not may_be_secret_path(secret) or not await pipeline.awaits_webhook(secret):
        return 404
    body = await _body(request)
    if body is None or (told := notice(body)) is None:
        return 404
    known = await pipeline.record_webhook(secret, told.batch_id, told.result_set_id, told.body)
    log.info("webhook", action="webhook.taken" if known else "webhook.unknown")
    return 202 if known else 404


async def _body(request: Request) -> bytes | None:
    """The body, or None if it is larger than any webhook."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES_MAX:
            return None
    return bytes(body)
