"""Estimate what a run would cost at each provider, before it spends a credit.

Search pages are exact: pairs × devices × content types, one credit each. Free providers are exact
too. All other costs depend on what the searches return. They are scaled from the project's latest
run, or from typical search pages if there is none, and each line names its basis. A
``force_refresh`` run is scaled only from a run that had it too.

Limits: costs are scaled in proportion to searches. The real cost is lower, because a larger run
repeats more domains and pages, and fresh data is not bought again. US$ are given only where a
public price per call is known; other prices depend on the contract.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any
from uuid import UUID

from serpline.config.run import PipelineConfig
from serpline.domain.errors import UserError
from serpline.domain.markets import Market
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.states import RunStatus
from serpline.providers.dataforseo.client import KEYWORDS_PER_CALL_MAX
from serpline.providers.scaleserp.client import SEARCHES_PER_ADD_MAX
from serpline.providers.wikidata.client import DOMAINS_MAX
from serpline.providers.youtube.client import IDS_MAX
from serpline.store import projects
from serpline.store.database import Connection
from serpline.store.results import reports
from serpline.store.results.reports import Spending
from serpline.store.runs import runs

# Provider → the unit in which the ledger counts its credits, and US$ per unit (None: by contract).
UNITS: Mapping[str, tuple[str, float | None]] = {
    "dataforseo": ("requests", 0.09),
    "scaleserp": ("credits", None),
    "pdl": ("matches", None),
    "wikidata": ("free", 0.0),
    "youtube": ("quota units (free, 10,000 a day)", 0.0),
    "page": ("free", 0.0),
    "llm": ("tokens", None),
}

EXACT = "exact"
AT_MOST = "at most"
TYPICAL = "estimate: typical search pages"

# Mean number of new domains, pages and videos per search page of each type.
_DOMAINS = {ContentType.ORGANIC: 3.0, ContentType.NEWS: 2.0, ContentType.VIDEO: 0.5}
_PAGES = {ContentType.ORGANIC: 8.0, ContentType.NEWS: 8.0, ContentType.VIDEO: 0.5}
_VIDEOS = {ContentType.ORGANIC: 0.5, ContentType.NEWS: 0.0, ContentType.VIDEO: 7.0}
_CHANNELS_PER_VIDEO = 0.5
_MATCHED = 0.6
_TOKENS_PER_ANALYSIS = 2_000
# Share of channels that link no website of their own; a model is asked for their owners.
_UNLINKED = 0.3
_TOKENS_PER_OWNER = 500
_DEPTH_TYPICAL = 10
# Create, a status check before and after the start, the start, the result set, one page file.
_CALLS_PER_BATCH = 7


@dataclass(frozen=True, slots=True)
class Line:
    """One phase at one provider. ``credits`` are in the provider's unit (see ``UNITS``)."""

    phase: PhaseName
    provider: str
    calls: int
    credits: float
    basis: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """``pairs``: keyword × market; ``searches``: pairs × devices × content types."""

    pairs: int
    searches: int
    lines: tuple[Line, ...]

    def to_json(self) -> dict[str, Any]:
        """``providers`` → calls, credits, unit, US$ (None: by contract), basis, phases."""
        providers: dict[str, Any] = {}
        for provider in dict.fromkeys(line.provider for line in self.lines):
            own = [line for line in self.lines if line.provider == provider]
            unit, _ = UNITS[provider]
            total = sum(line.credits for line in own)
            providers[provider] = {
                "calls": sum(line.calls for line in own),
                "credits": round(total, 2),
                "unit": unit,
                "usd": usd(provider, total),
                "basis": "; ".join(dict.fromkeys(line.basis for line in own)),
                "phases": {
                    str(line.phase): {
                        "calls": line.calls,
                        "credits": round(line.credits, 2),
                        "basis": line.basis,
                    }
                    for line in own
                },
            }
        return {"pairs": self.pairs, "searches": self.searches, "providers": providers}


def usd(provider: str, credits_: float) -> float | None:
    """Price ``credits_`` of a provider in US$; None if the price depends on the contract."""
    _, price = UNITS.get(provider, ("", None))
    return None if price is None else round(price * credits_, 2)


async def estimate(
    conn: Connection,
    config: PipelineConfig,
    *,
    has_pdl: bool,
    has_llm: bool,
    finds_new: bool = False,
) -> Estimate:
    """Estimate a run of ``config`` over the project's keywords.

    ``has_pdl``: whether People Data Labs is configured. ``has_llm``: whether a model is asked for
    channels' owners. ``finds_new``: the run finds things that are not bought yet, so a latest run
    that bought nothing is no basis. Raises ``UserError`` if the project has no keywords for such
    a run.
    """
    by_market = await projects.count_pairs(conn, config.landscape, config.keyword_limit)
    if not by_market:
        raise UserError("no keywords: import some first (serpline keywords import FILE.csv)")
    markets = await projects.markets(conn)
    pairs = sum(by_market.values())
    per_type = pairs * len(config.devices)
    lines = [
        _keyword_metrics(by_market, markets),
        _serp_collection(per_type, config),
        *(await _by_ratio(conn, per_type, config, has_pdl, has_llm, finds_new)),
    ]
    asked = set(config.phases or PhaseName)
    return Estimate(
        pairs,
        per_type * len(config.content_types),
        tuple(line for line in lines if line.phase in asked),
    )


def _keyword_metrics(by_market: Mapping[str, int], markets: Mapping[str, Market]) -> Line:
    """At most one request per location and language in each chunk of a thousand."""
    chunks = ceil(sum(by_market.values()) / KEYWORDS_PER_CALL_MAX)
    groups: dict[tuple[int, str | None], int] = {}
    for code, pairs in by_market.items():
        market = markets[code]
        if market.location_code is not None:
            key = (market.location_code, market.language_code)
            groups[key] = groups.get(key, 0) + pairs
    calls = sum(min(pairs, chunks) for pairs in groups.values())
    return Line(PhaseName.KEYWORD_METRICS, "dataforseo", calls, calls, AT_MOST)


def _serp_collection(per_type: int, config: PipelineConfig) -> Line:
    types = len(config.content_types)
    if per_type <= config.realtime_searches_max:
        calls = per_type * types
    else:
        sizes = [config.of(kind).batch_size for kind in config.content_types]
        batches = sum(ceil(per_type / size) for size in sizes)
        calls = batches * _CALLS_PER_BATCH + ceil(per_type / SEARCHES_PER_ADD_MAX) * types
    overviews = config.include_ai_overview and ContentType.ORGANIC in config.content_types
    credits_ = float(per_type * (types + overviews))
    return Line(PhaseName.SERP_COLLECTION, "scaleserp", calls, credits_, EXACT)


async def _by_ratio(
    conn: Connection,
    per_type: int,
    config: PipelineConfig,
    has_pdl: bool,
    has_llm: bool,
    finds_new: bool,
) -> list[Line]:
    """Estimate the phases whose work depends on what the searches return."""
    done = (RunStatus.COMPLETED, RunStatus.COMPLETED_WITH_ERRORS)
    latest = await reports.latest_run(conn, scored=True, statuses=[str(s) for s in done])
    if latest is not None and config.force_refresh:
        run = await runs.get(conn, latest)
        latest = latest if run and run.config["force_refresh"] else None
    if latest is not None:
        lanes = await runs.lanes(conn, latest)
        searched = {
            str(lane.key.content_type): lane.completed
            for lane in lanes
            if lane.key.phase is PhaseName.SERP_COLLECTION and lane.completed
        }
        if all(str(kind) in searched for kind in config.content_types):
            spent = await reports.spending(conn, latest)
            lines = _scaled_from(latest, spent, searched, per_type, config)
            if not finds_new or any(line.credits for line in lines):
                return lines
    return _typical(per_type, config, has_pdl, has_llm)


def _scaled_from(
    run_id: UUID,
    spent: Iterable[Spending],
    searched: Mapping[str, int],
    per_type: int,
    config: PipelineConfig,
) -> list[Line]:
    totals: dict[tuple[PhaseName, str], tuple[float, float]] = {}
    asked_types = {str(kind) for kind in config.content_types}
    for row in spent:
        phase = PhaseName(row.phase)
        if phase in _SEARCHES_FIRST and row.content_type in asked_types:
            ratio = per_type / searched[row.content_type]
            calls, credits_ = totals.get((phase, row.provider), (0.0, 0.0))
            totals[phase, row.provider] = (
                calls + row.calls * ratio,
                credits_ + row.credits * ratio,
            )
    basis = f"estimate: as in run {run_id}"
    return [
        Line(phase, provider, ceil(calls), credits_, basis)
        for (phase, provider), (calls, credits_) in totals.items()
    ]


_SEARCHES_FIRST = frozenset(PhaseName) - {
    PhaseName.KEYWORD_METRICS,
    PhaseName.SERP_COLLECTION,
    PhaseName.DSI_CALCULATION,
}


def _typical(per_type: int, config: PipelineConfig, has_pdl: bool, has_llm: bool) -> list[Line]:
    def total(per_page: Mapping[ContentType, float]) -> int:
        return ceil(sum(per_page[kind] * per_type for kind in config.content_types))

    depth = min(config.analysis_depth, _DEPTH_TYPICAL) / _DEPTH_TYPICAL
    domains, videos = total(_DOMAINS), total(_VIDEOS)
    channels = ceil(videos * _CHANNELS_PER_VIDEO)
    asked = ceil(channels * _UNLINKED) if has_llm else 0
    pages, analysed = ceil(total(_PAGES) * depth), ceil(videos * depth)
    units = ceil(videos / IDS_MAX) + ceil(channels / IDS_MAX)
    analyses = pages + analysed
    return [
        *_companies(PhaseName.COMPANY_ENRICHMENT_SERP, domains, has_pdl),
        Line(PhaseName.YOUTUBE_ENRICHMENT, "youtube", units, units, TYPICAL),
        *_companies(PhaseName.COMPANY_ENRICHMENT_YOUTUBE, channels, has_pdl),
        *_owners(asked),
        Line(PhaseName.CONTENT_ANALYSIS, "page", pages, 0.0, TYPICAL),
        Line(PhaseName.CONTENT_ANALYSIS, "llm", analyses, analyses * _TOKENS_PER_ANALYSIS, TYPICAL),
    ]


def _companies(phase: PhaseName, domains: int, has_pdl: bool) -> list[Line]:
    matched = ceil(domains * _MATCHED) if has_pdl else 0
    rest = ceil((domains - matched) / DOMAINS_MAX)
    paid = [Line(phase, "pdl", domains, matched, TYPICAL)] if has_pdl else []
    return [*paid, Line(phase, "wikidata", rest, 0.0, TYPICAL)]


def _owners(asked: int) -> list[Line]:
    phase = PhaseName.COMPANY_ENRICHMENT_YOUTUBE
    return [Line(phase, "llm", asked, asked * _TOKENS_PER_OWNER, TYPICAL)] if asked else []
