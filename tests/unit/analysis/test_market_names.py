"""Markets as people write them."""

from dataclasses import replace

import pytest

from serpline.analysis.market_names import MarketNames
from serpline.domain.markets import builtin_markets


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("us", "US"),
        (" uk ", "GB"),
        ("DEU", "DE"),
        ("Germany", "DE"),
        ("Deutschland", "DE"),
        ("ALLEMAGNE", "DE"),
        ("the netherlands", "NL"),
        ("U.S.A.", "US"),
        ("Turkey", "TR"),
        ("Türkiye", "TR"),
        ("Cote d'Ivoire", "CI"),
        ("España", "ES"),
        ("Россия", "RU"),
        ("日本", "JP"),
        ("대한민국", "KR"),
        ("South Korea", "KR"),
        ("Kosovo", "XK"),
        ("en-US", "US"),
        ("de_AT", "AT"),
        ("en-gb", "GB"),
        ("en-UK", "GB"),
        ("nb-NO", "NO"),
        ("he-IL", "IL"),
        ("zh-Hans-CN", "CN"),
    ],
)
def test_a_market_is_found(text: str, code: str) -> None:
    """By code, country in English, its own or a usual language, and language with country."""
    found = MarketNames().find(text)
    assert not isinstance(found, str), found
    assert found.code == code


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("QQ", "unknown market 'QQ': give a code such as US, GB or DE"),
        ("en", "unknown market 'en': give a code such as US, GB or DE"),
        ("Germny", "unknown market 'Germny': did you mean DE (Germany)?"),
        (
            "Korea",
            "market 'Korea' may be KP (North Korea, ko) or KR (South Korea, ko): give the code",
        ),
        (
            "fr-CH",
            "market 'fr-CH': CH (Switzerland, de) has another language; add one with 'serpline"
            " markets add CH-FR --like CH --language fr'",
        ),
    ],
)
def test_what_fits_no_or_several_markets_is_refused(text: str, message: str) -> None:
    """The message has the value, and what is allowed or meant."""
    assert MarketNames().find(text) == message


def test_an_added_market_is_found_by_its_language_and_makes_its_country_ambiguous() -> None:
    """After ``markets add CH-FR``, fr-CH is it, and "Switzerland" may be either."""
    swiss = builtin_markets()["CH"]
    known = {**builtin_markets(), "CH-FR": replace(swiss, code="CH-FR", language="fr")}
    names = MarketNames(known)
    assert [names.get(text).code for text in ("ch-fr", "fr-CH", "de-CH", "ch")] == [
        "CH-FR",
        "CH-FR",
        "CH",
        "CH",
    ]
    assert names.find("Schweiz") == swiss
    refused = names.find("Switzerland")
    assert isinstance(refused, str)
    assert "CH (Switzerland, de) or CH-FR (Switzerland, fr)" in refused


def test_every_country_is_found_by_its_english_name() -> None:
    """The name of each built-in market is one market's, not two."""
    names = MarketNames()
    for market in builtin_markets().values():
        found = names.find(market.name)
        assert found == market, (market.name, found)
