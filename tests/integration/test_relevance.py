"""When relevance judgements are reused, and how few calls that costs.

The phase is the real one, and so are the database and the calls; runs are planted with one video or
page that ranks for given keywords.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest
from harness.guarded import ManualClock, owned_chunk, rows
from harness.phase_work import owned, work_on
from sqlalchemy import text

from serpline.app.tools import open_tools
from serpline.core.clock import SystemClock
from serpline.core.settings import load
from serpline.domain.keywords import KeywordRow, keyword_key
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.outcomes import Done, Outcome, Retry, Snooze
from serpline.domain.phases import LaneKey
from serpline.domain.states import StateStatus
from serpline.phases import relevance
from serpline.phases.content_analysis import ContentAnalysisPhase
from serpline.phases.tools import Tools
from serpline.providers.llm.client import LlmClient
from serpline.simulator.config import SimulatorConfig
from serpline.simulator.server import Simulator
from serpline.store import projects
from serpline.store.calls import reference
from serpline.store.database import Database
from serpline.store.results import inputs
from serpline.store.runs.chunks import ItemRow

VIDEO = "v:abcdefghijk"
DAY = 86_400.0
TEXT = "The kettle is good. A kettle makes tea. Cups are another matter, and so are mugs."
LANDSCAPE = {"kettle": ["US"], "tea": ["US"], "mug": ["US"]}

_RANKS = (
    "INSERT INTO run_keywords (run_id, keyword_id, keyword, market)"
    " SELECT :run, id, keyword, :market FROM keywords WHERE folded = :folded",
    "INSERT INTO serps (run_id, content_type, keyword_id, market, device, collected_at, results,"
    " source) SELECT :run, 'video', id, :market, 'desktop', now(), 1, 'x' FROM keywords"
    " WHERE folded = :folded",
    "INSERT INTO serp_results (run_id, content_type, keyword_id, market, device, rank, position,"
    " url, canonical_url, domain, title, video_id) SELECT :run, 'video', id, :market, 'desktop', 1,"
    " :position, 'https://a.example/', 'https://a.example/', 'youtube.com', 't', :video"
    " FROM keywords WHERE folded = :folded",
)


@dataclass
class Place:
    """Runs in which one video ranks, and the real phase."""

    sim: Simulator
    tools: Tools
    db: Database
    clock: ManualClock

    async def run(self, searches: Mapping[str, Sequence[str]], words: str = TEXT) -> UUID:
        """A run whose video ranks for keywords in markets, the first at the best position."""
        run_id, _, _ = await owned_chunk(self.db)
        async with self.db.transaction() as conn:
            searched = [(word, market) for word, markets in searches.items() for market in markets]
            given = [
                KeywordRow(1, word, keyword_key(word), market, ()) for word, market in searched
            ]
            await projects.import_keywords(conn, given)
            await conn.execute(
                text(
                    "INSERT INTO youtube_videos (run_id, video_id, found, title, description,"
                    " fetched_at) VALUES (:run, :video, true, 'A video', :text, now())"
                ),
                {"run": run_id, "video": VIDEO[2:], "text": words},
            )
            for position, (word, market) in enumerate(searched, 1):
                ranked = {"market": market, "folded": keyword_key(word), "position": position}
                for statement in _RANKS:
                    values = {"run": run_id, "video": VIDEO[2:], **ranked}
                    await conn.execute(text(statement), values)
        return run_id

    async def work(self, run_id: UUID, **config: Any) -> Outcome:
        """The phase's outcome for the video, in one of the run's chunks."""
        found = await rows(self.db, "SELECT id, epoch FROM chunks WHERE run_id = :run", run=run_id)
        lane = LaneKey(PhaseName.CONTENT_ANALYSIS, ContentType.VIDEO)
        now = self.clock.now()
        chunk = owned(run_id, lane, id=found[0].id, epoch=found[0].epoch, created_at=now)
        work = work_on(chunk, self.db, self.clock, **config)
        phase = ContentAnalysisPhase(self.tools)
        item = ItemRow(VIDEO, StateStatus.PENDING, 0)
        async with aclosing(phase.work(work, [item])) as outcomes:
            (outcome,) = [each async for each in outcomes]
        # As a settlement does.
        await self.tools.guard.flush()
        if isinstance(outcome, Done):
            async with self.db.transaction() as conn:
                await phase.write(conn, chunk, [outcome])
        return outcome

    async def judged(self, searches: Mapping[str, Sequence[str]], **config: Any) -> dict[str, Any]:
        """The keywords of a new run's judgements, by market."""
        run_id = await self.run(searches)
        assert isinstance(await self.work(run_id, **config), Done)
        found = await rows(
            self.db,
            "SELECT market, relevance, judged_for FROM content_analyses WHERE run_id = :run",
            run=run_id,
        )
        for row in found:
            single = [each["relevance"] for each in row.judged_for]
            assert row.relevance == pytest.approx(sum(single) / len(single))
        return {row.market: [each["keyword"] for each in row.judged_for] for row in found}

    def calls(self) -> int:
        """The number of requests the model has had."""
        return len(self.sim.log.of("llm", "chat"))


@pytest.fixture
async def place(db: Database) -> AsyncIterator[Place]:
    async with Simulator(SimulatorConfig(seed=3)) as sim:
        settings = load(
            llm_base_url=sim.environment()["SERPLINE_LLM_BASE_URL"],
            llm_api_key=sim.config.key("llm"),
            provider_rates={"llm": 1_000.0},
        )
        clock = ManualClock()
        async with open_tools(settings, db, clock) as tools:
            async with db.transaction() as conn:
                await projects.ensure_builtin_markets(conn)
            yield Place(sim, tools, db, clock)


async def test_the_same_searches_cost_nothing(place: Place) -> None:
    """A second run of the same searches, or of some of them, makes no call."""
    assert await place.judged(LANDSCAPE) == {"US": ["kettle", "tea", "mug"]}
    assert place.calls() == 1
    assert await place.judged(LANDSCAPE) == {"US": ["kettle", "tea", "mug"]}
    assert await place.judged({"tea": ["US"], "Kettle": ["US"]}) == {"US": ["tea", "kettle"]}
    assert place.calls() == 1


async def test_another_landscape_is_judged_by_itself(place: Place) -> None:
    """Judgements for other keywords do not count."""
    await place.judged({"kettle": ["US"]})
    assert await place.judged({"saucer": ["US"], "pot": ["US"]}) == {"US": ["saucer", "pot"]}
    assert place.calls() == 2
    found = await rows(place.db, "SELECT relevance FROM content_analyses ORDER BY relevance")
    assert found[0].relevance == 0
    assert found[1].relevance > 0


async def test_a_testing_run_does_not_decide_for_others(place: Place) -> None:
    """After a run of few keywords, the full run is judged for all of its own."""
    await place.judged({"kettle": ["US"]}, keyword_limit=1, force_refresh=True)
    assert await place.judged(LANDSCAPE) == {"US": ["kettle", "tea", "mug"]}
    assert place.calls() == 2


async def test_one_keyword_more_is_one_call(place: Place) -> None:
    """It judges the new keyword and renews the others in the same call."""
    await place.judged(LANDSCAPE)
    place.clock.elapsed_seconds = 20 * DAY
    more = {"spout": ["US"], **LANDSCAPE}
    assert await place.judged(more) == {"US": ["spout", "kettle", "tea", "mug"]}
    assert place.calls() == 2
    place.clock.elapsed_seconds = 40 * DAY
    assert await place.judged(more) == {"US": ["spout", "kettle", "tea", "mug"]}
    assert place.calls() == 2


async def test_another_model_judges_again(place: Place) -> None:
    """Its judgements are stored beside the first model's."""
    await place.judged(LANDSCAPE)
    first = place.tools
    base, key = place.sim.environment()["SERPLINE_LLM_BASE_URL"], place.sim.config.key("llm")
    llm = LlmClient(base, key, "another", SystemClock())
    place.tools = replace(first, llm=llm)
    await place.judged(LANDSCAPE)
    assert place.calls() == 2
    place.tools = first
    await place.judged(LANDSCAPE)
    assert place.calls() == 2
    models = await rows(place.db, "SELECT model FROM content_analyses WHERE model = 'another'")
    assert len(models) == 1


async def test_another_prompt_judges_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored row names its prompt."""
    await place.judged(LANDSCAPE)
    monkeypatch.setattr(relevance, "PROMPT", "content_analysis_v9-0")
    await place.judged(LANDSCAPE)
    assert place.calls() == 2
    found = await rows(place.db, "SELECT prompt FROM content_analyses ORDER BY prompt")
    assert found[0].prompt.startswith("content_analysis_v3-")
    assert found[1].prompt == "content_analysis_v9-0"


async def test_another_language_is_judged_for_itself(place: Place) -> None:
    """A judgement serves the markets of its language; each market has its own searches."""
    assert await place.judged({"kettle": ["US"]}) == {"US": ["kettle"]}
    assert await place.judged({"kettle": ["GB"]}) == {"GB": ["kettle"]}
    assert place.calls() == 1
    assert await place.judged({"kettle": ["DE", "AT"]}) == {"DE": ["kettle"], "AT": ["kettle"]}
    assert place.calls() == 2
    two = {"kettle": ["US", "DE"], "tea": ["US"]}
    assert await place.judged(two) == {"US": ["kettle", "tea"], "DE": ["kettle"]}
    assert place.calls() == 3


async def test_many_keywords_are_bounded(place: Place) -> None:
    """A market's twenty best keywords of a video are judged, in one call."""
    words = [f"kettle {n:02}" for n in range(30)]
    searches = {word: ["US"] for word in words}
    assert await place.judged(searches, analysis_depth=100) == {"US": words[:20]}
    assert await place.judged(searches, analysis_depth=5) == {"US": words[:5]}
    assert place.calls() == 1


async def test_what_the_model_finds_empty(place: Place) -> None:
    """It has no relevance to any keyword; the row lists the keywords, and the answer is stored."""
    text_, searches = "Sign in to read on.", {"mug": ["US"], "tea": ["US"]}
    for _ in range(2):
        run_id = await place.run(searches, text_)
        assert isinstance(await place.work(run_id), Done)
        found = await rows(
            place.db, "SELECT * FROM content_analyses WHERE run_id = :run", run=run_id
        )
        assert [(row.empty_kind, row.relevance) for row in found] == [("login_wall", None)]
        assert [each["keyword"] for each in found[0].judged_for] == ["mug", "tea"]
        assert found[0].model
        assert place.calls() == 1


async def test_two_languages_take_two_calls_and_a_failed_one_pays_nothing_twice(
    place: Place,
) -> None:
    """The first call's judgements are kept when the second one fails."""
    run_id = await place.run({"kettle": ["US", "DE"]})
    place.sim.set_faults([{"provider": "llm", "fault": "500", "pattern": "SF"}])
    assert isinstance(await place.work(run_id), Retry)
    place.sim.set_faults([])
    before = place.calls()
    assert isinstance(await place.work(run_id), Done)
    assert place.calls() - before == 1


async def test_use_does_not_renew(place: Place) -> None:
    """A judgement's age counts from its purchase, however often it is used."""
    await place.judged(LANDSCAPE)
    for days in (20, 29):
        place.clock.elapsed_seconds = days * DAY
        await place.judged(LANDSCAPE)
    assert place.calls() == 1
    place.clock.elapsed_seconds = 31 * DAY
    await place.judged(LANDSCAPE)
    assert place.calls() == 2
    assert await place.judged(LANDSCAPE) == {"US": ["kettle", "tea", "mug"]}
    assert place.calls() == 2


async def test_one_of_two_runs_buys(place: Place) -> None:
    """While one run buys, another that shares a keyword waits, then buys the rest."""
    await place.judged({"cup": ["US"]})
    first, second = await place.run({"kettle": ["US"]}), await place.run(LANDSCAPE)
    found = await rows(place.db, "SELECT id FROM chunks WHERE run_id = :run", run=first)
    async with place.db.transaction() as conn:
        searches = await inputs.searches_of_subjects(
            conn, first, "video", [VIDEO], depth=10, limit=20
        )
        keys = relevance.NeededJudgements(VIDEO, searches[VIDEO], place.tools.llm.model).keys
        now = place.clock.now()
        claimed = await reference.claim_missing(conn, relevance.KIND, keys, now, found[0].id, 1)
    assert claimed.to_fetch == keys
    assert isinstance(await place.work(second), Snooze)
    assert place.calls() == 1
    assert isinstance(await place.work(first), Done)
    assert isinstance(await place.work(second), Done)
    assert place.calls() == 3
