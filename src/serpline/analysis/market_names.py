"""Markets as people write them: a code, a country's name, or a language and a country.

In this order: the code of a market (any case; ``UK`` is ``GB``), the three letters of ISO 3166-1
(``DEU``), the name of a country in English, in the language of its market or in one that the
interfaces of keyword tools have, the name of a market that was added, a language and a country
(``en-US``, ``de_AT``). Names are those of ``pycountry`` (Debian's iso-codes).

A text that fits several markets is refused with all of them. So is a language that the country's
market does not have: ``fr-CH`` is not the German market CH.
"""

import difflib
import gettext
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType

import pycountry

from serpline.analysis.countries import OTHER_NAMES
from serpline.domain.errors import UserError
from serpline.domain.keywords import shown
from serpline.domain.markets import Market, builtin_markets, find_market, normal_code
from serpline.domain.text import visible

# Besides the languages of the markets: all of them are usual in the interfaces of keyword tools.
_LANGUAGES = (
    "de",
    "fr",
    "es",
    "it",
    "pt",
    "pt_BR",
    "nl",
    "pl",
    "sv",
    "da",
    "nb_NO",
    "fi",
    "cs",
    "ru",
)
_LOCALES = {"no": "nb_NO", "zh-CN": "zh_CN", "zh-TW": "zh_TW"}
_SAME_LANGUAGES = {"nb": "no", "nn": "no", "iw": "he", "in": "id", "tl": "fil"}
# Names in use in other languages that iso-codes lacks.
_LOCAL_NAMES = {
    "CN": ("中国", "中國"),
    "GB": ("Großbritannien", "Grande-Bretagne", "Gran Bretaña", "Gran Bretagna", "Wielka Brytania"),
    "IE": ("Éire",),
    "IN": ("भारत", "Bharat"),
    "JP": ("日本",),
    "RU": ("Россия", "Russland", "Russie", "Rusia", "Rússia", "Rusland", "Rosja", "Ryssland"),
    "TH": ("ประเทศไทย",),
    "TW": ("台灣", "台湾"),
}
_TAG = re.compile(r"([a-z]{2,3})(?:[-_][a-z]{4})?[-_]([a-z]{2})", re.IGNORECASE)
_HINT = "give a code such as US, GB or DE"
_CACHED_MAX = 10_000
_GUESSED_MAX = 100


class MarketNames:
    """Finds markets by what people write. ``known``: the project's markets by code."""

    def __init__(self, known: Mapping[str, Market] | None = None) -> None:
        self._known = builtin_markets() if known is None else known
        # A code that a program added may have small letters.
        self._codes = {code.upper(): code for code in self._known}
        self._found: dict[str, Market | str] = {}
        self._guessed = 0

    def find(self, text: str) -> Market | str:
        """The market, or why there is none: one line with the value and what is allowed."""
        found = self._found.get(text)
        if found is None:
            found = self._find(visible(text).strip())
            if len(self._found) < _CACHED_MAX:
                self._found[text] = found
        return found

    def get(self, text: str) -> Market:
        """Like ``find``, but raises the reason as a ``UserError``."""
        found = self.find(text)
        if isinstance(found, str):
            raise UserError(found)
        return found

    def _find(self, text: str) -> Market | str:
        if code := self._codes.get(normal_code(text)):
            return self._known[code]
        if len(text) == 3 and text.isascii():
            country = pycountry.countries.get(alpha_3=text.upper())
            if country and country.alpha_2 in self._known:
                return self._known[country.alpha_2]
        name = _folded(text)
        codes = _codes_by_name().get(name, ())
        named = {code: self._known[code] for code in codes if code in self._known}
        named |= {
            m.code: m for m in self._known.values() if _is_added(m) and _folded(m.name) == name
        }
        if named:
            return _only(text, named.values())
        if tag := _TAG.fullmatch(text):
            return self._of_language(text, *tag.groups())
        return self._unknown(text)

    def _of_language(self, text: str, language: str, region: str) -> Market | str:
        country = find_market(region, builtin_markets())
        if country is None:
            return self._unknown(text)
        wanted = _base(language)
        local = [market for market in self._known.values() if market.gl == country.gl]
        fitting = [market for market in local if _base(market.language) == wanted]
        if fitting:
            return _only(text, fitting)
        return (
            f"market {shown(text)}: {_listed(local)} has another language; add one with 'serpline"
            f" markets add {country.code}-{language.upper()} --like {country.code}"
            f" --language {language.lower()}'"
        )

    def _unknown(self, text: str) -> str:
        self._guessed += 1
        if self._guessed <= _GUESSED_MAX and (name := _folded(text)):
            near = difflib.get_close_matches(name, _codes_by_name(), n=1, cutoff=0.85)
            codes = (
                [code for code in _codes_by_name()[near[0]] if code in self._known] if near else []
            )
            if codes:
                meant = " or ".join(f"{code} ({self._known[code].name})" for code in codes)
                return f"unknown market {shown(text)}: did you mean {meant}?"
        return f"unknown market {shown(text)}: {_HINT}"


def _only(text: str, markets: Iterable[Market]) -> Market | str:
    found = list(markets)
    if len(found) == 1:
        return found[0]
    return f"market {shown(text)} may be {_listed(found)}: give the code"


def _listed(markets: Iterable[Market]) -> str:
    ordered = sorted(markets, key=lambda market: market.code)
    return " or ".join(f"{each.code} ({each.name}, {each.language})" for each in ordered)


def _is_added(market: Market) -> bool:
    return market.code not in builtin_markets()


def _base(language: str) -> str:
    base = re.split("[-_]", language.lower())[0]
    return _SAME_LANGUAGES.get(base, base)


def _folded(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.casefold().replace("&", " and "))
    plain = "".join(each for each in plain if not unicodedata.combining(each))
    words = re.sub(r"[\W_]+", " ", re.sub(r"[.'’]", "", plain))
    return re.sub(r"^the | the$", "", " ".join(words.split()))


@cache
def _codes_by_name() -> Mapping[str, tuple[str, ...]]:
    """Every name of every country, with the codes that it may mean."""
    codes: dict[str, set[str]] = {}

    def add(name: str, code: str) -> None:
        if word := _folded(name):
            codes.setdefault(word, set()).add(code)

    for country in pycountry.countries:
        market = builtin_markets()[country.alpha_2]
        own = _LOCALES.get(market.language, market.language)
        catalogs = [_catalog(language) for language in (*_LANGUAGES, own)]
        for kind in ("name", "common_name", "official_name"):
            if english := getattr(country, kind, None):
                for name in {english, *(each.gettext(english) for each in catalogs)}:
                    add(name, country.alpha_2)
                    # ISO writes "Korea, Republic of". "Korea" alone may be two countries.
                    head, comma, tail = name.partition(", ")
                    if comma:
                        add(f"{tail} {head}", country.alpha_2)
                        add(head, country.alpha_2)
    for code, market in builtin_markets().items():
        add(market.name, code)
        for name in _LOCAL_NAMES.get(code, ()):
            add(name, code)
    for name, code in OTHER_NAMES.items():
        add(name, code)
    return MappingProxyType({name: tuple(sorted(found)) for name, found in codes.items()})


@cache
def _catalog(language: str) -> gettext.NullTranslations:
    return gettext.translation(
        "iso3166-1", pycountry.LOCALES_DIR, languages=[language], fallback=True
    )
