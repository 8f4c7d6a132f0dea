"""What a reply of Wikidata's query service other than 200 means."""

from datetime import datetime

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.replies import retry_after_seconds

# Status → (category, permanent, what to tell a person).
_MEANINGS = {
    400: (ErrorCategory.BAD_REQUEST, True, "wikidata refused the query"),
    403: (
        ErrorCategory.REFUSED_BY_PEER,
        True,
        "wikidata turned this client away; is SERPLINE_WIKIDATA_CONTACT a real contact?",
    ),
    408: (ErrorCategory.TIMEOUT, False, "wikidata took too long"),
    429: (ErrorCategory.RATE_LIMIT, False, "wikidata: too much processing time used"),
    504: (ErrorCategory.TIMEOUT, False, "wikidata took too long"),
}


def failure(reply: HttpReply, now: datetime) -> ProviderError:
    """The error that ``reply`` (status not 200) stands for."""
    if reply.status in _MEANINGS:
        category, permanent, message = _MEANINGS[reply.status]
    elif 400 <= reply.status < 500:
        category, permanent, message = ErrorCategory.BAD_REQUEST, True, "wikidata refused the query"
    elif reply.status >= 500:
        category, permanent, message = ErrorCategory.SERVER, False, "wikidata failed"
    else:
        category, permanent, message = ErrorCategory.MALFORMED, False, "wikidata sent no answer"
    return ProviderError(
        f"{message} (HTTP {reply.status})",
        provider="wikidata",
        category=category,
        permanent=permanent,
        retry_after_seconds=None if permanent else retry_after_seconds(reply.headers, now),
        http_status=reply.status,
    )
