"""Errors of Wikidata's query service."""

from datetime import datetime

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.replies import failure_of, meaning_of_status, retry_after_seconds

_MEANINGS = {
    400: (ErrorCategory.BAD_REQUEST, True, "wikidata refused the query"),
    403: (
        ErrorCategory.ACCESS_DENIED,
        True,
        "wikidata refused this client; is SERPLINE_WIKIDATA_CONTACT a real contact?",
    ),
    408: (ErrorCategory.TIMEOUT, False, "wikidata took too long"),
    429: (ErrorCategory.RATE_LIMIT, False, "wikidata: too much processing time used"),
    504: (ErrorCategory.TIMEOUT, False, "wikidata took too long"),
}


def failure(reply: HttpReply, now: datetime) -> ProviderError:
    """The error of ``reply`` (status not 200)."""
    meaning = meaning_of_status(reply.status, _MEANINGS, "wikidata")
    return failure_of(reply, "wikidata", meaning, retry_after_seconds(reply.headers, now))
