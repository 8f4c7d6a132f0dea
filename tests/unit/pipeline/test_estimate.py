"""The estimated cost of a run, before anything is known of its search results."""

import pytest

from serpline.config.prices import BUILT_IN
from serpline.config.run import PipelineConfig
from serpline.domain.markets import Market
from serpline.domain.names import ContentType, PhaseName
from serpline.pipeline.estimate import Estimate, _keyword_metrics, _serp_collection
from serpline.pipeline.things import TYPICAL, TYPICAL_RATES, Line, costs, typical_things

SERP, TUBE = PhaseName.COMPANY_ENRICHMENT_SERP, PhaseName.COMPANY_ENRICHMENT_YOUTUBE
VIDEOS, ANALYSIS = PhaseName.YOUTUBE_ENRICHMENT, PhaseName.CONTENT_ANALYSIS
BASES = dict.fromkeys(PhaseName, TYPICAL)
Costs = dict[tuple[PhaseName, str], tuple[int, float]]


def typical(kind: str, *, has_pdl: bool = True, has_llm: bool = True, depth: int = 10) -> Costs:
    """(calls, credits) of a thousand search pages of one type."""
    config = PipelineConfig(content_types=(ContentType(kind),), analysis_depth=depth)
    things = typical_things(1_000, config)
    return shown(costs(things, TYPICAL_RATES, BASES, has_pdl=has_pdl, has_llm=has_llm))


def shown(lines: list[Line]) -> Costs:
    costs: Costs = {}
    for line in lines:
        calls, credits_ = costs.get((line.phase, line.provider), (0, 0.0))
        costs[line.phase, line.provider] = (calls + line.calls, credits_ + line.credits)
    return costs


def test_a_thousand_organic_pages() -> None:
    """3,000 new domains, of which PDL knows six in ten; 8,000 pages at 2,000 tokens; 500 videos of
    250 channels, of which three in ten name no website: 75 questions at 500 tokens."""
    assert typical("organic") == {
        (SERP, "pdl"): (3_000, 1_800),
        (SERP, "wikidata"): (48, 0),
        (VIDEOS, "youtube"): (10 + 5, 10 + 5),
        (TUBE, "pdl"): (250, 150),
        (TUBE, "wikidata"): (4, 0),
        (TUBE, "llm"): (75, 75 * 500),
        (ANALYSIS, "page"): (8_000, 0),
        (ANALYSIS, "llm"): (8_000 + 500, 8_500 * 2_000),
    }


def test_a_thousand_news_pages() -> None:
    """They are estimated at 2,000 publishers, 8,000 articles and no videos."""
    found = typical("news")
    assert found[SERP, "pdl"] == (2_000, 1_200)
    assert found[ANALYSIS, "page"] == (8_000, 0)
    assert found[VIDEOS, "youtube"] == (0, 0)
    assert found[ANALYSIS, "llm"] == (8_000, 8_000 * 2_000)


def test_a_thousand_video_pages() -> None:
    """They are estimated at 7,000 videos of 3,500 channels, and few pages and domains."""
    found = typical("video")
    assert found[VIDEOS, "youtube"] == (140 + 70, 140 + 70)
    assert found[TUBE, "pdl"] == (3_500, 2_100)
    assert found[TUBE, "llm"] == (1_050, 1_050 * 500)
    assert found[SERP, "pdl"] == (500, 300)
    assert found[ANALYSIS, "page"] == (500, 0)
    assert found[ANALYSIS, "llm"] == (7_500, 7_500 * 2_000)


def test_a_provider_that_is_not_configured_costs_nothing() -> None:
    """Without PDL, Wikidata gets all domains. Without a model, no owner is asked for."""
    found = typical("organic", has_pdl=False, has_llm=False)
    assert (SERP, "pdl") not in found
    assert found[SERP, "wikidata"] == (120, 0)
    assert (TUBE, "llm") not in found


def test_a_smaller_analysis_depth_costs_less() -> None:
    """Estimated pages and videos shrink in proportion to the first ten results."""
    found = typical("organic", depth=4)
    assert found[ANALYSIS, "page"] == (3_200, 0)
    assert found[ANALYSIS, "llm"] == (3_200 + 200, 3_400 * 2_000)
    assert typical("organic", depth=50) == typical("organic")


def test_searches_are_exact_and_so_are_a_batchs_calls() -> None:
    """One credit a search and one an overview; seven calls a batch, and an add per thousand."""
    config = PipelineConfig(
        content_types=(ContentType.ORGANIC, ContentType.NEWS), include_ai_overview=True
    )
    line = _serp_collection(16_000, config)
    assert (line.calls, line.credits) == (2 * (2 * 7 + 16), 3 * 16_000)
    plain = config.model_copy(update={"include_ai_overview": False, "realtime_searches_max": 50})
    line = _serp_collection(50, plain)
    assert (line.calls, line.credits) == (2 * 50, 2 * 50)


def test_each_type_s_batches_are_counted_by_its_own_size() -> None:
    """Organic makes one batch of 1,500 searches, news three of 500: seven calls each, and adds."""
    config = PipelineConfig.from_json(
        {"content_types": ["organic", "news"], "lanes": {"news": {"batch_size": 500}}}
    )
    line = _serp_collection(1_500, config)
    assert (line.calls, line.credits) == ((1 + 3) * 7 + 2 * 2, 3_000)


def test_volumes_are_asked_by_place_and_language() -> None:
    """A request holds a thousand keywords of one place and language, and costs nine cents."""
    made = {
        code: Market(code, code, "en", code.lower(), "en", "google.com", code, number, "en")
        for code, number in (("US", 2840), ("GB", 2826))
    }
    line = _keyword_metrics({"US": 1_500, "GB": 1}, made)
    assert (line.calls, line.credits) == (2 + 1, 3)
    assert BUILT_IN.usd("dataforseo", line.credits) == 0.27
    assert (BUILT_IN.usd("wikidata", 5), BUILT_IN.usd("pdl", 5)) == (0, None)


@pytest.mark.parametrize(("credits_", "rounded"), [(1.234, 1.23), (1.0, 1.0)])
def test_credits_are_rounded_to_the_hundredth(credits_: float, rounded: float) -> None:
    """Credits are rounded to the hundredth, like money."""
    line = Line(SERP, "dataforseo", 1, credits_, "exact")
    assert Estimate(1, 1, (line,)).to_json()["providers"]["dataforseo"]["credits"] == rounded
