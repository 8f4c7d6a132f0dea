"""Markets: the country, language and provider codes that a keyword is searched in.

250 markets are built in, one for each ISO 3166-1 country (249) and Kosovo (XK). Each has one
language, the one most searches there are made in; a country's further languages are markets that
a person adds. Names and codes are frozen data (``data/markets.csv``); nothing is looked up.

Three limits of the data, each visible as a null or a fallback, never as a guess:

- ``location_code`` is DataForSEO's, which is Google's: 2000 + the ISO 3166-1 numeric code. Kosovo
  has no ISO numeric code, so it has none: its volumes are unknown.
- ``language_code`` is null where DataForSEO's Google Ads data knows no such language; leave it
  out of the request then, and the volume is that of all languages.
- ``google_domain`` is ``google.com`` where Google runs no domain of the country's own.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from types import MappingProxyType

from serpline.domain.errors import UserError

# The only alias: people write UK, ISO and this project write GB.
_ALIASES: Mapping[str, str] = MappingProxyType({"UK": "GB"})


@dataclass(frozen=True, slots=True)
class Market:
    """Where, and in what language, a search is made.

    ``code`` names the market (an ISO 3166-1 alpha-2 code when built in). ``language`` is a BCP 47
    tag, ``hl`` what Google calls the same (``iw`` for Hebrew). ``gl`` is Google's country code
    (``uk`` for GB). ``location`` is the free text that ScaleSERP takes. ``location_code`` and
    ``language_code`` are DataForSEO's; see the module for what null means.
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
    """The code as it is stored: upper case, without surrounding space, ``UK`` as ``GB``."""
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
    """The market of that code (any case, ``UK`` included), or None.

    ``markets``: the known markets by stored code; the built-in ones unless given.
    """
    known = builtin_markets() if markets is None else markets
    return known.get(normal_code(code))


def get_market(code: str, markets: Mapping[str, Market] | None = None) -> Market:
    """Like ``find_market``, but an unknown code is a ``UserError``."""
    market = find_market(code, markets)
    if market is None:
        raise UserError(f"unknown market {code!r}: give a code such as US, GB or DE")
    return market


def dataforseo_language(language: str) -> str | None:
    """DataForSEO's code of a language (BCP 47); None for one that it is known not to have.

    A region counts only where a built-in market's language has one: ``fr-CH`` goes by ``fr``.
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
