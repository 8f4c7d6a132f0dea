"""How many runs a schedule has in a month, and what is bought how often."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from serpline.config.run import PipelineConfig
from serpline.domain.names import PhaseName
from serpline.pipeline.estimate import Estimate
from serpline.pipeline.things import Line
from serpline.scheduling.cost import _by_provider, runs_per_month
from serpline.scheduling.documents import specs_from_json

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAILY = {"content_type": "news", "frequency": "daily"}


def _months(given: Any) -> list[tuple[list[str], float]]:
    return [
        ([str(kind) for kind in followed], round(count, 2))
        for followed, count in runs_per_month(specs_from_json(given), NOW)
    ]


@pytest.mark.parametrize(
    ("given", "runs"),
    [
        (DAILY, 30.42),
        ({"content_type": "news", "frequency": "monthly"}, 1.0),
        ({"content_type": "news", "frequency": "quarterly"}, 0.33),
        ({"content_type": "news", "frequency": "interval", "interval": "1m"}, 43_800.0),
        ({"content_type": "news", "frequency": "daily", "end": "2026-01-13"}, 1.0),
    ],
)
def test_runs_of_a_month(given: dict[str, Any], runs: float) -> None:
    """A twelfth of a year's runs. A schedule of every minute is counted for some days only."""
    assert _months(given) == [(["news"], runs)]


def test_a_schedule_that_is_not_due_within_a_year() -> None:
    """It has no runs, and so no cost."""
    assert _months({**DAILY, "start": "2200-01-01"}) == []


def test_runs_that_collect_different_types_are_counted_apart() -> None:
    """On the first of a month both types share a run. On the other days news is alone."""
    organic = {"content_type": "organic", "frequency": "monthly"}
    assert sorted(_months([DAILY, organic])) == [(["news"], 29.42), (["organic", "news"], 1.0)]


def test_types_of_different_groups_have_runs_of_their_own() -> None:
    """Devices differ, so an instant has two runs."""
    mobile = {"content_type": "organic", "frequency": "daily", "devices": ["mobile"]}
    assert sorted(_months([DAILY, mobile])) == [(["news"], 30.42), (["organic"], 30.42)]


def test_what_would_not_be_called_is_said() -> None:
    """The cost of a provider that is not set up is what it would be."""
    lines = [replace(line, is_called=line.provider != "llm") for line in _estimate().lines]
    found = _by_provider([(PipelineConfig(), Estimate(10, 10, tuple(lines)), 30.0)])
    assert (found["llm"]["credits_max"], found["llm"]["basis"]) == (30_000, "not called; estimate")
    assert found["scaleserp"]["basis"] == "exact"


def _estimate() -> Estimate:
    return Estimate(
        10,
        10,
        (
            Line(PhaseName.KEYWORD_METRICS, "dataforseo", 1, 1, "at most"),
            Line(PhaseName.SERP_COLLECTION, "scaleserp", 9, 10, "exact"),
            Line(PhaseName.CONTENT_ANALYSIS, "llm", 5, 1_000, "estimate"),
        ),
    )


def test_what_is_bought_how_often() -> None:
    """Searches with every run, volumes once in 30 days, analyses between once and every run."""
    found = _by_provider([(PipelineConfig(), _estimate(), 30.0)])
    bounds = {name: (each["credits"], each["credits_max"]) for name, each in found.items()}
    once = round(365 / 12 / 30, 2)
    assert bounds == {
        "dataforseo": (once, once),
        "scaleserp": (300, 300),
        "llm": (round(1_000 * 365 / 12 / 30, 2), 30_000),
    }
    assert (found["scaleserp"]["usd"], found["dataforseo"]["usd_max"]) == (None, 0.09)


def test_runs_over_the_same_keywords_share_their_volumes() -> None:
    """Two kinds of runs buy them once, two landscapes twice."""
    one = (PipelineConfig(), _estimate(), 30.0)
    other = (PipelineConfig(landscape="brands"), _estimate(), 30.0)
    once = _by_provider([one])["dataforseo"]["credits"]
    assert _by_provider([one, one])["dataforseo"]["credits"] == once
    assert _by_provider([one, other])["dataforseo"]["credits"] == pytest.approx(2 * once, abs=0.01)


def test_a_forced_refresh_buys_everything_with_every_run() -> None:
    """Both bounds are the same."""
    found = _by_provider([(PipelineConfig(force_refresh=True), _estimate(), 30.0)])
    assert all(each["credits"] == each["credits_max"] for each in found.values())
    assert found["llm"]["credits"] == 30_000
