"""The words of the field as enumerations: phases, content types, modes, priorities."""

from enum import IntEnum, StrEnum


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
    """What kind of search result; ``ALL`` marks the lanes that serve every type at once."""

    ORGANIC = "organic"
    NEWS = "news"
    VIDEO = "video"
    ALL = "all"


SEARCHED_TYPES = (ContentType.ORGANIC, ContentType.NEWS, ContentType.VIDEO)


class Device(StrEnum):
    """The device a search is made as."""

    DESKTOP = "desktop"
    MOBILE = "mobile"
    TABLET = "tablet"


class EmptyKind(StrEnum):
    """What a page shows in place of content. Such a page has no relevance.

    ``BOT_CHECK``: a check whether the visitor is a person. ``SITE_ERROR``: the site's own trouble.
    ``NO_TEXT``: too little text to be about anything.
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
    """How a run was asked for, and so what it may skip, reuse and retry (design, section 5)."""

    SCHEDULED = "scheduled"
    TESTING = "testing"
    MANUAL = "manual"


class JobPriority(IntEnum):
    """A higher number runs first."""

    LOW = -10
    NORMAL = 0
    HIGH = 10
    CRITICAL = 20


class BatchPriority(StrEnum):
    """How soon a provider runs a batch among the account's others."""

    HIGHEST = "highest"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    LOWEST = "lowest"
