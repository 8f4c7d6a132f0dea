"""Phase 1: search volumes, per keyword × market, up to a thousand keywords a call.

An unknown volume is NULL, never 0. A keyword that the provider refuses, and that empties the whole
call with it, is found by halving the call until it stands alone; the others lose nothing by it.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from serpline.domain.config import PipelineConfig
from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError
from serpline.domain.keywords import keyword_key
from serpline.domain.names import PhaseName
from serpline.domain.outcomes import Done, Outcome, Reject
from serpline.phases.base import Work
from serpline.phases.tools import Tools, bought_elsewhere, keep, obtain, plain
from serpline.providers.dataforseo.client import KEYWORDS_PER_CALL_MAX
from serpline.providers.dataforseo.errors import blames_a_keyword
from serpline.providers.dataforseo.wire import KeywordMetrics, match, unsupported
from serpline.store import plans
from serpline.store.chunks import ItemRow, OwnedChunk
from serpline.store.database import Connection
from serpline.store.results import inputs
from serpline.store.results.inputs import KeywordItem
from serpline.store.rows import insert_rows
from serpline.store.tables.results import keyword_metrics as table

KIND = "keyword_metrics"
SOURCE = "dataforseo"
# Halving finds one refused keyword among a thousand in about twenty calls; calls are paid.
CALLS_MAX = 40

Location = tuple[int, str | None]
"""DataForSEO's codes of a market; without a language its volumes are those of all languages."""


class KeywordMetricsPhase:
    """Buys volumes from DataForSEO; what is fresh is reused."""

    name = PhaseName.KEYWORD_METRICS
    plan_sql = plans.KEYWORD_METRICS
    divisible = True

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def chunk_size(self, config: PipelineConfig) -> int:
        """One full call."""
        return KEYWORDS_PER_CALL_MAX

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """None of its own."""
        return {}

    async def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """One call per market, for the keywords nobody knows yet."""
        pairs = {row.item: _pair(row.item) for row in items}
        async with work.database.transaction() as conn:
            known = await inputs.keyword_items(conn, work.chunk.run_id, list(pairs.values()))
        markets: dict[Location, dict[str, str]] = defaultdict(dict)
        for item, pair in pairs.items():
            wanted = known[pair]
            if wanted.location_code is None:
                # DataForSEO has no such location: unknown, and the run says so.
                yield Done(item, _row(wanted, None, work, "none"))
            elif reason := unsupported(wanted.keyword):
                yield Reject(item, ErrorCategory.BAD_REQUEST, f"{wanted.keyword!r}: {reason}")
            else:
                market = (wanted.location_code, wanted.language_code)
                markets[market][item] = wanted.keyword
        for market, keywords in markets.items():
            async for item, found in self._buy(work, market, keywords):
                if isinstance(found, dict):
                    yield Done(item, _row(known[pairs[item]], found, work, SOURCE))
                else:
                    yield found

    async def _buy(
        self, work: Work, market: Location, keywords: Mapping[str, str]
    ) -> AsyncGenerator[tuple[str, dict[str, Any] | Outcome], None]:
        """``(item, payload or outcome)`` for every item of one market."""
        codes = f"{market[0]}:{market[1] or ''}"
        keys = {item: f"{codes}:{keyword_key(k)}" for item, k in keywords.items()}
        obtained = await obtain(work, KIND, keys.values())
        mine = set(obtained.mine)
        for item, key in keys.items():
            if key in obtained.fresh:
                yield item, obtained.fresh[key] or {}
            elif key not in mine:
                yield item, bought_elsewhere(work, item)
        groups = [[item for item, key in keys.items() if key in mine]] if mine else []
        calls_left = CALLS_MAX
        while groups:
            group = groups.pop()
            calls_left -= 1
            may_halve = len(group) > 1 and calls_left > 0
            try:
                found = await self._volumes(work, market, {i: keywords[i] for i in group})
            except (ProviderError, CallRefused) as error:
                if isinstance(error, ProviderError) and blames_a_keyword(error) and may_halve:
                    groups += _halves(group)
                    continue
                for item in group:
                    yield item, work.retries.outcome_for(item, error)
                continue
            if found is None and may_halve:
                groups += _halves(group)
            elif found is None:
                for item in group:
                    reason = f"{keywords[item]!r}: the provider answers nothing for it"
                    yield item, Reject(item, ErrorCategory.BAD_REQUEST, reason)
            else:
                await keep(work, KIND, {keys[item]: payload for item, payload in found.items()})
                for item, payload in found.items():
                    yield item, payload

    async def _volumes(
        self, work: Work, market: Location, keywords: Mapping[str, str]
    ) -> dict[str, dict[str, Any]] | None:
        """Item → payload; None if the reply has not one row, as a refused keyword may cause."""
        asked = list(keywords.values())
        call = self._tools.dataforseo.search_volume(asked, *market)
        since = work.chunk.created_at if work.config.refresh_reference else None
        freshness = f"since:{since.isoformat()}" if since else "reference"
        ttl = work.config.reference_ttl_days * 86_400.0
        volumes = await self._tools.call(work, call, freshness=freshness, ttl_seconds=ttl)
        if volumes.is_emptied and not volumes.metrics:
            return None
        matched = match(asked, volumes.metrics)
        return {item: _payload(matched.get(keyword)) for item, keyword in keywords.items()}

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """A row per keyword × market."""
        await insert_rows(conn, table, [outcome.result for outcome in done])


def _halves(group: list[str]) -> list[list[str]]:
    half = len(group) // 2
    return [group[half:], group[:half]]


def _pair(item: str) -> tuple[int, str]:
    keyword_id, _, market = item.partition(":")
    return int(keyword_id), market


def _payload(metrics: KeywordMetrics | None) -> dict[str, Any]:
    """What the provider said; an empty object if it said nothing about the keyword."""
    return plain(metrics) if metrics else {}


def _row(
    wanted: KeywordItem, payload: Mapping[str, Any] | None, work: Work, source: str
) -> dict[str, Any]:
    given = payload or {}
    return {
        "run_id": work.chunk.run_id,
        "keyword_id": wanted.keyword_id,
        "market": wanted.market,
        "search_volume": given.get("search_volume"),
        "cpc": given.get("cpc"),
        "competition": given.get("competition"),
        "competition_index": given.get("competition_index"),
        "monthly_searches": given.get("monthly"),
        "source": source,
        "fetched_at": work.clock.now(),
    }
