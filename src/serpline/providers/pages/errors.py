"""Errors of web servers. A refusal concerns one page and says little about the next."""

from datetime import datetime

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.names import EmptyKind
from serpline.domain.replies import Meaning, failure_of, retry_after_seconds

PROVIDER = "page"

_MEANINGS = {
    204: (ErrorCategory.EMPTY, True, "the page is empty"),
    401: (ErrorCategory.ACCESS_DENIED, True, "the page requires a login"),
    402: (ErrorCategory.ACCESS_DENIED, True, "the page requires a payment"),
    403: (ErrorCategory.ACCESS_DENIED, True, "the site refuses the page"),
    404: (ErrorCategory.NOT_FOUND, True, "the page does not exist"),
    408: (ErrorCategory.TIMEOUT, False, "the site took too long"),
    410: (ErrorCategory.NOT_FOUND, True, "the page is gone"),
    425: (ErrorCategory.RATE_LIMIT, False, "the site asks to try again later"),
    429: (ErrorCategory.RATE_LIMIT, False, "the site asks to try again later"),
    451: (ErrorCategory.ACCESS_DENIED, True, "the page is withheld for legal reasons"),
    504: (ErrorCategory.TIMEOUT, False, "the site took too long"),
}


class EmptyPageError(ProviderError):
    """The page has no content. ``kind``: what it shows instead; ``sign``: how it was recognised."""

    def __init__(self, kind: EmptyKind, sign: str, http_status: int | None = None) -> None:
        super().__init__(
            f"the page has no content: {kind} ({sign})",
            provider=PROVIDER,
            category=ErrorCategory.EMPTY,
            permanent=True,
            http_status=http_status,
        )
        self.kind = kind


def failure(reply: HttpReply, now: datetime) -> ProviderError:
    """The error of ``reply`` (status not 200)."""
    return failure_of(
        reply, PROVIDER, _meaning(reply.status), retry_after_seconds(reply.headers, now)
    )


def _meaning(status: int) -> Meaning:
    if status in _MEANINGS:
        return _MEANINGS[status]
    if 500 <= status < 600:
        return ErrorCategory.SERVER, False, "the site failed"
    if 300 <= status < 400:
        return ErrorCategory.NOT_FOUND, True, "the redirect has no usable target"
    # Also made-up statuses against robots, such as 999.
    return ErrorCategory.ACCESS_DENIED, True, "the site refuses the page"
