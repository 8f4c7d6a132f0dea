"""Phase 6: what a page or a video is about, and how relevant it is to what people searched.

Relevance is judged for each keyword that a page or a video ranks for (``relevance``). A page is
fetched under the SSRF guard, its text extracted in a process that can be killed, and the text
analysed by a language model against a schema. A video is analysed by its title and description. An
empty analysis is a failure and never stored; a page that cannot be read is a failed item, and its
results count as not analysed. A page without content (a bot check, a consent
wall, a soft 404) is an answer of its own: stored with its kind, without relevance, and the model is
asked only if the cheap tests do not know it.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from serpline.config.run import PipelineConfig
from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError
from serpline.domain.names import PhaseName
from serpline.domain.outcomes import Done, Outcome, Skip
from serpline.phases.base import Work
from serpline.phases.model_calls import ModelCalls
from serpline.phases.relevance import KIND, Judgement, NeededJudgements, Question
from serpline.phases.tools import (
    Tools,
    as_done,
    claim_missing,
    release_claims,
    run_scope,
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
        """Few: pages are slow, and a chunk that is lost is fetched again."""
        return 100

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """How deep to go."""
        return {"analysis_depth": config.analysis_depth}

    async def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """Judge what nobody has judged lately, several subjects at once."""
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
                # Asked now, it would be asked again for the others.
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
                # Not kept for other runs: it was free, and may be content when they look.
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
        """A row per subject and market."""
        kind = str(chunk.lane.content_type)
        rows = [
            {"run_id": chunk.run_id, "content_type": kind, "subject": d.item, **row}
            for d in done
            for row in d.result
        ]
        await insert_rows(conn, content_analyses, rows)
