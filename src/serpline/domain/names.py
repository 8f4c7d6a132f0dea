"""The field's terms as enumerations: phases, content types, modes, priorities."""

from collections.abc import Sequence
from difflib import get_close_matches
from enum import IntEnum, StrEnum

_COMPARED_CHARACTERS_MAX = 200


def nearest(given: str, known: Sequence[str], *, likeness: float = 0.75) -> str | None:
    """Return the known name that ``given`` is probably a misspelling of, or None.

    ``likeness``: the least share of characters in common, 0 to 1.
    """
    near = get_close_matches(given[:_COMPARED_CHARACTERS_MAX], known, n=1, cutoff=likeness)
    return near[0] if near else None


def suggestion(given: str, known: Sequence[str]) -> str:
    """Return the end of a message about an unknown name: the nearest name, or all known ones."""
    near = nearest(given, known, likeness=0.5)
    return f"did you mean {near}?" if near else f"known are {', '.join(known)}"


class PhaseName(StrEnum):
    """The seven phases, in the order the data flows."""

    KEYWORD_METRICS = "keyword_metrics"
    SERP_COLLECTION = "serp_collection"
    COMPANY_ENRICHMENT_SERP = "company_enrichment_serp"
    YOUTUBE_ENRICHMENT = "youtube_enrichment"
    COMPANY_ENRICHMENT_YOUTUBE = "company_enrichment_youtube"
    CONTENT_ANALYSIS = "content_analysis"
    DSI_CALCULATION = "dsi_calculation"


class ContentType(StrEnum):
    """The kind of search result. ``ALL`` marks lanes that serve every type."""

    ORGANIC = "organic"
    NEWS = "news"
    VIDEO = "video"
    ALL = "all"


SEARCHED_TYPES = (ContentType.ORGANIC, ContentType.NEWS, ContentType.VIDEO)


class Device(StrEnum):
    """The device that a search simulates."""

    DESKTOP = "desktop"
    MOBILE = "mobile"
    TABLET = "tablet"


class EmptyKind(StrEnum):
    """What a page shows in place of content. Such a page has no relevance.

    ``BOT_CHECK``: a check whether the visitor is human. ``SITE_ERROR``: the site's own error page.
    ``NO_TEXT``: too little text to have a topic.
    """

    BOT_CHECK = "bot_check"
    JAVASCRIPT_NOTICE = "javascript_notice"
    CONSENT_WALL = "consent_wall"
    LOGIN_WALL = "login_wall"
    ACCESS_DENIED = "access_denied"
    NOT_FOUND = "not_found"
    SITE_ERROR = "site_error"
    NO_TEXT = "no_text"


class PipelineMode(StrEnum):
    """How a run was started, and so what it skips, reuses and retries (design, section 5)."""

    SCHEDULED = "scheduled"
    TESTING = "testing"
    MANUAL = "manual"


class JobPriority(IntEnum):
    """A higher number runs first."""

    LOW = -10
    NORMAL = 0
    HIGH = 10
    CRITICAL = 20


# Whose calls have rates, limits and credits, by the names that people write.
PROVIDERS = (
    "scaleserp",
    "dataforseo",
    "pdl",
    "wikidata",
    "youtube",
    "youtube_search",
    "llm",
    "page",
)


class BatchPriority(StrEnum):
    """A batch's priority among the account's batches at the provider."""

    HIGHEST = "highest"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    LOWEST = "lowest"
