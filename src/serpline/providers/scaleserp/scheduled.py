"""Builds calls about batches that ScaleSERP starts by itself.

Such a batch is created disabled, filled, and then enabled, so it never runs half filled.
"""

from typing import Any

from serpline.domain.http import HttpReply, ProviderCall
from serpline.domain.names import BatchPriority
from serpline.domain.replies import malformed
from serpline.providers.scaleserp import batches
from serpline.providers.scaleserp.batches import Batch, BatchesPage
from serpline.providers.scaleserp.building import CallBuilder, path_of, read_batch, read_nothing
from serpline.providers.scaleserp.calendar import Calendar
from serpline.providers.scaleserp.errors import PROVIDER


class ScheduledBatchCalls(CallBuilder):
    """Calls about scheduled batches, and those that only their driver makes."""

    def create_scheduled_batch(
        self,
        name: str,
        searches_type: str,
        calendar: Calendar,
        *,
        notification_webhook: str | None = None,
        priority: BatchPriority = BatchPriority.NORMAL,
    ) -> ProviderCall[Batch]:
        """Create an empty, disabled batch with a calendar. Free; a repeat creates another."""
        fields = {
            "name": name,
            "searches_type": searches_type,
            "notification_as_json": True,
            **_schedule(calendar, priority, enabled=False),
        }
        identity = dict(fields)
        if notification_webhook:
            fields["notification_webhook"] = notification_webhook
        request = self._request("POST", "/batches", json=fields, hide=notification_webhook)
        return self._call("create_batch", request, identity, read_batch)

    def list_batches(self, name_prefix: str, page: int) -> ProviderCall[BatchesPage]:
        """List the batches whose names begin with ``name_prefix``, 1,000 a page from page 1. Free.

        The vendor allows 60 such calls a minute.
        """
        params = {
            "search_term": name_prefix,
            "search_type": "starts_with",
            "page_size": "1000",
            "page": str(page),
        }

        def read(body: dict[str, Any], reply: HttpReply) -> BatchesPage:
            if not isinstance(body.get("batches"), list):
                raise malformed(reply, PROVIDER, "a list of batches without the list")
            return batches.batches_page(body)

        request = self._request("GET", "/batches", params)
        return self._call("list_batches", request, params, read)

    def set_schedule(
        self,
        batch_id: str,
        calendar: Calendar,
        *,
        enabled: bool,
        notification_webhook: str | None = None,
        priority: BatchPriority = BatchPriority.NORMAL,
    ) -> ProviderCall[Batch]:
        """Set what a scheduled batch is created with, and whether it starts. Free; repeatable.

        Disabled, it keeps its searches and starts by hand only. Refused while it runs.
        """
        fields = _schedule(calendar, priority, enabled=enabled)
        identity = {"batch": batch_id, **fields}
        if notification_webhook:
            fields["notification_webhook"] = notification_webhook
        request = self._request("PUT", path_of(batch_id), json=fields, hide=notification_webhook)
        return self._call("set_schedule", request, identity, read_batch)

    def clear_searches(self, batch_id: str) -> ProviderCall[None]:
        """Remove all searches of a batch. Free; repeatable. Refused while it runs."""
        return self._on_batch("clear_batch", "DELETE", batch_id, "/clear", read_nothing)

    def resend_webhook(self, batch_id: str, result_set_id: int) -> ProviderCall[None]:
        """Ask for the webhook of a result set once more. Free."""
        path = f"/results/{result_set_id:d}/resendwebhook"
        return self._on_batch("resend_webhook", "GET", batch_id, path, read_nothing, result_set_id)


def _schedule(calendar: Calendar, priority: BatchPriority, *, enabled: bool) -> dict[str, Any]:
    return {"enabled": enabled, "priority": str(BatchPriority(priority)), **calendar.fields()}
