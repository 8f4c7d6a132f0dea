"""Builds calls to ScaleSERP; does no I/O.

The vendor accepts the key only as the query parameter ``api_key``, so a URL is secret: the key is
in ``HttpRequest.secrets`` and in no identity, message or representation. A batch is created
``schedule_type=manual`` or disabled, so none runs by itself before ``set_schedule`` enables it. The
vendor has no idempotency keys: check before repeating a create, an add or a start.
"""

from collections.abc import Sequence
from typing import Any

from serpline.core.ids import digest
from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply, HttpRequest, ProviderCall
from serpline.domain.names import BatchPriority
from serpline.domain.replies import malformed
from serpline.providers.scaleserp import batches, errors
from serpline.providers.scaleserp.batches import Account, Batch, ResultSet, SearchesPage
from serpline.providers.scaleserp.building import (
    REPLY_BYTES_MAX,
    path_of,
    read_batch,
    read_nothing,
    read_started,
)
from serpline.providers.scaleserp.errors import PROVIDER
from serpline.providers.scaleserp.records import BatchRecord, records
from serpline.providers.scaleserp.scheduled import ScheduledBatchCalls
from serpline.providers.scaleserp.spec import BatchSearch, SearchSpec
from serpline.providers.scaleserp.wire import SerpPage, serp_page

SEARCHES_PER_ADD_MAX = 1_000
# A search is synchronous and takes up to a minute.
_SEARCH_TIMEOUT_SECONDS = 90.0
_FILE_TIMEOUT_SECONDS = 300.0
# A file has a page of results for each of its searches (usually 25 kB), 1,000 at most.
_FILE_BYTES_PER_SEARCH = 200_000
_FILE_SEARCHES_MAX = 1_000


class ScaleSerpClient(ScheduledBatchCalls):
    """Builds all calls."""

    def search(self, spec: SearchSpec) -> ProviderCall[SerpPage]:
        """Search in real time. A page without an answer is a ``ProviderError`` EMPTY."""

        def read(body: dict[str, Any], reply: HttpReply) -> SerpPage:
            page = serp_page(body)
            if not page.is_answer(spec.content_type):
                raise ProviderError(
                    f"scaleserp: the reply has no answer about {spec.content_type} results",
                    provider=PROVIDER,
                    category=ErrorCategory.EMPTY,
                    http_status=reply.status,
                )
            return page

        request = self._request("GET", "/search", spec.params(), seconds=_SEARCH_TIMEOUT_SECONDS)
        return self._call("search", request, spec.params(), read, spec.credits)

    def create_batch(
        self,
        name: str,
        searches_type: str,
        *,
        notification_webhook: str | None = None,
        priority: BatchPriority = BatchPriority.NORMAL,
    ) -> ProviderCall[Batch]:
        """Create an empty batch that only ``start`` runs. Free; a repeat creates a second batch."""
        fields: dict[str, Any] = {
            "name": name,
            "enabled": True,
            "schedule_type": "manual",
            "priority": str(BatchPriority(priority)),
            "searches_type": searches_type,
            "notification_as_json": True,
        }
        if notification_webhook:
            fields["notification_webhook"] = notification_webhook
        # The webhook's path is a secret too: anyone who knows it can pose as the vendor.
        request = self._request("POST", "/batches", json=fields, hide=notification_webhook)
        identity = {"name": name, "searches_type": searches_type, "priority": str(priority)}
        return self._call("create_batch", request, identity, read_batch)

    def find_batch_by_name(self, name: str) -> ProviderCall[Batch | None]:
        """Find the batch of exactly this name (the oldest of several), or None. Free."""
        params = {"search_term": name, "search_type": "exact", "page_size": "1000"}

        def read(body: dict[str, Any], reply: HttpReply) -> Batch | None:
            # Without the list there is no answer; "no batch" would buy a second one.
            if not isinstance(body.get("batches"), list):
                raise malformed(reply, PROVIDER, "a list of batches without the list")
            return batches.find_oldest_by_name(body["batches"], name)

        request = self._request("GET", "/batches", params)
        return self._call("find_batch", request, {"name": name}, read)

    def get_batch(self, batch_id: str) -> ProviderCall[Batch]:
        """Fetch the batch. Free."""
        return self._on_batch("get_batch", "GET", batch_id, "", read_batch)

    def add_searches(self, batch_id: str, searches: Sequence[BatchSearch]) -> ProviderCall[Batch]:
        """Add 1 to 1,000 searches. Free; one add at a time, and never while the batch runs."""
        if not 1 <= len(searches) <= SEARCHES_PER_ADD_MAX:
            raise ValueError(f"{len(searches)} searches in one add: 1 to {SEARCHES_PER_ADD_MAX}")
        sent = [search.wire() for search in searches]
        request = self._request("PUT", path_of(batch_id), json={"searches": sent})
        identity = {"batch": batch_id, "count": len(sent), "searches": digest(sent)}
        return self._call("add_searches", request, identity, read_batch)

    def searches_page(self, batch_id: str, page: int) -> ProviderCall[SearchesPage]:
        """List the batch's searches, 1,000 a page from page 1. Free."""

        def read(body: dict[str, Any], reply: HttpReply) -> SearchesPage:
            if not isinstance(body.get("searches"), list):
                raise malformed(reply, PROVIDER, "a page of searches without the searches")
            return batches.searches_page(body)

        return self._on_batch("searches_page", "GET", batch_id, f"/searches/{page:d}", read, page)

    def start(self, batch_id: str, *, credits_required: float = 0.0) -> ProviderCall[None]:
        """Queue the batch. The vendor charges its ``credits_required``."""
        return self._on_batch(
            "start_batch", "GET", batch_id, "/start", read_started, credits=credits_required
        )

    def stop(self, batch_id: str) -> ProviderCall[None]:
        """Stop the batch. A queued one is refunded, a running one is not."""
        return self._on_batch("stop_batch", "GET", batch_id, "/stop", read_nothing)

    def delete_batch(self, batch_id: str) -> ProviderCall[None]:
        """Delete the batch and its result sets. If it is gone already: ``errors.is_gone``."""
        return self._on_batch("delete_batch", "DELETE", batch_id, "", read_nothing)

    def results(self, batch_id: str) -> ProviderCall[tuple[ResultSet, ...]]:
        """List the batch's result sets, newest first; links may be missing. Free."""

        def read(body: dict[str, Any], reply: HttpReply) -> tuple[ResultSet, ...]:
            if not isinstance(body.get("results"), list):
                raise malformed(reply, PROVIDER, "a list of result sets without the list")
            found = (batches.result_set(value, batch_id) for value in body["results"])
            known = [one for one in found if one is not None]
            if len(known) < len(body["results"]):
                raise malformed(reply, PROVIDER, "a result set without an id")
            return tuple(sorted(known, key=lambda one: one.id, reverse=True))

        return self._on_batch("results", "GET", batch_id, "/results", read)

    def result_set(self, batch_id: str, result_set_id: int) -> ProviderCall[ResultSet]:
        """Fetch a result set with its download links. Free."""

        def read(body: dict[str, Any], reply: HttpReply) -> ResultSet:
            found = batches.result_set(body.get("result"), batch_id)
            if found is None or found.id != result_set_id:
                raise malformed(reply, PROVIDER, "another result set than the requested one")
            return found

        path = f"/results/{result_set_id:d}"
        return self._on_batch("result_set", "GET", batch_id, path, read, result_set_id)

    def page_file(self, found: ResultSet, page: int) -> ProviderCall[tuple[BatchRecord, ...]]:
        """Download the records of page ``page`` (from 1) of a result set.

        The file is on another host and needs no key, so none is sent. ValueError if the result set
        has no such page. If ``errors.is_gone``, fetch the result set again. Links expire, so the
        URL is not part of the identity.
        """
        if not 1 <= page <= len(found.page_links):
            raise ValueError(f"page {page} of result set {found.id}: {len(found.page_links)} known")
        # The API states the number of searches; the file's host may send no more than that.
        searches = -(-found.searches_total // max(1, found.page_count)) or _FILE_SEARCHES_MAX
        size_bytes_max = min(searches, _FILE_SEARCHES_MAX) * _FILE_BYTES_PER_SEARCH
        request = HttpRequest(
            "GET",
            found.page_links[page - 1],
            secrets=self._secrets(),
            timeout_seconds=_FILE_TIMEOUT_SECONDS,
            size_bytes_max=REPLY_BYTES_MAX + size_bytes_max,
            large=True,
        )

        def parse(reply: HttpReply) -> tuple[BatchRecord, ...]:
            values = errors.file_records(reply, self._clock.now(), request.secrets)
            return records(values, request.secrets)

        identity = {"batch": found.batch_id, "result_set": found.id, "page": page}
        return ProviderCall(PROVIDER, "page_file", request, identity, parse, third_party=True)

    def account(self) -> ProviderCall[Account]:
        """Fetch the credits used and left. Free."""

        def read(body: dict[str, Any], reply: HttpReply) -> Account:
            if not isinstance(body.get("account_info"), dict):
                raise malformed(reply, PROVIDER, "an account without its details")
            return batches.account(body)

        return self._call("account", self._request("GET", "/account"), {}, read)
