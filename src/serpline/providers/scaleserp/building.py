"""What all calls to ScaleSERP share: address, key, identity, checks of the reply, bill."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from serpline.core.clock import Clock
from serpline.domain.errors import ProviderError
from serpline.domain.http import HttpReply, HttpRequest, ProviderCall
from serpline.domain.replies import as_number, as_object, json_object, malformed
from serpline.providers.scaleserp import batches, errors
from serpline.providers.scaleserp.batches import Batch
from serpline.providers.scaleserp.errors import PROVIDER

BATCH_TIMEOUT_SECONDS = 60.0
# A page of results has some hundred kilobytes, a page of a batch's searches no more.
REPLY_BYTES_MAX = 5_000_000

T = TypeVar("T")


class CallBuilder:
    """Builds calls. ``clock`` converts a ``Retry-After`` date to seconds."""

    def __init__(self, base_url: str, api_key: str, clock: Clock) -> None:
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._clock = clock

    def __repr__(self) -> str:
        """Leave out the key."""
        return f"{type(self).__name__}({self._base_url!r})"

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
        request = self._request(method, path_of(batch_id) + path)
        identity = {"batch": batch_id} | ({} if part is None else {"part": part})
        return self._call(operation, request, identity, read, credits)

    def _request(
        self,
        method: str,
        path: str,
        params: dict[str, str] | None = None,
        *,
        json: Any = None,
        seconds: float = BATCH_TIMEOUT_SECONDS,
        hide: str | None = None,
    ) -> HttpRequest:
        return HttpRequest(
            method,
            self._base_url + path,
            params={**(params or {}), "api_key": self._api_key},
            json=json,
            secrets=self._secrets(hide),
            timeout_seconds=seconds,
            size_bytes_max=REPLY_BYTES_MAX,
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


def path_of(batch_id: str) -> str:
    """The path of a batch."""
    return "/batches/" + quote(batch_id, safe="")


def read_batch(body: dict[str, Any], reply: HttpReply) -> Batch:
    """Read the batch of a reply."""
    found = batches.batch(body.get("batch"))
    if found is None:
        raise malformed(reply, PROVIDER, "a batch without an id")
    return found


def read_nothing(body: dict[str, Any], reply: HttpReply) -> None:
    """Read a reply whose status is the answer."""


def read_started(body: dict[str, Any], reply: HttpReply) -> None:
    """Read the reply to a start."""


_Check = Callable[[HttpReply, datetime, Sequence[str]], dict[str, Any]]
# Checks of replies whose status is the answer.
_CHECKS: Mapping[Any, _Check] = {
    read_nothing: errors.acknowledged,
    read_started: errors.started,
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
