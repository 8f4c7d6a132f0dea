"""Builds calls to ScaleSERP; does no I/O.

The vendor accepts the key only as the query parameter ``api_key``, so a URL is secret: the key is
in ``HttpRequest.secrets`` and in no identity, message or representation. Every batch has
``schedule_type=manual``, so it never runs or costs by itself. The vendor has no idempotency keys:
check before repeating a create, an add or a start.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from serpline.core.clock import Clock
from serpline.core.ids import digest
from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply, HttpRequest, ProviderCall
from serpline.domain.names import BatchPriority
from serpline.domain.replies import as_number, as_object, json_object, malformed
from serpline.providers.scaleserp import batches, errors
from serpline.providers.scaleserp.batches import Account, Batch, ResultSet, SearchesPage
from serpline.providers.scaleserp.errors import PROVIDER
from serpline.providers.scaleserp.records import BatchRecord, records
from serpline.providers.scaleserp.spec import BatchSearch, SearchSpec
from serpline.providers.scaleserp.wire import SerpPage, serp_page

SEARCHES_PER_ADD_MAX = 1_000
# A search is synchronous and takes up to a minute.
_SEARCH_TIMEOUT_SECONDS = 90.0
_BATCH_TIMEOUT_SECONDS = 60.0
_FILE_TIMEOUT_SECONDS = 300.0
# A page of results has some hundred kilobytes, a page of a batch's searches no more.
_REPLY_BYTES_MAX = 5_000_000
# A file has a page of results for each of its searches (usually 25 kB), 1,000 at most.
_FILE_BYTES_PER_SEARCH = 200_000
_FILE_SEARCHES_MAX = 1_000

T = TypeVar("T")


class ScaleSerpClient:
    """Builds the calls. ``clock`` converts a ``Retry-After`` date to seconds."""

    def __init__(self, base_url: str, api_key: str, clock: Clock) -> None:
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._clock = clock

    def __repr__(self) -> str:
        """Leave out the key."""
        return f"ScaleSerpClient({self._base_url!r})"

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
        return self._call("create_batch", request, identity, _batch)

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
        return self._on_batch("get_batch", "GET", batch_id, "", _batch)

    def add_searches(self, batch_id: str, searches: Sequence[BatchSearch]) -> ProviderCall[Batch]:
        """Add 1 to 1,000 searches. Free; one add at a time, and never while the batch runs."""
        if not 1 <= len(searches) <= SEARCHES_PER_ADD_MAX:
            raise ValueError(f"{len(searches)} searches in one add: 1 to {SEARCHES_PER_ADD_MAX}")
        sent = [search.wire() for search in searches]
        request = self._request("PUT", _path(batch_id), json={"searches": sent})
        identity = {"batch": batch_id, "count": len(sent), "searches": digest(sent)}
        return self._call("add_searches", request, identity, _batch)

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
            "start_batch", "GET", batch_id, "/start", _started, credits=credits_required
        )

    def stop(self, batch_id: str) -> ProviderCall[None]:
        """Stop the batch. A queued one is refunded, a running one is not."""
        return self._on_batch("stop_batch", "GET", batch_id, "/stop", _nothing)

    def delete_batch(self, batch_id: str) -> ProviderCall[None]:
        """Delete the batch and its result sets. If it is gone already: ``errors.is_gone``."""
        return self._on_batch("delete_batch", "DELETE", batch_id, "", _nothing)

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
            size_bytes_max=_REPLY_BYTES_MAX + size_bytes_max,
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

    def _on_batch(
        self,
        operation: str,
        method: str,
        batch_id: str,
        path: str,
        read: Callable[[dict[str, Any], HttpReply], T],
        part: int | None = None,
        credits: float = 0.0,  # noqa: A002  the contract's word; the built-in is for the prompt
    ) -> ProviderCall[T]:
        request = self._request(method, _path(batch_id) + path)
        identity = {"batch": batch_id} | ({} if part is None else {"part": part})
        return self._call(operation, request, identity, read, credits)

    def _request(
        self,
        method: str,
        path: str,
        params: dict[str, str] | None = None,
        *,
        json: Any = None,
        seconds: float = _BATCH_TIMEOUT_SECONDS,
        hide: str | None = None,
    ) -> HttpRequest:
        return HttpRequest(
            method,
            self._base_url + path,
            params={**(params or {}), "api_key": self._api_key},
            json=json,
            secrets=self._secrets(hide),
            timeout_seconds=seconds,
            size_bytes_max=_REPLY_BYTES_MAX,
        )

    def _call(
        self,
        operation: str,
        request: HttpRequest,
        identity: Any,
        read: Callable[[dict[str, Any], HttpReply], T],
        credits: float = 0.0,  # noqa: A002  the contract's word
    ) -> ProviderCall[T]:
        def parse(reply: HttpReply) -> T:
            check = _CHECKS.get(read, errors.answer)
            return read(check(reply, self._clock.now(), request.secrets), reply)

        def billed(reply: HttpReply) -> float:
            return _billed(reply, credits)

        return ProviderCall(PROVIDER, operation, request, identity, parse, credits, billed)

    def _secrets(self, more: str | None = None) -> tuple[str, ...]:
        return tuple(filter(None, (self._api_key, more)))


def _path(batch_id: str) -> str:
    return "/batches/" + quote(batch_id, safe="")


def _batch(body: dict[str, Any], reply: HttpReply) -> Batch:
    found = batches.batch(body.get("batch"))
    if found is None:
        raise malformed(reply, PROVIDER, "a batch without an id")
    return found


def _nothing(body: dict[str, Any], reply: HttpReply) -> None:
    return None


def _started(body: dict[str, Any], reply: HttpReply) -> None:
    return None


_Check = Callable[[HttpReply, datetime, Sequence[str]], dict[str, Any]]
# Checks of replies whose status is the answer.
_CHECKS: Mapping[Any, _Check] = {
    _nothing: errors.acknowledged,
    _started: errors.started,
}


def _billed(reply: HttpReply, expected: float) -> float:
    """The credits in the reply, else ``expected``; only 2xx is billed."""
    if not errors.is_success(reply.status) or not expected:
        return 0.0
    try:
        info = as_object(json_object(reply, PROVIDER).get("request_info"))
    except ProviderError:
        return expected
    stated = as_number(info.get("credits_used_this_request"))
    if stated is not None and stated >= 0:
        return stated
    return 0.0 if info.get("success") is False else expected
