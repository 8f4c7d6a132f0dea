"""Phase 6: what a page or a video is about, and how relevant it is to what people searched.

A page is fetched under the SSRF guard, its text extracted in a process that can be killed, and
the text analysed by a language model against a schema. A video is analysed by its title and
description. An empty analysis is a failure and never stored; a page that cannot be read is a
failed item, and its results count as not analysed. A page without content (a bot check, a consent
wall, a soft 404) is an answer of its own: stored with its kind, without relevance, and the model is
asked only if the cheap tests do not know it.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from serpline.domain.config import PipelineConfig
from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError
from serpline.domain.names import PhaseName
from serpline.domain.outcomes import Done, Outcome
from serpline.phases.base import Work
from serpline.phases.model_calls import ModelCalls
from serpline.phases.tools import (
    Tools,
    as_done,
    bought_elsewhere,
    give_back,
    obtain,
    plain,
    run_scope,
)
from serpline.providers.llm.analysis import Analysis
from serpline.providers.pages.errors import EmptyPageError
from serpline.store import plans, reference, runs
from serpline.store.chunks import ItemRow, OwnedChunk
from serpline.store.database import Connection
from serpline.store.results import inputs
from serpline.store.rows import insert_rows
from serpline.store.tables.results import content_analyses

KIND = "analysis"
KEYWORDS_MAX = 5
# What is stored of an analysis, and in its place where there was none.
_ANALYSED: Mapping[str, Any] = {
    "empty_kind": None,
    "relevance": None,
    "sentiment": None,
    "content_kind": None,
    "topics": [],
    "brands": [],
    "summary": None,
    "model": None,
}


class ContentAnalysisPhase:
    """Items are ``u:URL`` and ``v:VIDEO``."""

    name = PhaseName.CONTENT_ANALYSIS
    plan_sql = plans.CONTENT_ANALYSIS
    divisible = True

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def chunk_size(self, config: PipelineConfig) -> int:
        """Few: pages are slow, and a chunk that is lost is fetched again."""
        return 100

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """How deep to go."""
        return {"analysis_depth": config.analysis_depth}

    async def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """Analyse what nobody has analysed lately, several at once."""
        subjects = [row.item for row in items]
        obtained = await obtain(work, KIND, subjects)
        for subject, payload in obtained.fresh.items():
            yield Done(subject, payload)
        for subject in obtained.elsewhere:
            yield bought_elsewhere(work, subject)
        kind = work.chunk.lane.content_type
        async with work.database.transaction() as conn:
            ids = [subject[2:] for subject in obtained.mine if subject.startswith("v:")]
            sources = await runs.source_runs(conn, work.chunk.run_id)
            videos = await inputs.videos(conn, sources[PhaseName.YOUTUBE_ENRICHMENT], ids)
            searched = sources[PhaseName.SERP_COLLECTION]
            keywords = await inputs.keywords_of_subjects(
                conn, searched, kind, obtained.mine, KEYWORDS_MAX
            )

        model = ModelCalls(self._tools, work, self._tools.llm)

        async def analyse(subject: str) -> Outcome:
            words = keywords.get(subject, [])
            try:
                if subject.startswith("v:"):
                    analysis = await self._video(model, subject, videos, words)
                else:
                    analysis = await self._page(work, model, subject[2:], words)
            except EmptyPageError as empty:
                # Not kept for other runs: it was free, and may be content when they look.
                await give_back(work, KIND, [subject])
                return Done(subject, {"empty_kind": empty.kind})
            except (ProviderError, CallRefused) as error:
                await give_back(work, KIND, [subject])
                return work.retries.outcome_for(subject, error)
            return Done(subject, plain(analysis))

        limit = self._tools.call_concurrency
        async with aclosing(as_done(analyse, obtained.mine, limit)) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async def _page(
        self, work: Work, model: ModelCalls, url: str, keywords: Sequence[str]
    ) -> Analysis:
        call = self._tools.pages.fetch_page(url)
        document = await self._tools.call(work, call, freshness=run_scope(work))
        page = await self._tools.extractor.extract(document)
        return await model.ask(
            lambda llm: llm.analyse_page(
                url, page.title or "", page.text, keywords, page.language or ""
            )
        )

    async def _video(
        self,
        model: ModelCalls,
        subject: str,
        videos: Mapping[str, Mapping[str, Any]],
        keywords: Sequence[str],
    ) -> Analysis:
        video = videos.get(subject[2:])
        if video is None:
            raise ProviderError(
                f"{subject}: the video has no text to analyse",
                provider="youtube",
                category=ErrorCategory.EMPTY,
                permanent=True,
            )
        return await model.ask(
            lambda llm: llm.analyse_video(
                video["title"] or "", video["description"] or "", keywords
            )
        )

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """A row per subject; what the model answered is kept for other lanes and runs."""
        now = self._tools.clock.now()
        rows = [
            {
                "run_id": chunk.run_id,
                "content_type": str(chunk.lane.content_type),
                "subject": d.item,
                **{name: d.result.get(name, nothing) for name, nothing in _ANALYSED.items()},
                "fetched_at": now,
            }
            for d in done
        ]
        await insert_rows(conn, content_analyses, rows)
        answered = {d.item: d.result for d in done if "model" in d.result}
        await reference.store(conn, KIND, answered, now)
