"""The calls ``/batches…``, ``/account`` and ``/errorlogs``, one method per operation.

Methods have the names of their operations and raise ``Refused`` for an error reply.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from serpline.simulator.config import SimulatorConfig
from serpline.simulator.journal import CallLog, Ledger, iso
from serpline.simulator.scaleserp.account import Account
from serpline.simulator.scaleserp.batches import (
    BATCHES_MAX,
    PAGE_SIZE,
    Batch,
    Refused,
    ResultSet,
    batch_fields,
    pages,
)
from serpline.simulator.scaleserp.files import Files
from serpline.simulator.scaleserp.listing import select
from serpline.simulator.scaleserp.scheduler import Scheduler
from serpline.simulator.scaleserp.webhooks import Webhooks
from serpline.simulator.wire import Reply, Request, json_reply


class Calls:
    """Carries out the operations on the account."""

    def __init__(
        self,
        config: SimulatorConfig,
        account: Account,
        scheduler: Scheduler,
        webhooks: Webhooks,
        files: Files,
        ledger: Ledger,
        log: CallLog,
    ) -> None:
        self._config = config
        self._account = account
        self._scheduler = scheduler
        self._webhooks = webhooks
        self._files = files
        self._ledger = ledger
        self._log = log

    async def create_batch(self, request: Request) -> Reply:
        """POST /batches."""
        fields = request.fields()
        batch = self._account.create(batch_fields(fields), _searches(fields))
        self._scheduler.check_soon()
        return self._batch(batch)

    async def update_batch(self, request: Request) -> Reply:
        """PUT /batches/{id}: update fields or add searches, one request at a time."""
        batch, fields = self._account.find(request.segments[1]), request.fields()
        batch.require_idle("add searches" if "searches" in fields else "update")
        if batch.adding:
            raise Refused(429, "Searches must be added sequentially, not concurrently.")
        changed, searches = batch_fields(fields), _searches(fields)
        batch.adding = True
        try:
            await self._config.clock.sleep(
                self._config.timing.adding_seconds_per_search * len(searches)
            )
            batch.require_idle("add searches")
            batch.add(self._config.seed, searches)
        finally:
            batch.adding = False
        batch.fields.update(changed)
        self._scheduler.check_soon()
        return self._batch(batch)

    async def get_batch(self, request: Request) -> Reply:
        """GET /batches/{id}."""
        return self._batch(self._account.find(request.segments[1]))

    async def delete_batch(self, request: Request) -> Reply:
        """DELETE /batches/{id}."""
        self._account.delete(self._account.find(request.segments[1]))
        return json_reply(200, {"request_info": {"success": True}})

    async def start_batch(self, request: Request) -> Reply:
        """GET /batches/{id}/start."""
        batch = self._account.find(request.segments[1])
        self._account.start(batch)
        reply = self._batch(batch)
        reply.credits = batch.credits_required()
        return reply

    async def stop_batch(self, request: Request) -> Reply:
        """GET /batches/{id}/stop."""
        batch = self._account.find(request.segments[1])
        before = self._ledger.spent("scaleserp")
        self._account.stop(batch)
        reply = self._batch(batch)
        reply.credits = self._ledger.spent("scaleserp") - before
        return reply

    async def list_batches(self, request: Request) -> Reply:
        """GET /batches, filtered, sorted and paged."""
        found, shown, size, page = select(self._account.batches.values(), request.query)
        body = {
            "request_info": {"success": True},
            "total_count": len(found),
            "total_pages": pages(len(found), size),
            "current_page": page,
            "count_this_page": len(shown),
            "batches": [batch.shown() for batch in shown],
        }
        return json_reply(200, body)

    async def list_searches(self, request: Request) -> Reply:
        """GET /batches/{id}/searches/{page}: the stored searches, 1,000 a page."""
        _, batch_id, _, text = request.segments
        batch = self._account.find(batch_id)
        count = max(1, pages(len(batch.searches)))
        if not text.isdecimal() or not 1 <= int(text) <= count:
            raise Refused(404, f"There is no page '{text}' of searches.")
        start = (int(text) - 1) * PAGE_SIZE
        chosen = list(batch.searches.items())[start : start + PAGE_SIZE]
        body = {
            "request_info": {"success": True},
            "batch_id": batch.id,
            "searches_page_current": int(text),
            "searches_page_count": count,
            "searches": [{"id": search_id, **search} for search_id, search in chosen],
        }
        return json_reply(200, body)

    async def delete_search(self, request: Request) -> Reply:
        """DELETE /batches/{id}/{search_id}."""
        return self._remove(request, [request.segments[2]])

    async def delete_searches(self, request: Request) -> Reply:
        """DELETE /batches/{id}/searches with an array of ids."""
        ids = request.json()
        if not isinstance(ids, list):
            raise Refused(400, "The body must be an array of search ids.")
        return self._remove(request, [str(each) for each in ids])

    async def clear_batch(self, request: Request) -> Reply:
        """DELETE /batches/{id}/clear."""
        batch = self._account.find(request.segments[1])
        return self._remove(request, list(batch.searches))

    async def list_results(self, request: Request) -> Reply:
        """GET /batches/{id}/results, newest first, without expired ones."""
        batch = self._account.find(request.segments[1])
        kept = [each for each in reversed(batch.result_sets) if self._kept(each)]
        body = {
            "request_info": {"success": True},
            "batch_id": batch.id,
            "batch": batch.shown(),
            "results_count": len(kept),
            "results": [self._summary(each) for each in kept],
        }
        return json_reply(200, body)

    async def get_results(self, request: Request) -> Reply:
        """GET /batches/{id}/results/{rs} and its /jsonlines and /csv variants."""
        batch, result_set = self._result_set(request)
        variant = (request.segments[4:] or ["json"])[0]
        kinds = {"json": "json", "jsonlines": "jsonl", "csv": "csv"}
        if variant not in kinds:
            raise Refused(404, f"There is no '{variant}' variant of a result set.")
        result = {
            **self._summary(result_set),
            "download_links": self._files.links(batch, result_set, kinds[variant]),
            "webhook_status": {
                "status": result_set.webhook_status,
                "log": result_set.webhook_log,
            },
        }
        body = {"request_info": {"success": True}, "batch_id": batch.id, "result": result}
        return json_reply(200, body)

    async def resend_webhook(self, request: Request) -> Reply:
        """GET /batches/{id}/results/{rs}/resendwebhook."""
        batch, result_set = self._result_set(request)
        self._webhooks.resend(batch, result_set)
        return json_reply(200, {"request_info": {"success": True}})

    async def account(self, request: Request) -> Reply:
        """GET /account; free."""
        now = self._config.clock.now()
        info = {
            "credits_used": self._ledger.spent("scaleserp"),
            "credits_remaining": self._ledger.remaining("scaleserp"),
            "credits_limit": self._config.starting_credits("scaleserp"),
            "credits_reset_at": iso((now.replace(day=1) + timedelta(days=32)).replace(day=1)),
            "batches_used": len(self._account.batches),
            "batches_limit": BATCHES_MAX,
            "batches_available": BATCHES_MAX - len(self._account.batches),
            "usage_history": self._usage(),
        }
        return json_reply(200, {"request_info": {"success": True}, "account_info": info})

    async def errorlogs(self, request: Request) -> Reply:
        """GET /errorlogs: failed calls, newest first."""
        failed = [entry for entry in self._log.of("scaleserp") if entry.status >= 400]
        logs = [
            {"date": entry.at, "request": entry.operation, "result": entry.status}
            for entry in reversed(failed[-100:])
        ]
        return json_reply(200, {"request_info": {"success": True}, "logs": logs})

    def _usage(self) -> list[dict[str, Any]]:
        months: dict[str, float] = {}
        for charge in self._ledger:
            if charge.provider == "scaleserp":
                months[charge.at[:7]] = months.get(charge.at[:7], 0) + charge.amount
        return [{"month": month, "credits_total": used} for month, used in sorted(months.items())]

    def _batch(self, batch: Batch) -> Reply:
        return json_reply(200, {"request_info": {"success": True}, "batch": batch.shown()})

    def _remove(self, request: Request, ids: list[str]) -> Reply:
        batch = self._account.find(request.segments[1])
        batch.require_idle("delete searches")
        unknown = [search_id for search_id in ids if search_id not in batch.searches]
        if unknown:
            raise Refused(404, f"The search '{unknown[0]}' does not exist.")
        for search_id in ids:
            batch.searches.pop(search_id, None)
        return self._batch(batch)

    def _result_set(self, request: Request) -> tuple[Batch, ResultSet]:
        batch, number = self._account.find(request.segments[1]), request.segments[3]
        for each in batch.result_sets:
            if str(each.id) == number and self._kept(each):
                return batch, each
        raise Refused(404, f"The batch '{batch.id}' has no result set '{number}'.")

    def _kept(self, result_set: ResultSet) -> bool:
        return result_set.expires_at > self._config.clock.now()

    def _summary(self, result_set: ResultSet) -> dict[str, Any]:
        failed = result_set.count("failed")
        return {
            "id": result_set.id,
            "started_at": iso(result_set.started_at),
            "ended_at": iso(result_set.ended_at),
            "expires_at": iso(result_set.expires_at),
            "results_page_count": self._files.page_count(result_set),
            "searches_completed": len(result_set.searches) - failed,
            "searches_failed": failed,
            "searches_total": len(result_set.searches),
        }


def _searches(fields: Mapping[str, Any]) -> list[Any]:
    searches = fields.get("searches", [])
    if not isinstance(searches, list):
        raise Refused(400, "'searches' must be an array.")
    return searches
