"""Each provider's limits."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from serpline.core.settings import SettingsError, load
from serpline.domain.errors import UserError
from serpline.domain.names import PROVIDERS
from serpline.robustness.policies import DEFAULT_RATES, ProviderPolicy, policies

_PAGE = Path(__file__).parents[3] / "docs" / "settings.md"
_ROW = re.compile(
    r"^\| `(\w+)` \| [^|]+ \| ([\d.]+) \| ([^|]+) \| ([^|]+) \| (\S+) \|$", re.MULTILINE
)


def of(provider: str, **settings: Any) -> ProviderPolicy:
    return {policy.provider: policy for policy in policies(load(**settings))}[provider]


def test_youtube_has_its_quotas_and_its_day() -> None:
    """10,000 units and 100 searches until midnight Pacific. The other providers have no quota."""
    quotas = {
        name: (limits.credits_per_day, limits.zone)
        for name in DEFAULT_RATES
        if (limits := of(name)).credits_per_day is not None
    }
    pacific = "America/Los_Angeles"
    assert quotas == {"youtube": (10_000, pacific), "youtube_search": (100, pacific)}


def test_every_provider_but_pages_has_a_breaker() -> None:
    """Web pages have no common health: each host fails by itself."""
    assert [name for name in DEFAULT_RATES if of(name).breaker is None] == ["page"]


def test_each_provider_has_a_rate() -> None:
    """Configurations may limit the credits of exactly these providers."""
    assert tuple(DEFAULT_RATES) == PROVIDERS


def test_the_page_of_settings_has_the_limits() -> None:
    """Rate, concurrency, credits a day and time zone of each provider. No month has a limit."""

    def shown(limit: float | None) -> str:
        return "no limit" if limit is None else f"{limit:,.0f}"

    given = policies(load())
    rows = [
        (each.provider, f"{each.rate_per_second:g}", *map(shown, limits), each.zone)
        for each in given
        for limits in [(each.concurrency, each.credits_per_day)]
    ]
    assert _ROW.findall(_PAGE.read_text(encoding="utf-8")) == rows
    assert {each.credits_per_month for each in given} == {None}


def test_settings_win() -> None:
    """Settings override rates and credits."""
    settings = {"credits_per_day": {"youtube": 5e5}, "credits_per_month": {"pdl": 1000}}
    assert of("youtube", **settings).credits_per_day == 500_000
    assert of("pdl", **settings).credits_per_month == 1000
    assert of("pdl", provider_rates={"pdl": 3}).rate_per_second == 3


def test_concurrency_is_limited_where_a_provider_documents_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DataForSEO accepts 30 concurrent requests, Wikidata 5 queries per address. Settings win.

    docs.dataforseo.com/v3/dataforseo_labs-overview and mediawiki.org, "Wikidata Query
    Service/User Manual".
    """
    assert {name: limit for name in DEFAULT_RATES if (limit := of(name).concurrency)} == {
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
    """An unknown provider and an impossible number are one-line errors."""
    with pytest.raises(UserError, match="unknown provider 'bing'"):
        of("pdl", **{name: {"bing": 1}})
    with pytest.raises(UserError, match=r"pdl .*-1"):
        of("pdl", **{name: {"pdl": -1}})
    with pytest.raises(UserError, match=r"pdl .*inf"):
        of("pdl", **{name: {"pdl": float("inf")}})


# Calls a minute: the least that a run needs to finish in time, and the provider's documented limit
# for an ordinary account. Without one, a 429 slows calls down.
PER_MINUTE = {
    "dataforseo": (10, 12),  # live Google Ads endpoints: 12 (help centre, "Rate limits")
    "pdl": (600, 1_000),  # company enrichment, paid: 1,000
    "wikidata": (60, 300),  # 60 s of the server's time a minute, 5 at once
    "youtube": (600, 1_800),  # 10,000 units a day are the limit
    "youtube_search": (600, 1_800),
    "scaleserp": (300, 900),
    "llm": (600, 3_500),
    "page": (1_000, 6_000),  # of all hosts together
}


@pytest.mark.parametrize("provider", DEFAULT_RATES)
def test_default_rates_fit_an_ordinary_account(provider: str) -> None:
    """And fast enough that thousands of items take minutes, not hours."""
    least, most = PER_MINUTE[provider]
    assert least <= 60 * of(provider).rate_per_second <= most


def test_a_tenth_may_be_retried_and_thirty_a_minute() -> None:
    """The budget holds at most a minute of a tenth of the full rate, and half of the thirty."""
    assert of("llm").retry_tokens_max == pytest.approx(0.1 * 20 * 60 + 15)
    assert of("dataforseo").retry_tokens_max == pytest.approx(0.1 * 0.2 * 60 + 15)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("rate_per_second", 0.001, 10_000),
        ("concurrency", 1, 10_000),
        ("retry_share", 0, 1),
        ("retry_floor", 1, 100_000),
    ],
)
def test_a_limit_has_limits(name: str, least: float, most: float) -> None:
    """Values that allow no call, or every call, are refused. The bounds are accepted."""
    usual: dict[str, Any] = {"provider": "pdl", "breaker": None, "rate_per_second": 1.0}
    for value in (least, most):
        assert getattr(ProviderPolicy(**usual | {name: value}), name) == value
    for value in (least - 1, most * 1.0001):
        with pytest.raises(UserError, match=f"pdl {name}="):
            ProviderPolicy(**usual | {name: value})


@pytest.mark.parametrize(
    ("month", "ends"), [(1, "2026-02-01T08"), (6, "2026-07-01T07"), (12, "2027-01-01T08")]
)
def test_a_month_ends_at_midnight_of_the_provider(month: int, ends: str) -> None:
    """December ends with the year. The time zone is the provider's."""
    now = datetime(2026, month, 20, tzinfo=UTC)
    assert of("youtube").month_ends_at(now).isoformat() == f"{ends}:00:00+00:00"
