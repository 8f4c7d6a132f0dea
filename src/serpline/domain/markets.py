"""Markets: the country, language and provider codes that a keyword is searched in.

250 markets are built in: the 249 countries of ISO 3166-1 and Kosovo (XK). Each has one language,
that of most searches there. People add markets for a country's other languages. Names and codes
are fixed data (``data/markets.csv``).

The data has three limits. Each shows as a null or a fallback, never as a guess:

- ``location_code`` is DataForSEO's, which is Google's: 2000 + the ISO 3166-1 numeric code. Kosovo
  has no numeric code, so its ``location_code`` is null and its volumes are unknown.
- ``language_code`` is null if DataForSEO's Google Ads data lacks the language. Then leave it out of
  the request; the volume covers all languages.
- ``google_domain`` is ``google.com`` if Google has no domain for the country.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from types import MappingProxyType

# The only alias: people write UK, ISO and this project write GB.
_ALIASES: Mapping[str, str] = MappingProxyType({"UK": "GB"})


@dataclass(frozen=True, slots=True)
class Market:
    """The place and language of a search.

    ``code`` names the market (an ISO 3166-1 alpha-2 code if built in). ``language`` is a BCP 47
    tag, ``hl`` Google's code for it (``iw`` for Hebrew). ``gl`` is Google's country code (``uk``
    for GB). ``location`` is ScaleSERP's free text. ``location_code`` and ``language_code`` are
    DataForSEO's; the module's docstring explains null.
    """

    code: str
    name: str
    language: str
    gl: str
    hl: str
    google_domain: str
    location: str
    location_code: int | None
    language_code: str | None


def normal_code(code: str) -> str:
    """The code as stored: upper case, stripped, ``UK`` as ``GB``."""
    upper = code.strip().upper()
    return _ALIASES.get(upper, upper)


@cache
def builtin_markets() -> Mapping[str, Market]:
    """The 250 built-in markets by code, in the order of the codes. Read-only."""
    source = resources.files("serpline.domain").joinpath("data", "markets.csv")
    lines = source.read_text(encoding="utf-8").splitlines()
    markets = [_market(row) for row in csv.DictReader(lines, strict=True)]
    return MappingProxyType({market.code: market for market in markets})


def find_market(code: str, markets: Mapping[str, Market] | None = None) -> Market | None:
    """The market of that code (any case, or ``UK``), or None.

    ``markets``: the known markets by stored code; default: the built-in ones.
    """
    known = builtin_markets() if markets is None else markets
    return known.get(normal_code(code))


def dataforseo_language(language: str) -> str | None:
    """DataForSEO's code of a language (BCP 47), or None if it lacks the language.

    A region counts only if a built-in market's language has it: ``fr-CH`` becomes ``fr``.
    """
    codes = {market.language: market.language_code for market in builtin_markets().values()}
    base = language.partition("-")[0]
    return codes.get(language, codes.get(base, language))


def _market(row: Mapping[str, str]) -> Market:
    texts = {field.name: row[field.name] for field in fields(Market)}
    number = texts.pop("location_code")
    language_code = texts.pop("language_code")
    return Market(
        **texts,
        location_code=int(number) if number else None,
        language_code=language_code or None,
    )
