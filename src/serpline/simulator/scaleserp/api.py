"""The HTTP API of ScaleSERP: name the call, check the key, answer like the vendor."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from serpline.simulator.config import SimulatorConfig
from serpline.simulator.faults import FaultPlan
from serpline.simulator.journal import CallLog, Ledger
from serpline.simulator.routes import UNKNOWN, operation_of
from serpline.simulator.scaleserp.account import Account
from serpline.simulator.scaleserp.batches import Batch, Refused, ResultSet
from serpline.simulator.scaleserp.calls import Calls
from serpline.simulator.scaleserp.files import Files
from serpline.simulator.scaleserp.scheduler import Scheduler
from serpline.simulator.scaleserp.search import (
    REAL_TIME_PAGES_MAX,
    BadSearch,
    check,
    credits_of,
    pages_of,
    respond,
)
from serpline.simulator.scaleserp.webhooks import Webhooks
from serpline.simulator.wire import (
    BadBody,
    Operation,
    Reply,
    Request,
    identity_of,
    json_reply,
    retry_headers,
)
from serpline.simulator.world import World

NAME = "scaleserp"
_MESSAGES = {
    401: "Supplied api_key is not valid",
    402: "The account has no credits left.",
    429: "The request was rejected as the rate limit has been exceeded.",
    500: "An internal error occurred, please retry later.",
    503: "Request type google-web is temporarily unavailable while a parsing issue is resolved.",
}
_BODY_FIELDS = ("name", "schedule_type", "searches_type", "priority", "notification_webhook")


class ScaleSerp:
    """The simulated API. Tests may read ``account``, ``scheduler`` and ``webhooks``."""

    name = NAME

    def __init__(
        self,
        config: SimulatorConfig,
        world: World,
        ledger: Ledger,
        log: CallLog,
        faults: FaultPlan,
    ) -> None:
        self._config = config
        self._world = world
        self._ledger = ledger
        self._files = Files(world, config.results_per_page, config.key(NAME))
        self.webhooks = Webhooks(config, faults, self._files)
        self.account = Account(config, world, ledger, faults, self._on_batch_event)
        self.scheduler = Scheduler(config, self.account)
        self._calls = Calls(
            config, self.account, self.scheduler, self.webhooks, self._files, ledger, log
        )

    def describe(self, request: Request) -> Operation:
        """Name the call. Fault rules can also match a batch call by its batch's name and fields."""
        params: dict[str, Any] = {k: v for k, v in request.query.items() if k != "api_key"}
        parts = request.segments
        name = operation_of(NAME, request.method, parts)
        if parts[:1] == ["batches"]:
            params.update(zip(("batch_id", "", "part"), parts[1:4], strict=False))
            params.pop("", None)
            params.update(_shown_body(request))
        match = dict(params)
        batch = self.account.batches.get(str(params.get("batch_id")))
        if batch is not None:
            match = {**batch.fields, "batch_name": batch.name, **match}
        return Operation(name, params, identity_of(name, params), match)

    async def handle(self, request: Request, operation: Operation) -> Reply:
        """Check the key and answer. Every documented rejection has its own status."""
        if request.query.get("api_key") != self._config.key(NAME):
            return self.failure(401)
        self.scheduler.catch_up()
        try:
            if operation.name == "search":
                return await self._search(dict(request.query))
            call: Callable[..., Awaitable[Reply]] | None = getattr(
                self._calls, operation.name, None
            )
            if operation.name == UNKNOWN or call is None:
                raise Refused(404, f"{request.method} is not available at this address.")
            return await call(request)
        except Refused as refused:
            return _refusal(refused.status, str(refused))
        except (BadSearch, BadBody) as error:
            return _refusal(400, str(error))

    def failure(self, status: int, *, retry_after: object = None, billed: float = 0.0) -> Reply:
        """ScaleSERP's error reply. A 503 has its retry seconds in the body."""
        headers = retry_headers(retry_after) if status != 503 else {}
        reply = _refusal(status, _MESSAGES.get(status, "Error"), headers)
        if status == 503:
            seconds = 3_600 if retry_after is None else retry_after
            value = {"success": False, "message": _MESSAGES[503], "retry_after": seconds}
            reply = json_reply(503, {"request_info": value, **value})
        reply.credits = billed
        return reply

    async def download(self, name: str) -> Reply:
        """A result file by name, without a key. 404: unknown; 403: expired."""
        parts = self._files.parse(name)
        batch = self.account.batches.get(str(parts["batch"])) if parts else None
        found = (
            [s for s in batch.result_sets if str(s.id) == parts["set"]] if batch and parts else []
        )
        if not found or batch is None or parts is None:
            return storage_error(404, "NoSuchKey")
        if found[0].expires_at <= self._config.clock.now():
            return storage_error(403, "AccessDenied")
        made = await asyncio.to_thread(self._files.make, batch, found[0], parts)
        if made is None:
            return storage_error(404, "NoSuchKey")
        return Reply(200, made[0], {"content-type": made[1]})

    async def close(self) -> None:
        """Stop schedules, batches and webhooks."""
        await self.scheduler.close()
        await self.account.close()
        await self.webhooks.close()

    async def _search(self, params: dict[str, str]) -> Reply:
        check(params)
        if pages_of(params) > REAL_TIME_PAGES_MAX:
            raise Refused(400, f"'max_page' is at most {REAL_TIME_PAGES_MAX} for live searches.")
        cost = credits_of(params, self._config.search_credits)
        if not self._ledger.charge(NAME, cost, "search", params["q"]):
            return self.failure(402)
        info = {
            "success": True,
            "credits_used": self._ledger.spent(NAME),
            "credits_used_this_request": cost,
            "credits_remaining": self._ledger.remaining(NAME),
        }
        body = respond(self._world, self._world.day, params, info)
        return json_reply(200, body, billed=cost)

    def _on_batch_event(self, event: str, batch: Batch, result_set: ResultSet | None) -> None:
        if result_set is None:
            self.webhooks.running(batch)
        else:
            self.webhooks.finished(batch, result_set)


def _shown_body(request: Request) -> dict[str, Any]:
    """The part of a body for the log: plain fields, and the custom ids of added searches."""
    try:
        fields = request.fields()
    except BadBody:
        return {"body": "unreadable"}
    shown = {name: fields[name] for name in _BODY_FIELDS if name in fields}
    searches = fields.get("searches")
    if isinstance(searches, list):
        shown["count"] = len(searches)
        shown["custom_ids"] = [s.get("custom_id") for s in searches if isinstance(s, dict)]
    return shown


def _refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Reply:
    return json_reply(
        status, {"request_info": {"success": False, "message": message}}, headers or {}
    )


def storage_error(status: int, code: str) -> Reply:
    """An error reply of the file storage (not of the API)."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
    return Reply(status, text.encode(), {"content-type": "application/xml"})
