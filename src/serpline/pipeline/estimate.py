"""Estimate what a run would cost at each provider, before it spends a credit.

Search pages are exact: pairs × devices × content types, one credit each. Free providers are exact
too. All other costs depend on what the searches return. They are estimated from the project's own
runs: things found per search and the share of them that is still fresh (of the newest run), and
matches per domain and tokens per text (of the newest ten). Without such a run, and for phases that
it skipped, typical search pages are the basis. Each line names its basis.

Limits: things that the newest run did not find are expected only for searches that it did not make,
so a landscape that changes much costs more. US$ are given where the price is known (``prices``).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from serpline.config.prices import BUILT_IN, UNITS, Prices
from serpline.config.run import PipelineConfig
from serpline.domain.errors import UserError
from serpline.domain.markets import Market
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.phase_inputs import lack_of, needed_by
from serpline.domain.providers import SET_UP
from serpline.pipeline.past_costs import basis_of, seconds_in_proportion
from serpline.pipeline.things import Line, costs
from serpline.providers.dataforseo.client import KEYWORDS_PER_CALL_MAX
from serpline.providers.scaleserp.client import SEARCHES_PER_ADD_MAX
from serpline.store import projects
from serpline.store.database import Connection
from serpline.store.results import history
from serpline.store.runs import workers

EXACT = "exact"
AT_MOST = "at most"

# Create, a status check before and after the start, the start, the result set, one page file.
_CALLS_PER_BATCH = 7


@dataclass(frozen=True, slots=True)
class Providers:
    """``unset``: providers that are not set up, so that they are not called.

    These are the settings of this process. Those of the workers count, while there are any.
    """

    has_pdl: bool
    has_llm: bool
    prices: Prices = BUILT_IN
    unset: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Estimate:
    """``pairs``: keyword × market; ``searches``: pairs × devices × content types.

    ``seconds``: how long the run may take, if the project has a run to compare it with.
    ``seconds_min``: the least that the providers' pace allows, if that was asked for. ``warnings``:
    limits below the estimate. ``skipped``: phases that would not work, each with the reason.
    """

    pairs: int
    searches: int
    lines: tuple[Line, ...]
    prices: Prices = BUILT_IN
    seconds: float | None = None
    seconds_min: float | None = None
    warnings: tuple[str, ...] = ()
    skipped: Mapping[PhaseName, str] = field(default_factory=dict)

    @property
    def credits(self) -> dict[str, float]:
        """Credits by provider, of the calls that would be made."""
        found: dict[str, float] = {}
        for line in self.lines:
            if line.is_called:
                found[line.provider] = found.get(line.provider, 0.0) + line.credits
        return found

    @property
    def usd(self) -> float:
        """US$ of the calls that would be made, where the price is known."""
        known = [self.prices.usd(name, amount) for name, amount in self.credits.items()]
        return round(sum(each for each in known if each is not None), 2)

    @property
    def unpriced(self) -> list[str]:
        """Providers that charge a price that is not known."""
        return [
            name
            for name, amount in self.credits.items()
            if amount and self.prices.usd(name, amount) is None
        ]

    def to_json(self) -> dict[str, Any]:
        """``providers`` → calls, credits, unit, US$ (None: not known), basis, phases."""
        providers: dict[str, Any] = {}
        for provider in dict.fromkeys(line.provider for line in self.lines):
            own = [line for line in self.lines if line.provider == provider]
            total = sum(line.credits for line in own)
            providers[provider] = {
                "calls": sum(line.calls for line in own),
                "credits": round(total, 2),
                "unit": UNITS[provider],
                "called": any(line.is_called for line in own),
                "usd": self.prices.usd(provider, total),
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
        return {
            "pairs": self.pairs,
            "searches": self.searches,
            "providers": providers,
            "usd": self.usd,
            "unpriced": self.unpriced,
            "skipped": {str(phase): why for phase, why in self.skipped.items()},
            "seconds": self.seconds,
            "seconds_min": self.seconds_min,
            "warnings": list(self.warnings),
        }


async def estimate(
    conn: Connection,
    config: PipelineConfig,
    providers: Providers,
    now: datetime,
    *,
    finds_new: bool = False,
) -> Estimate:
    """Estimate a run of ``config`` over the project's keywords, or those of ``inputs_from``.

    ``finds_new``: the run finds things that are not bought yet. Raises ``UserError`` if the project
    has no keywords for such a run.
    """
    providers = await _of_workers(conn, providers)
    if config.inputs_from is None:
        by_market = await projects.count_pairs(conn, config.landscape, config.keyword_limit)
    else:
        by_market = await projects.count_copied(conn, config.inputs_from)
    if not by_market:
        raise UserError("no keywords: import some first (serpline keywords import FILE.csv)")
    markets = await projects.markets(conn)
    pairs = sum(by_market.values())
    per_type = pairs * len(config.devices)
    past = await history.load(conn, now - timedelta(days=config.reference_ttl_days))
    if past is not None and not all(str(kind) in past.searches for kind in config.content_types):
        past = None
    bought, rates, bases = basis_of(past, per_type, config, finds_new=finds_new)
    lines = [
        _keyword_metrics(by_market, markets),
        _serp_collection(per_type, config),
        *costs(bought, rates, bases, has_pdl=providers.has_pdl, has_llm=providers.has_llm),
    ]
    asked = set(config.phases or PhaseName)
    skipped = _skipped(asked, providers.unset)
    return Estimate(
        pairs,
        per_type * len(config.content_types),
        tuple(_if_called(line, providers.unset, skipped) for line in lines if line.phase in asked),
        providers.prices,
        None if past is None or config.phases else seconds_in_proportion(past, per_type, config),
        skipped=skipped,
    )


async def _of_workers(conn: Connection, given: Providers) -> Providers:
    """The providers that some worker can call; without a worker, those of this process."""
    available = await workers.available_providers(conn)
    if available is None:
        return given
    unset = frozenset(SET_UP) - available
    return Providers("pdl" in available, "llm" in available, given.prices, unset)


def _skipped(asked: Collection[PhaseName], unset: Collection[str]) -> dict[PhaseName, str]:
    """The phases that would be skipped, with the reason: no provider, or nothing to work on."""
    available = set(SET_UP).difference(unset)
    found: dict[PhaseName, str] = {}
    for phase in PhaseName:
        if phase not in asked:
            continue
        needed = [read for read in needed_by(phase) if read in found]
        lack = lack_of(phase, available) or (f"{needed[0]} has no results" if needed else None)
        if lack is not None:
            found[phase] = lack
    return found


def _if_called(line: Line, unset: Collection[str], skipped: Collection[PhaseName]) -> Line:
    is_called = line.provider not in unset and line.phase not in skipped
    return line if is_called else replace(line, is_called=False)


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
