"""Phase 6: the topics of a page or a video, and its relevance to the keywords it ranks for.

A page is fetched under the SSRF guard, its text is extracted in a process that can be killed, and a
language model analyses the text against a schema. A video is analysed by title and description.
``relevance`` says when an analysis is reused.

An empty analysis is a failure and is never stored. An unreadable page is a failed item; its results
count as not analysed. A page without content (a bot check, a consent wall, a soft 404) is stored
with its kind and without relevance. Cheap tests recognise most of these; the model sees the rest.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from serpline.config.run import PipelineConfig
from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError
from serpline.domain.names import PhaseName
from serpline.domain.outcomes import Done, Outcome, Skip
from serpline.phases.base import Work
from serpline.phases.freshness import run_scope
from serpline.phases.model_calls import ModelCalls
from serpline.phases.relevance import KIND, Judgement, NeededJudgements, Question
from serpline.phases.tools import (
    Tools,
    as_done,
    claim_missing,
    release_claims,
    snooze_until_bought,
)
from serpline.providers.llm.client import KEYWORDS_MAX
from serpline.providers.pages.errors import EmptyPageError
from serpline.store.database import Connection
from serpline.store.results import inputs
from serpline.store.rows import insert_rows
from serpline.store.runs import plans, runs
from serpline.store.runs.chunks import ItemRow, OwnedChunk
from serpline.store.tables.results import content_analyses


class ContentAnalysisPhase:
    """Items are ``u:URL`` and ``v:VIDEO``."""

    name = PhaseName.CONTENT_ANALYSIS
    plan_sql = plans.CONTENT_ANALYSIS
    divisible = True

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def chunk_size(self, config: PipelineConfig) -> int:
        """Return 100: pages are slow, and a lost chunk fetches its pages again."""
        return 100

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """Return the deepest rank to analyse."""
        return {"analysis_depth": config.analysis_depth}

    async def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """Analyse several subjects at once; fresh judgements are reused."""
        subjects = [row.item for row in items]
        async with work.database.transaction() as conn:
            sources = await runs.source_runs(conn, work.chunk.run_id)
            searches = await inputs.searches_of_subjects(
                conn,
                sources[PhaseName.SERP_COLLECTION],
                work.chunk.lane.content_type,
                subjects,
                depth=work.config.analysis_depth,
                limit=KEYWORDS_MAX,
            )
            ids = [subject[2:] for subject in subjects if subject.startswith("v:")]
            videos = await inputs.videos(conn, sources[PhaseName.YOUTUBE_ENRICHMENT], ids)
        model = self._tools.llm.model
        needed = {each: NeededJudgements(each, searches.get(each, ()), model) for each in subjects}
        claims = await claim_missing(
            work, KIND, [key for each in needed.values() for key in each.keys]
        )
        to_fetch, in_flight = set(claims.to_fetch), set(claims.in_flight_elsewhere)
        calls = ModelCalls(self._tools, work, self._tools.llm)
        unbought: list[str] = []

        async def analyse(subject: str) -> Outcome:
            keys = needed[subject].keys
            missing = [key for key in keys if key in to_fetch]
            if not keys:
                return Skip(subject, "it ranks in no search")
            if not in_flight.isdisjoint(keys):
                # Another chunk is buying some keywords. Asking now would ask twice.
                await release_claims(work, KIND, missing)
                return snooze_until_bought(work, subject)
            bought: dict[str, Judgement] = {}
            try:
                for question in needed[subject].questions(to_fetch):
                    if subject.startswith("v:"):
                        bought |= await self._video(calls, subject, videos, question)
                    else:
                        bought |= await self._page(work, calls, subject[2:], question)
            except EmptyPageError as empty:
                # Not stored for other runs: it was free, and the page may have content later.
                unbought.extend(missing)
                rows = needed[subject].empty_rows(empty.kind, work.clock.now())
                return Done(subject, rows)
            except (ProviderError, CallRefused) as error:
                unbought.extend(key for key in missing if key not in bought)
                return work.retries.outcome_for(subject, error)
            now = work.clock.now()
            rows = needed[subject].rows(
                claims.fresh | bought, claims.fetched_at | dict.fromkeys(bought, now)
            )
            return Done(subject, rows)

        async with aclosing(as_done(analyse, subjects, self._tools.call_concurrency)) as outcomes:
            async for outcome in outcomes:
                yield outcome
        await release_claims(work, KIND, unbought)

    async def _page(
        self, work: Work, model: ModelCalls, url: str, question: Question
    ) -> Mapping[str, Judgement]:
        call = self._tools.pages.fetch_page(url)
        document = await self._tools.call(work, call, freshness=run_scope(work))
        page = await self._tools.extractor.extract(document)
        return await model.buy(
            KIND,
            question.judgements,
            lambda llm: llm.analyse_page(
                url, page.title or "", page.text, question.keywords, question.language
            ),
        )

    async def _video(
        self,
        model: ModelCalls,
        subject: str,
        videos: Mapping[str, Mapping[str, Any]],
        question: Question,
    ) -> Mapping[str, Judgement]:
        video = videos.get(subject[2:])
        if video is None:
            raise ProviderError(
                f"{subject}: the video has no text to analyse",
                provider="youtube",
                category=ErrorCategory.EMPTY,
                permanent=True,
            )
        return await model.buy(
            KIND,
            question.judgements,
            lambda llm: llm.analyse_video(
                video["title"] or "",
                video["description"] or "",
                question.keywords,
                question.language,
            ),
        )

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """Write a row per subject and market."""
        kind = str(chunk.lane.content_type)
        rows = [
            {"run_id": chunk.run_id, "content_type": kind, "subject": d.item, **row}
            for d in done
            for row in d.result
        ]
        await insert_rows(conn, content_analyses, rows)
