"""What to search for, as parameters of the wire. Nothing else knows the parameters' names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from serpline.domain.names import ContentType, Device

# Google ended larger pages in September 2025: ten organic results a page, one credit each page.
MAX_PAGE_MAX = 5

_SEARCH_TYPE = MappingProxyType({ContentType.NEWS: "news", ContentType.VIDEO: "videos"})
# What a batch that holds only this type is called.
SEARCHES_TYPE = MappingProxyType(
    {ContentType.ORGANIC: "web", ContentType.NEWS: "news", ContentType.VIDEO: "videos"}
)


@dataclass(frozen=True, slots=True)
class SearchSpec:
    """One search. Empty and None mean "do not send": the vendor's default holds.

    ``max_page`` pages cost ``max_page`` credits, at most five; an AI overview costs one more.
    ``time_period`` is one of the vendor's words (``last_day``, …). ``extra`` is sent as it is.
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
        """Refuse what could only come back as a billed surprise or a 400."""
        if not self.q.strip():
            raise ValueError("a search needs a query")
        if self.content_type not in SEARCHES_TYPE:
            raise ValueError(f"content_type {self.content_type!r} cannot be searched for")
        if not (self.page >= 1 and 1 <= self.max_page <= MAX_PAGE_MAX):
            raise ValueError(f"page {self.page}, max_page {self.max_page}: out of range")

    @property
    def credits(self) -> float:
        """What it costs at most, in credits."""
        return float(self.max_page + (1 if self.include_ai_overview else 0))

    def params(self) -> dict[str, str]:
        """The parameters, all as text, without the key; equal specs give equal parameters."""
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
            # While parsing is degraded a page may lack results: a refusal (503, free) is no data.
            "skip_on_incident": "all",
            "include_ai_overview": "true" if self.include_ai_overview else "",
            # A built-in location would otherwise override the domain and languages of the market.
            "location_auto": "false" if self.location and self.gl and self.hl else "",
        }
        return {key: value for key, value in given.items() if value} | dict(self.extra)


@dataclass(frozen=True, slots=True)
class BatchSearch:
    """A search inside a batch; ``custom_id`` is ours and comes back with the result."""

    custom_id: str
    spec: SearchSpec

    def wire(self) -> dict[str, Any]:
        """The object to send."""
        return {**self.spec.params(), "custom_id": self.custom_id}
