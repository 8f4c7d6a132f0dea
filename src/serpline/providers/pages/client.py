"""Builds calls that fetch web pages; does no I/O. Limits: HTML only, ``PAGE_BYTES_MAX``."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpRequest, ProviderCall
from serpline.providers.pages import wire
from serpline.providers.pages.errors import PROVIDER
from serpline.providers.pages.wire import PageDocument

PAGE_BYTES_MAX = 5_000_000
URL_CHARS_MAX = 2_048
FETCH_TIMEOUT_SECONDS = 20.0


class PageClient:
    """Builds page fetches. ``now`` is the clock for ``Retry-After`` dates."""

    def __init__(self, *, now: Callable[[], datetime]) -> None:
        self._now = now

    def fetch_page(self, url: str) -> ProviderCall[PageDocument]:
        """Fetch the HTML page at ``url``. Raises ``ProviderError`` if it is no http(s) address."""
        if not url.startswith(("https://", "http://")) or len(url) > URL_CHARS_MAX:
            raise ProviderError(
                f"not the address of a web page: {url[:200]!r}",
                provider=PROVIDER,
                category=ErrorCategory.BAD_REQUEST,
                permanent=True,
            )
        return ProviderCall(
            provider=PROVIDER,
            operation="fetch",
            request=HttpRequest(
                method="GET",
                url=url,
                headers={"Accept": "text/html,application/xhtml+xml;q=0.9"},
                timeout_seconds=FETCH_TIMEOUT_SECONDS,
                size_bytes_max=PAGE_BYTES_MAX,
            ),
            identity={"url": url},
            parse=partial(wire.page, url=url, now=self._now),
            third_party=True,
        )
