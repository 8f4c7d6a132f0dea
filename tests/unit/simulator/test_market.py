"""The market: leaders and a tail, volatile over days, deterministic."""

from collections import Counter
from datetime import date, timedelta

import pytest

from serpline.simulator.world import World
from serpline.simulator.world.companies import Directory, Kind, Known
from serpline.simulator.world.market import slug_of
from serpline.simulator.world.volumes import bucket, volume_of

DAY = date(2026, 11, 23)
KEYWORDS = [f"flights to place {number}" for number in range(400)]


def kept(world: World, position: int, days: int) -> float:
    """The share of keywords with the same result at ``position`` ``days`` later."""
    same = 0
    for keyword in KEYWORDS:
        first = world.market.organic(keyword, "us", "desktop", DAY, position)
        later = world.market.organic(keyword, "us", "desktop", DAY + timedelta(days=days), position)
        same += first[-1].url == later[-1].url
    return same / len(KEYWORDS)


def test_about_69_percent_of_first_places_keep_their_url_over_14_days(world: World) -> None:
    """The volatility at #1 equals the published one within sampling error."""
    assert 0.62 <= kept(world, 1, 14) <= 0.76


def test_about_one_percent_of_tenth_places_keep_their_url_over_14_days(world: World) -> None:
    """The volatility at #10 equals the published one within sampling error."""
    assert kept(world, 10, 14) <= 0.04


def test_a_few_companies_hold_most_first_places(world: World) -> None:
    """Ten strong companies have more than half of the first positions, and the tail is long."""
    first: Counter[str] = Counter()
    everyone: set[str] = set()
    for keyword in KEYWORDS:
        page = world.market.organic(keyword, "us", "desktop", DAY, 10)
        first[page[0].company.kind] += 1
        everyone |= {one.company.domain for one in page}
    assert first[Kind.STRONG] > len(KEYWORDS) / 2
    assert len(everyone) > 400


def test_days_may_be_requested_in_any_order(world: World, clock: object) -> None:
    """A ranking depends on its day only, not on earlier requests."""
    days = [DAY + timedelta(days=offset) for offset in (0, 9, 3)]

    def ask(order: list[date]) -> dict[date, list[str]]:
        fresh = World(1, clock, None)  # type: ignore[arg-type]  # a structural clock
        return {
            day: [one.url for one in fresh.market.organic("tickets", "us", "mobile", day, 20)]
            for day in order
        }

    assert ask(days) == ask(days[::-1])


def test_a_page_has_distinct_urls_and_few_results_per_company(world: World) -> None:
    """Fifty positions have distinct URLs and at most two of a company."""
    for keyword in KEYWORDS[:40]:
        page = world.market.organic(keyword, "gb", "desktop", DAY, 50)
        assert len({one.url for one in page}) == 50
        assert max(Counter(one.company.domain for one in page).values()) <= 2


def test_seeds_make_different_markets() -> None:
    """Another seed has other leaders."""
    leaders = [tuple(c.domain for c in Directory(seed).of(Kind.STRONG)) for seed in (1, 2)]
    assert leaders[0] != leaders[1]


def test_domains_are_unique_and_reserved() -> None:
    """Every company has its own domain under a top-level domain that never resolves."""
    domains = [company.domain for company in Directory(1).all]
    assert len(set(domains)) == len(domains)
    assert all(domain.endswith(".example") and domain.count(".") == 1 for domain in domains)


def test_some_companies_are_known_to_one_directory_and_some_to_none() -> None:
    """All three cases of company enrichment occur in the tail."""
    known = Counter(company.known for company in Directory(1).of(Kind.TAIL))
    assert min(known[case] for case in Known) > 50


@pytest.mark.parametrize("keyword", ["吕梁市 三川河", "Wisła rzeka", "a/b?c=d#e %41", "{k} {B}"])
def test_a_keyword_of_any_script_makes_an_address(keyword: str) -> None:
    """A slug is one ASCII path segment."""
    slug = slug_of(keyword)
    assert slug.isascii()
    assert not set(slug) & set("/?# ")


def test_volumes_differ_by_country_and_are_sometimes_unknown() -> None:
    """Volumes in GB and US differ, and about one keyword in eight has none."""
    us = [volume_of(1, keyword, 2840, "en", DAY) for keyword in KEYWORDS]
    gb = [volume_of(1, keyword, 2826, "en", DAY) for keyword in KEYWORDS]
    assert 0.06 < us.count(None) / len(us) < 0.20
    both = [(a.volume, b.volume) for a, b in zip(us, gb, strict=True) if a and b]
    assert sum(1 for a, b in both if a > b) > 0.8 * len(both)


def test_a_volume_has_the_twelve_months_before_the_day() -> None:
    """Monthly volumes begin with the last full month, newest first."""
    known = next(v for k in KEYWORDS if (v := volume_of(1, k, 2840, "en", date(2026, 2, 3))))
    months = [(year, month) for year, month, _ in known.monthly]
    assert months[:3] == [(2026, 1), (2025, 12), (2025, 11)]
    assert len(set(months)) == 12


@pytest.mark.parametrize(("value", "step"), [(3, 0), (10, 10), (995, 990), (1234, 1100)])
def test_volumes_fall_into_buckets(value: float, step: int) -> None:
    """A volume is rounded down to a step of its bucket."""
    assert bucket(value) == step
