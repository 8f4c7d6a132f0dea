"""Phase 1: search volumes per keyword × market, up to a thousand keywords a call.

An unknown volume is NULL, never 0; its row holds the reason, and the item succeeds. Keywords that
Google Ads would refuse are not sent. If one keyword fails its call, the provider names it or
halving finds it. A restricted keyword removes the figures of the whole call
(docs.dataforseo.com/v3/keywords-data-overview); halving finds it too, and the nulls of such a call
are not stored.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from serpline.config.run import PipelineConfig
from serpline.domain.errors import CallRefused, ProviderError
from serpline.domain.keywords import keyword_key, searched
from serpline.domain.names import PhaseName
from serpline.domain.outcomes import Done, Outcome
from serpline.phases.base import Work
from serpline.phases.freshness import bought_since
from serpline.phases.tools import (
    Tools,
    claim_missing,
    release_claims,
    snooze_until_bought,
    store_payloads,
    to_json,
)
from serpline.providers.dataforseo.client import KEYWORDS_PER_CALL_MAX
from serpline.providers.dataforseo.errors import is_keyword_error, named_keyword
from serpline.providers.dataforseo.wire import KeywordMetrics, SearchVolumes, match, unsupported
from serpline.store.database import Connection
from serpline.store.results import inputs
from serpline.store.results.inputs import KeywordItem
from serpline.store.rows import insert_rows
from serpline.store.runs import plans
from serpline.store.runs.chunks import ItemRow, OwnedChunk
from serpline.store.tables.results import keyword_metrics as table

KIND = "keyword_metrics"
SOURCE = "dataforseo"
# Halving finds one refused keyword among a thousand in about twenty paid calls.
CALLS_MAX = 40
REASON_CHARS_MAX = 300
NO_VOLUME = "Google Ads gives no volume: too few searches, or a restricted keyword"

Location = tuple[int, str | None]
"""DataForSEO's location and language code; without a language, volumes cover all languages."""


class KeywordMetricsPhase:
    """Buys volumes from DataForSEO and reuses fresh ones."""

    name = PhaseName.KEYWORD_METRICS
    plan_sql = plans.KEYWORD_METRICS
    divisible = True

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def chunk_size(self, config: PipelineConfig) -> int:
        """Return one full call."""
        return KEYWORDS_PER_CALL_MAX

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """Return no further parameters."""
        return {}

    async def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """Make one call per market, for the keywords without a fresh volume."""
        pairs = {row.item: _pair(row.item) for row in items}
        async with work.database.transaction() as conn:
            known = await inputs.keyword_items(conn, work.chunk.run_id, list(pairs.values()))
        markets: dict[Location, dict[str, str]] = defaultdict(dict)
        for item, pair in pairs.items():
            keyword_item = known[pair]
            keyword = searched(keyword_item.keyword)
            if keyword_item.location_code is None:
                nothing = _unknown("DataForSEO has no such location")
                yield Done(item, _row(keyword_item, nothing, work, "none"))
            elif reason := unsupported(keyword):
                yield Done(item, _row(keyword_item, _unknown(reason), work, "none"))
            else:
                market = (keyword_item.location_code, keyword_item.language_code)
                markets[market][item] = keyword
        for market, keywords in markets.items():
            async for item, found in self._buy(work, market, keywords):
                if isinstance(found, dict):
                    yield Done(item, _row(known[pairs[item]], found, work, SOURCE))
                else:
                    yield found

    async def _buy(
        self, work: Work, market: Location, keywords: Mapping[str, str]
    ) -> AsyncGenerator[tuple[str, dict[str, Any] | Outcome], None]:
        """Yield ``(item, payload or outcome)`` for every item of one market."""
        codes = f"{market[0]}:{market[1] or ''}"
        keys = {item: f"{codes}:{keyword_key(k)}" for item, k in keywords.items()}
        claims = await claim_missing(work, KIND, keys.values())
        to_fetch = set(claims.to_fetch)
        for item, key in keys.items():
            if key in claims.fresh:
                found = claims.fresh[key] or _unknown(NO_VOLUME)
                yield item, {**found, "fetched_at": claims.fetched_at[key]}
            elif key not in to_fetch:
                yield item, snooze_until_bought(work, item)
        groups = [[item for item, key in keys.items() if key in to_fetch]] if to_fetch else []
        for _ in range(CALLS_MAX):
            if not groups:
                return
            # The largest group first, so that most keywords need few calls.
            group = groups.pop(groups.index(max(groups, key=len)))
            texts = {item: keywords[item] for item in group}
            try:
                bought = await self._volumes(work, market, texts, keys)
            except (ProviderError, CallRefused) as error:
                if not isinstance(error, ProviderError) or not is_keyword_error(error):
                    for item in group:
                        yield item, work.retries.outcome_for(item, error)
                    continue
                if len(group) > 1:
                    groups += _split_off(texts, named_keyword(error, list(texts.values())))
                    continue
                bought = {keys[group[0]]: _unknown(str(error))}
                await store_payloads(work, KIND, bought)
            if not bought:
                groups += _halves(group)
                continue
            for item in group:
                yield item, bought[keys[item]]
        left = [item for group in groups for item in group]
        # These were never asked for alone. The next run asks again.
        await release_claims(work, KIND, [keys[item] for item in left])
        for item in left:
            yield (
                item,
                _unknown(f"unknown after {CALLS_MAX} calls: another keyword in them is refused"),
            )

    async def _volumes(
        self, work: Work, market: Location, keywords: Mapping[str, str], keys: Mapping[str, str]
    ) -> Mapping[str, dict[str, Any]]:
        """Payloads by key; empty if the reply has no figure at all (a restricted keyword)."""
        texts = list(keywords.values())
        call = self._tools.dataforseo.search_volume(texts, *market)
        since = bought_since(work) if work.config.force_refresh else None
        freshness = f"since:{since.isoformat()}" if since else "reference"
        ttl = work.config.reference_ttl_days * 86_400.0

        def payloads(volumes: SearchVolumes) -> dict[str, dict[str, Any]]:
            if volumes.lost_all_figures:
                return {}
            matched = match(texts, volumes.metrics)
            return {keys[item]: _payload(matched.get(word)) for item, word in keywords.items()}

        return await self._tools.buy(
            work, call, KIND, payloads, freshness=freshness, ttl_seconds=ttl
        )

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """Write a row per keyword × market."""
        await insert_rows(conn, table, [outcome.result for outcome in done])


def _split_off(texts: Mapping[str, str], named: str | None) -> list[list[str]]:
    """Split off the keyword that the provider named; halve the group if it named none."""
    alone = [item for item, keyword in texts.items() if keyword == named]
    others = [item for item in texts if item not in alone]
    if not alone or not others:
        return _halves(list(texts))
    return [others, *([item] for item in alone)]


def _halves(group: list[str]) -> list[list[str]]:
    half = len(group) // 2
    return [group[half:], group[:half]]


def _pair(item: str) -> tuple[int, str]:
    keyword_id, _, market = item.partition(":")
    return int(keyword_id), market


def _payload(metrics: KeywordMetrics | None) -> dict[str, Any]:
    """The provider's figures, with a reason if there is no volume."""
    found = to_json(metrics) if metrics else {}
    return found if found.get("search_volume") is not None else found | _unknown(NO_VOLUME)


def _unknown(reason: str) -> dict[str, Any]:
    return {"unknown_reason": reason[:REASON_CHARS_MAX]}


def _row(
    keyword_item: KeywordItem, payload: Mapping[str, Any] | None, work: Work, source: str
) -> dict[str, Any]:
    given = payload or {}
    return {
        "run_id": work.chunk.run_id,
        "keyword_id": keyword_item.keyword_id,
        "market": keyword_item.market,
        "search_volume": given.get("search_volume"),
        "cpc": given.get("cpc"),
        "competition": given.get("competition"),
        "competition_index": given.get("competition_index"),
        "monthly_searches": given.get("monthly"),
        "unknown_reason": given.get("unknown_reason"),
        "source": source,
        "fetched_at": given.get("fetched_at") or work.clock.now(),
    }
