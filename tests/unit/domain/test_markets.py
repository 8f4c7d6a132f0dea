"""The built-in markets."""

import dataclasses
import re

import pytest

from serpline.domain.markets import (
    Market,
    builtin_markets,
    dataforseo_language,
    find_market,
    normal_code,
)


def test_there_are_250_in_the_order_of_their_codes() -> None:
    """249 ISO countries and Kosovo, each once, sorted."""
    codes = list(builtin_markets())
    assert len(codes) == 250
    assert codes == sorted(set(codes))
    assert "XK" in codes


@pytest.mark.parametrize(
    ("code", "google_domain", "gl", "hl", "location", "location_code", "language_code"),
    [
        ("US", "google.com", "us", "en", "United States", 2840, "en"),
        ("GB", "google.co.uk", "uk", "en", "United Kingdom", 2826, "en"),
        ("DE", "google.de", "de", "de", "Germany", 2276, "de"),
        ("FR", "google.fr", "fr", "fr", "France", 2250, "fr"),
        ("BR", "google.com.br", "br", "pt-BR", "Brazil", 2076, "pt"),
        ("PT", "google.pt", "pt", "pt-PT", "Portugal", 2620, "pt"),
        ("MX", "google.com.mx", "mx", "es-419", "Mexico", 2484, "es"),
        ("JP", "google.co.jp", "jp", "ja", "Japan", 2392, "ja"),
        ("PL", "google.pl", "pl", "pl", "Poland", 2616, "pl"),
        ("CN", "google.cn", "cn", "zh-CN", "China", 2156, "zh-CN"),
        ("IL", "google.co.il", "il", "iw", "Israel", 2376, "he"),
        ("AU", "google.com.au", "au", "en", "Australia", 2036, "en"),
        ("IN", "google.co.in", "in", "en", "India", 2356, "en"),
        ("ZA", "google.co.za", "za", "en", "South Africa", 2710, "en"),
        ("YE", "google.com", "ye", "ar", "Yemen", 2887, "ar"),
    ],
)
def test_known_markets_have_their_published_codes(
    code: str,
    google_domain: str,
    gl: str,
    hl: str,
    location: str,
    location_code: int,
    language_code: str,
) -> None:
    """The codes of well-known markets are the providers' own."""
    market = builtin_markets()[code]
    assert (market.google_domain, market.gl, market.hl) == (google_domain, gl, hl)
    assert (market.location, market.location_code) == (location, location_code)
    assert market.language_code == language_code


def test_uk_is_gb() -> None:
    """``UK``, in any case and with space around it, finds the market GB."""
    assert find_market(" uk ") is builtin_markets()["GB"]
    assert normal_code("uk") == "GB"
    assert "UK" not in builtin_markets()


def test_every_row_is_complete() -> None:
    """No text is empty, codes have their form, and location codes are unique."""
    numbers = []
    for code, market in builtin_markets().items():
        assert re.fullmatch(r"[A-Z]{2}", code)
        assert re.fullmatch(r"[a-z]{2}", market.gl)
        assert re.fullmatch(r"[a-z]{2,3}(-[A-Z0-9]{2,3})?", market.hl)
        assert re.fullmatch(r"google\.(com|(com?\.)?[a-z]{2})", market.google_domain)
        assert market.name == market.name.strip() != ""
        assert market.location.isascii()
        if market.location_code is not None:
            assert 2000 < market.location_code < 2900
            numbers.append(market.location_code)
    assert len(numbers) == len(set(numbers)) == 249


def test_own_domains_end_in_the_country() -> None:
    """A country's Google domain is its own or google.com; more than 180 have their own."""
    own = [m for m in builtin_markets().values() if m.google_domain != "google.com"]
    assert len(own) > 180
    for market in own:
        assert market.google_domain.rpartition(".")[2] == market.gl


def test_kosovo_has_no_location_code() -> None:
    """A country without an ISO numeric code has a null location code."""
    assert builtin_markets()["XK"].location_code is None


@pytest.mark.parametrize(
    ("language", "code"), [("de", "de"), ("sq", None), ("hi", "hi"), ("pt-BR", "pt")]
)
def test_a_languages_code_at_dataforseo(language: str, code: str | None) -> None:
    """A language that DataForSEO lacks has no code. Others keep their own."""
    assert dataforseo_language(language) == code


def test_added_markets_are_found() -> None:
    """A person's own market is found among the passed ones."""
    own = dataclasses.replace(builtin_markets()["CH"], code="CH-FR", language="fr", hl="fr")
    known: dict[str, Market] = {**builtin_markets(), "CH-FR": own}
    assert find_market("ch-fr", known) is own
    assert find_market("ch-fr") is None


def test_the_built_in_markets_cannot_be_changed() -> None:
    """The mapping is read-only: one caller cannot change another's markets."""
    with pytest.raises(TypeError):
        builtin_markets()["US"] = builtin_markets()["GB"]  # type: ignore[index]  # the point of the test
