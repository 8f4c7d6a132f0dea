"""A fetched web page, and its text.

Promise: only HTML with status 200 becomes a ``PageDocument``. Limit: whether it has content is
known only after extraction.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.names import EmptyKind
from serpline.providers.pages.errors import PROVIDER, EmptyPageError, failure
from serpline.providers.pages.walls import by_headers

_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body|!--)", re.IGNORECASE)
_SNIFFED_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class PageDocument:
    """A page's bytes. ``url`` is its address after redirects, ``charset`` the server's claim.

    ``charset`` is None without a claim; it may be wrong or unknown. ``requested_url`` is the
    fetched address if a redirect changed it.
    """

    url: str
    html: bytes
    charset: str | None = None
    requested_url: str | None = None


@dataclass(frozen=True, slots=True)
class PageText:
    """A page's text, never empty; ``truncated``: it was cut.

    From ``title`` on, the fields are the page's unverified claims; ``date`` is the day of
    publication (``YYYY-MM-DD``).
    """

    url: str
    text: str
    truncated: bool = False
    title: str | None = None
    author: str | None = None
    date: str | None = None
    language: str | None = None
    sitename: str | None = None
    canonical_url: str | None = None


def page(reply: HttpReply, *, url: str, now: Callable[[], datetime]) -> PageDocument:
    """The HTML page in ``reply``. Raises ``ProviderError`` for another status, no HTML or no body.

    A bot check in the headers is an empty page whatever its status: Cloudflare sends 403, 429 and
    503, AWS 202 and 405.
    """
    if wall := by_headers(reply.headers):
        raise EmptyPageError(wall.kind, wall.sign, reply.status)
    if reply.status != 200:
        raise failure(reply, now())
    content_type = reply.headers.get("content-type", "")
    if not _is_html(content_type, reply.body):
        raise ProviderError(
            f"the page is not HTML (HTTP {reply.status}, {len(reply.body)} bytes)",
            provider=PROVIDER,
            category=ErrorCategory.EMPTY,
            permanent=True,
            http_status=reply.status,
        )
    if not reply.body.strip():
        raise EmptyPageError(EmptyKind.NO_TEXT, f"{len(reply.body)} bytes", reply.status)
    charset = _CHARSET.search(content_type)
    found = reply.url or url
    return PageDocument(
        url=found,
        html=reply.body,
        charset=charset[1].lower() if charset else None,
        requested_url=url if url != found else None,
    )


def _is_html(content_type: str, body: bytes) -> bool:
    """Whether the declared type is HTML; without a declared type, whether the bytes are."""
    declared = content_type.partition(";")[0].strip().lower()
    if declared:
        return declared in _HTML_TYPES
    return _MARKUP.match(body[:_SNIFFED_BYTES]) is not None
