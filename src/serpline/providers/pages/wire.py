"""A web page as it came, and as text.

Promise: what is no HTML never becomes a ``PageDocument``, and an error page never becomes one
either. Limit: whether an HTML page says anything is known only after extraction.
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
    """A page's bytes. ``url`` is where it was found in the end; ``charset`` what its server says.

    ``charset`` is None when the server does not say; it may also be wrong or unknown. ``asked_url``
    is what was fetched, where that was another address.
    """

    url: str
    html: bytes
    charset: str | None = None
    asked_url: str | None = None


@dataclass(frozen=True, slots=True)
class PageText:
    """What a page says. ``text`` is never empty; ``truncated`` tells that it was cut.

    ``date`` is the day of publication (``YYYY-MM-DD``) and ``language`` the page's own claim, both
    unverified. ``canonical_url`` is the page's own claim too.
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
    """The HTML page in ``reply``. Raises ``ProviderError``: a status, no HTML, or nothing.

    A bot check that the headers name is an empty page whatever its status: Cloudflare sends 403,
    429 and 503, AWS 202 and 405.
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
        asked_url=url if url != found else None,
    )


def _is_html(content_type: str, body: bytes) -> bool:
    """By the declared type; only a server that declares none has its bytes looked at."""
    declared = content_type.partition(";")[0].strip().lower()
    if declared:
        return declared in _HTML_TYPES
    return _MARKUP.match(body[:_SNIFFED_BYTES]) is not None
