"""What is allowed towards each provider."""

from typing import Any

import pytest

from serpline.core.settings import SettingsError, load
from serpline.domain.errors import UserError
from serpline.robustness.policies import USUAL_RATES, ProviderPolicy, policies


def of(provider: str, **settings: Any) -> ProviderPolicy:
    return {policy.provider: policy for policy in policies(load(**settings))}[provider]


def test_youtube_has_its_quota_and_its_day() -> None:
    """10,000 units that end at midnight Pacific; the others are limited by nobody's quota."""
    assert (of("youtube").credits_per_day, of("youtube").zone) == (10_000, "America/Los_Angeles")
    others = {of(name).credits_per_day for name in USUAL_RATES if name != "youtube"}
    assert others == {None}


def test_settings_win() -> None:
    """Rates and credits are what a team's accounts and wishes are."""
    settings = {"credits_per_day": {"youtube": 5e5}, "credits_per_month": {"pdl": 1000}}
    assert of("youtube", **settings).credits_per_day == 500_000
    assert of("pdl", **settings).credits_per_month == 1000
    assert of("pdl", provider_rates={"pdl": 3}).rate_per_second == 3


def test_concurrency_is_limited_where_a_provider_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """DataForSEO takes 30 requests at once, Wikidata 5 queries of an address; a setting wins.

    docs.dataforseo.com/v3/dataforseo_labs-overview and mediawiki.org, "Wikidata Query
    Service/User Manual".
    """
    assert {name: limit for name in USUAL_RATES if (limit := of(name).concurrency)} == {
        "dataforseo": 30,
        "wikidata": 5,
    }
    monkeypatch.setenv("SERPLINE_PROVIDER_CONCURRENCY", '{"wikidata": 2, "pdl": 7}')
    limits = {name: of(name).concurrency for name in ("wikidata", "pdl", "dataforseo", "llm")}
    assert limits == {"wikidata": 2, "pdl": 7, "dataforseo": 30, "llm": None}
    with pytest.raises(UserError, match="pdl concurrency=0: must be 1 to 10000"):
        of("pdl", provider_concurrency={"pdl": 0})
    with pytest.raises(UserError, match="SERPLINE_PROVIDER_CONCURRENCY: unknown provider 'bing'"):
        of("pdl", provider_concurrency={"bing": 1})
    with pytest.raises(SettingsError, match=r"SERPLINE_PROVIDER_CONCURRENCY.PDL=1.5"):
        load(provider_concurrency={"pdl": 1.5})


@pytest.mark.parametrize("name", ["provider_rates", "credits_per_day", "credits_per_month"])
def test_a_mistake_is_named(name: str) -> None:
    """A provider that is none, and a number that allows nothing sensible, are one line."""
    with pytest.raises(UserError, match="unknown provider 'bing'"):
        of("pdl", **{name: {"bing": 1}})
    with pytest.raises(UserError, match=r"pdl .*-1"):
        of("pdl", **{name: {"pdl": -1}})
    with pytest.raises(UserError, match=r"pdl .*inf"):
        of("pdl", **{name: {"pdl": float("inf")}})
