"""A search as ScaleSERP's parameters. Only this module knows their names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from serpline.domain.names import ContentType, Device

# Since September 2025 Google's pages have ten organic results; each page costs one credit.
MAX_PAGE_MAX = 5

_SEARCH_TYPE = MappingProxyType({ContentType.NEWS: "news", ContentType.VIDEO: "videos"})
# The ``searches_type`` of a batch of one type.
SEARCHES_TYPE = MappingProxyType(
    {ContentType.ORGANIC: "web", ContentType.NEWS: "news", ContentType.VIDEO: "videos"}
)


@dataclass(frozen=True, slots=True)
class SearchSpec:
    """One search. Empty fields are not sent: the vendor's default applies.

    ``max_page`` pages (at most five) cost ``max_page`` credits; an AI overview costs one more.
    ``time_period`` is one of the vendor's values (``last_day``, …). ``extra`` is sent unchanged.
    """

    q: str
    content_type: ContentType = ContentType.ORGANIC
    device: Device = Device.DESKTOP
    location: str = ""
    google_domain: str = ""
    gl: str = ""
    hl: str = ""
    page: int = 1
    max_page: int = 1
    time_period: str = ""
    sort_by: str = ""
    include_ai_overview: bool = False
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reject values that would cause a billed surprise or a 400."""
        if not self.q.strip():
            raise ValueError("a search needs a query")
        if self.content_type not in SEARCHES_TYPE:
            raise ValueError(f"content_type {self.content_type!r} cannot be searched for")
        if not (self.page >= 1 and 1 <= self.max_page <= MAX_PAGE_MAX):
            raise ValueError(f"page {self.page}, max_page {self.max_page}: out of range")

    @property
    def credits(self) -> float:
        """The maximum cost in credits."""
        return float(self.max_page + (1 if self.include_ai_overview else 0))

    def params(self) -> dict[str, str]:
        """The parameters as text, without the key; equal specs give equal parameters."""
        given = {
            "q": self.q,
            "search_type": _SEARCH_TYPE.get(self.content_type, ""),
            "location": self.location,
            "google_domain": self.google_domain,
            "gl": self.gl,
            "hl": self.hl,
            "device": self.device.value,
            "page": str(self.page) if self.page > 1 else "",
            "max_page": str(self.max_page) if self.max_page > 1 else "",
            "time_period": self.time_period,
            "sort_by": self.sort_by,
            # During an incident a page may lack results. This asks for a free 503 instead.
            "skip_on_incident": "all",
            "include_ai_overview": "true" if self.include_ai_overview else "",
            # Otherwise the location would override the market's domain and languages.
            "location_auto": "false" if self.location and self.gl and self.hl else "",
        }
        return {key: value for key, value in given.items() if value} | dict(self.extra)


@dataclass(frozen=True, slots=True)
class BatchSearch:
    """A search in a batch. ``custom_id`` is ours; the result repeats it."""

    custom_id: str
    spec: SearchSpec

    def wire(self) -> dict[str, Any]:
        """The JSON object to send."""
        return {**self.spec.params(), "custom_id": self.custom_id}
