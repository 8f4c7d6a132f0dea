"""The things of a run that cost money, and what they cost: domains, videos, channels, pages.

Their numbers per search come from an earlier run of the project, else from typical search pages
(``TYPICAL_FOUND``, ``TYPICAL_RATES``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from serpline.config.run import PipelineConfig
from serpline.domain.names import ContentType, PhaseName
from serpline.providers.wikidata.client import DOMAINS_MAX
from serpline.providers.youtube.client import IDS_MAX

TYPICAL = "estimate: typical search pages"
NOT_CALLED = "not called"
_DEPTH_TYPICAL = 10
_CHANNELS_PER_VIDEO = 0.5
_PHASES: Final = {
    "domains": PhaseName.COMPANY_ENRICHMENT_SERP,
    "videos": PhaseName.YOUTUBE_ENRICHMENT,
    "channels": PhaseName.COMPANY_ENRICHMENT_YOUTUBE,
    "analyses": PhaseName.CONTENT_ANALYSIS,
}


# Phase → what it buys, by the names of ``Things``.
THINGS: Final[Mapping[PhaseName, Sequence[str]]] = {
    _PHASES["domains"]: ("domains",),
    _PHASES["videos"]: ("videos",),
    _PHASES["channels"]: ("channels",),
    _PHASES["analyses"]: ("pages", "analyses"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One phase at one provider. ``credits`` are in the provider's unit (``prices.UNITS``).

    ``is_called``: false if the provider is not set up or the phase is skipped; then the line says
    what it would cost.
    """

    phase: PhaseName
    provider: str
    calls: int
    credits: float
    basis: str = ""
    is_called: bool = True

    @property
    def words(self) -> str:
        """The basis, and whether the cost is only what it would be."""
        return self.basis if self.is_called else f"{NOT_CALLED}; {self.basis}"


@dataclass(frozen=True, slots=True)
class Things:
    """What is bought: domains, videos, channels whose owner is looked up, pages, analysed texts."""

    domains: int
    videos: int
    channels: int
    pages: int
    analyses: int


@dataclass(frozen=True, slots=True)
class Rates:
    """What things cost. ``matched``: domains that PDL knows, 0 to 1.

    ``unlinked``: channels that link no website, whose owner a model is asked for, 0 to 1.
    """

    matched: float = 0.6
    tokens_per_analysis: float = 2_000.0
    unlinked: float = 0.3
    tokens_per_owner: float = 500.0


TYPICAL_RATES = Rates()
# Mean number of new domains, pages and videos per search page of each type.
_DOMAINS = {ContentType.ORGANIC: 3.0, ContentType.NEWS: 2.0, ContentType.VIDEO: 0.5}
_PAGES = {ContentType.ORGANIC: 8.0, ContentType.NEWS: 8.0, ContentType.VIDEO: 0.5}
_VIDEOS = {ContentType.ORGANIC: 0.5, ContentType.NEWS: 0.0, ContentType.VIDEO: 7.0}


def typical_things(per_type: int, config: PipelineConfig) -> Things:
    """The things of ``per_type`` typical search pages of each content type."""

    def total(per_page: Mapping[ContentType, float]) -> int:
        return ceil(sum(per_page[kind] * per_type for kind in config.content_types))

    depth = min(config.analysis_depth, _DEPTH_TYPICAL) / _DEPTH_TYPICAL
    videos = total(_VIDEOS)
    pages = ceil(total(_PAGES) * depth)
    return Things(
        domains=total(_DOMAINS),
        videos=videos,
        channels=ceil(videos * _CHANNELS_PER_VIDEO),
        pages=pages,
        analyses=pages + ceil(videos * depth),
    )


def costs(
    bought: Things,
    rates: Rates,
    bases: Mapping[PhaseName, str],
    *,
    has_pdl: bool,
    has_llm: bool,
) -> list[Line]:
    """The lines of the phases that follow the searches. ``bases``: in words, by phase."""
    units = ceil(bought.videos / IDS_MAX) + ceil(bought.videos * _CHANNELS_PER_VIDEO / IDS_MAX)
    asked = ceil(bought.channels * rates.unlinked) if has_llm else 0
    tokens = bought.analyses * rates.tokens_per_analysis
    lines = [
        *_companies(_PHASES["domains"], bought.domains, rates, has_pdl=has_pdl),
        Line(_PHASES["videos"], "youtube", units, units),
        *_companies(_PHASES["channels"], bought.channels, rates, has_pdl=has_pdl),
        *_owners(asked, rates),
        Line(_PHASES["analyses"], "page", bought.pages, 0.0),
        Line(_PHASES["analyses"], "llm", bought.analyses, tokens),
    ]
    return [replace(line, basis=bases[line.phase]) for line in lines]


def _companies(phase: PhaseName, domains: int, rates: Rates, *, has_pdl: bool) -> list[Line]:
    matched = ceil(domains * rates.matched) if has_pdl else 0
    rest = ceil((domains - matched) / DOMAINS_MAX)
    paid = [Line(phase, "pdl", domains, matched)] if has_pdl else []
    return [*paid, Line(phase, "wikidata", rest, 0.0)]


def _owners(asked: int, rates: Rates) -> list[Line]:
    tokens = asked * rates.tokens_per_owner
    return [Line(_PHASES["channels"], "llm", asked, tokens)] if asked else []
