"""Estimates from the project's own runs, and the limits that they are compared with."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from serpline.config.run import PipelineConfig
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.states import RunStatus
from serpline.pipeline.estimate import Estimate, _if_called, _skipped
from serpline.pipeline.limits import limit_warnings, pace_seconds
from serpline.pipeline.past_costs import basis_of, seconds_in_proportion
from serpline.pipeline.things import TYPICAL, TYPICAL_RATES, Line, Things
from serpline.robustness.policies import ProviderPolicy
from serpline.store.results.history import Past
from serpline.store.runs.runs import RunRow

SERP, TUBE = PhaseName.COMPANY_ENRICHMENT_SERP, PhaseName.COMPANY_ENRICHMENT_YOUTUBE
VIDEOS, ANALYSIS = PhaseName.YOUTUBE_ENRICHMENT, PhaseName.CONTENT_ANALYSIS
START = datetime(2026, 11, 1, 9, tzinfo=UTC)
ORGANIC = PipelineConfig(content_types=(ContentType.ORGANIC,))


def past(**config: Any) -> Past:
    """A run of 100 searches: 400 domains, 50 videos of 20 channels, and 600 texts; 90 % fresh."""
    run = RunRow(
        id=uuid4(),
        status=RunStatus.COMPLETED,
        mode="manual",
        config=ORGANIC.model_copy(update=config).to_json(),
        scheduled_for=None,
        created_at=START,
        started_at=START,
        completed_at=START + timedelta(seconds=700),
        paused_at=None,
        paused_seconds=100.0,
        error_message=None,
    )
    return Past(
        run=run,
        searches={"organic": 100},
        items={
            (SERP, "organic"): 400,
            (VIDEOS, "organic"): 50,
            (TUBE, "organic"): 20,
            (ANALYSIS, "organic"): 600,
        },
        fresh=dict.fromkeys((SERP, VIDEOS, TUBE, ANALYSIS), 0.9),
        paid={
            (SERP, "pdl"): (400, 300.0),
            (ANALYSIS, "llm"): (600, 900_000.0),
            (TUBE, "llm"): (5, 2_000.0),
            (TUBE, "pdl"): (15, 9.0),
        },
    )


def test_fresh_things_are_not_bought_again() -> None:
    """The same searches find the same things, of which a tenth is old."""
    bought, rates, bases = basis_of(past(), 100, ORGANIC, finds_new=False)
    assert bought == Things(domains=40, videos=5, channels=2, pages=60, analyses=60)
    assert (rates.matched, rates.tokens_per_analysis) == (0.75, 1_500)
    assert (rates.unlinked, rates.tokens_per_owner) == (0.25, 400)
    assert all(basis.endswith("90% to 90% of it fresh") for basis in bases.values())


def test_searches_that_were_not_made_find_new_things() -> None:
    """Of 300 searches, 100 find a tenth that is old, and 200 find everything anew."""
    bought, _, _ = basis_of(past(), 300, ORGANIC, finds_new=False)
    assert bought.domains == 40 + 800


@pytest.mark.parametrize(
    ("earlier", "config", "finds_new"),
    [
        ({}, ORGANIC, True),
        ({}, ORGANIC.model_copy(update={"force_refresh": True}), False),
        ({"landscape": "brands"}, ORGANIC, False),
        ({"keyword_limit": 5}, ORGANIC, False),
    ],
)
def test_nothing_is_fresh(earlier: dict[str, Any], config: PipelineConfig, finds_new: bool) -> None:
    """A schedule's worst case, a forced run, and runs over other keywords buy everything."""
    bought, _, bases = basis_of(past(**earlier), 100, config, finds_new=finds_new)
    assert bought == Things(domains=400, videos=50, channels=20, pages=600, analyses=600)
    assert "fresh" not in bases[SERP]


def test_fewer_positions_are_analysed() -> None:
    """Texts shrink with the analysis depth; a greater depth is not guessed."""
    shallow = ORGANIC.model_copy(update={"analysis_depth": 5, "force_refresh": True})
    assert basis_of(past(), 100, shallow, finds_new=False)[0].analyses == 300
    deep = ORGANIC.model_copy(update={"analysis_depth": 20, "force_refresh": True})
    assert basis_of(past(), 100, deep, finds_new=False)[0].analyses == 600


def test_without_a_run_typical_pages_are_thebasis_of() -> None:
    """A new project has no rates of its own."""
    bought, rates, bases = basis_of(None, 100, ORGANIC, finds_new=False)
    assert (bought.domains, rates, {*bases.values()}) == (300, TYPICAL_RATES, {TYPICAL})


def test_a_phase_that_the_run_skipped_is_estimated_as_typical() -> None:
    """A key was set since. That the run analysed nothing does not mean that there is nothing."""
    found = past()
    skipped = {key: count for key, count in found.items.items() if key[0] is not ANALYSIS}
    without = replace(found, items=skipped)
    bought, _, bases = basis_of(without, 100, ORGANIC, finds_new=False)
    typical = basis_of(None, 100, ORGANIC, finds_new=False)[0]
    assert (bought.pages, bought.analyses) == (typical.pages, typical.analyses) != (0, 0)
    assert (bought.domains, bought.videos) == (40, 5)
    assert bases[ANALYSIS] == TYPICAL
    assert bases[SERP].startswith("estimate: as in run")


def test_a_run_takes_its_time_in_proportion_to_its_searches() -> None:
    """Ten minutes without the pause for 100 searches; twice that for 200."""
    assert seconds_in_proportion(past(), 200, ORGANIC) == 1_200


def test_what_would_not_be_called_is_in_no_total() -> None:
    """A provider that is not set up, and all of a phase that is skipped; the cost is shown."""
    lines = (
        Line(SERP, "pdl", 5, 9.0, "x"),
        Line(ANALYSIS, "page", 5, 9.0, "x"),
        Line(ANALYSIS, "llm", 5, 9.0, "x"),
    )
    found = Estimate(1, 1, tuple(_if_called(each, {"pdl"}, {ANALYSIS}) for each in lines))
    assert (found.credits, found.unpriced) == ({}, [])
    shown = found.to_json()["providers"]
    assert [(each["credits"], each["called"]) for each in shown.values()] == [(9.0, False)] * 3
    assert _if_called(lines[0], {"llm"}, {ANALYSIS}) is lines[0]


def test_phases_are_skipped_as_a_run_would_skip_them() -> None:
    """Without a provider, or without what they work on; only of the phases that were asked for."""
    found = _skipped(set(PhaseName), {"youtube", "llm"})
    assert set(found) == {VIDEOS, TUBE, ANALYSIS}
    assert "SERPLINE_YOUTUBE_API_KEY" in found[VIDEOS]
    assert found[TUBE] == "youtube_enrichment has no results"
    assert "relevance is unknown" in found[ANALYSIS]
    assert _skipped({TUBE}, {"youtube"}) == {}
    assert _skipped(set(PhaseName), {"pdl"}) == {}


def test_the_total_names_what_it_does_not_know() -> None:
    """US$ of known prices, and the providers that charge an unknown one."""
    lines = (
        Line(PhaseName.KEYWORD_METRICS, "dataforseo", 3, 3.0, "exact"),
        Line(PhaseName.SERP_COLLECTION, "scaleserp", 9, 100.0, "exact"),
        Line(SERP, "pdl", 9, 0.0, "exact"),
    )
    found = Estimate(1, 1, lines)
    assert (found.usd, found.unpriced) == (0.27, ["scaleserp"])


def test_limits_below_the_estimate_are_named() -> None:
    """Of the run, the day and the month; a limit that suffices is not."""
    config = PipelineConfig(credit_limits={"scaleserp": 50, "pdl": 500})
    usage = [
        {"provider": "youtube", "scope": "day:2026-11-30", "limit_credits": 10_000, "left": 40},
        {"provider": "pdl", "scope": "month:2026-11", "limit_credits": 900, "left": 900},
        {"provider": "llm", "scope": "day:2026-11-30", "limit_credits": None, "left": None},
    ]
    found = limit_warnings({"scaleserp": 100, "pdl": 300, "youtube": 41, "llm": 9}, config, usage)
    assert found == (
        "credit_limits.scaleserp=50: the run needs about 100 credits",
        "youtube: 40 left of 10,000 a day: the run needs about 41 quota units, so it will wait",
    )


def test_phases_follow_each_other_at_the_pace_of_their_slowest_provider() -> None:
    """Ten seconds of PDL beside one of Wikidata, then four of the model."""
    rates = {"pdl": 10.0, "wikidata": 2.0, "llm": 5.0}
    policies = [ProviderPolicy(name, None, rate_per_second=rate) for name, rate in rates.items()]
    lines = [
        Line(SERP, "pdl", 100, 0, ""),
        Line(SERP, "wikidata", 2, 0, ""),
        Line(ANALYSIS, "llm", 20, 0, ""),
    ]
    assert pace_seconds(lines, policies) == 14
