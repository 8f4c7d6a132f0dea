"""The combined figure as stored: its denominators and its sources."""

from datetime import date
from typing import Any
from uuid import UUID

import polars as pl
import pytest

from serpline.config.run import PipelineConfig
from serpline.phases.dsi_figures import combined
from serpline.store.results.collection import Collection
from serpline.store.results.combined import COUNTED, SCORE, Source

TODAY, EARLIER = date(2026, 11, 30), date(2026, 11, 29)
ONE, TWO = UUID(int=1), UUID(int=2)
SOURCES = [
    Source(Collection("organic", "US", "desktop", 10, 8, TODAY), ONE, ONE),
    Source(Collection("news", "US", "desktop", 5, 4, EARLIER), TWO, TWO, is_stale=True),
]


def _score(kind: str, company: str, ranked: int, dsi: float) -> dict[str, Any]:
    counts = dict.fromkeys(COUNTED, 1) | {"keywords_ranked": ranked}
    place = {"content_type": kind, "market": "US", "device": "desktop", "company": company}
    lacks = "partial: owners, relevance" if kind == "news" else "partial: volumes, relevance"
    return place | counts | {"dsi": dsi, "proxy": kind == "news", "completeness": lacks}


SCORES = pl.DataFrame(
    [
        _score("organic", "both.com", 4, 40.0),
        _score("news", "both.com", 2, 20.0),
        _score("news", "news.com", 3, 60.0),
    ],
    SCORE,
)


def test_all_companies_of_a_market_have_one_denominator() -> None:
    """Coverage counts all collected pages, also of types in which a company does not rank."""
    rows = dict(combined(SCORES, SOURCES, PipelineConfig()))
    both, news = rows["US:desktop:both.com"], rows["US:desktop:news.com"]
    assert {(r["keywords_collected"], r["keywords_planned"]) for r in (both, news)} == {(12, 15)}
    assert both["coverage"] == pytest.approx(6 / 12)
    assert news["coverage"] == pytest.approx(3 / 12)
    assert (both["dsi"], news["dsi"]) == (30.0, 30.0)
    assert both["completeness"] == "partial: volumes, owners, relevance"
    assert news["completeness"] == "partial: owners, relevance"


def test_each_row_names_the_run_and_date_of_each_type() -> None:
    """It also states whether a type is stale, even if the company does not rank in it."""
    for _, row in combined(SCORES, SOURCES, PipelineConfig()):
        behind = {s["content_type"]: s for s in row["sources"]}
        assert behind["organic"] == {
            "content_type": "organic",
            "run_id": str(ONE),
            "collected_on": "2026-11-30",
            "planned": 10,
            "collected": 8,
            "stale": False,
            "late_for": None,
        }
        assert (behind["news"]["run_id"], behind["news"]["stale"]) == (str(TWO), True)


def test_a_type_without_weight_has_no_part_in_the_figure() -> None:
    """It counts neither in the DSI nor in coverage; a company of that type alone has no row."""
    config = PipelineConfig(content_type_weights={"news": 0})
    ((_, row),) = combined(SCORES, SOURCES, config)
    assert (row["company"], row["dsi"], row["coverage"]) == ("both.com", 40.0, 0.5)
    assert (row["keywords_collected"], row["keywords_planned"]) == (8, 10)
    assert [source["content_type"] for source in row["sources"]] == ["organic"]


def test_without_figures_there_is_no_combined_figure() -> None:
    """Nobody ranks in the collected pages."""
    assert list(combined(SCORES.clear(), SOURCES, PipelineConfig())) == []
    assert list(combined(SCORES.clear(), [], PipelineConfig())) == []
