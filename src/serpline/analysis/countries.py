"""Countries as ISO 3166-1 alpha-2 codes, from the names that sources of companies write.

People Data Labs writes lower-case English names (docs.peopledatalabs.com, "Countries"), Wikidata
its English labels, such as "People's Republic of China". The names are those of ``pycountry``
(Debian's iso-codes: short, common and official names) and of the built-in markets.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import pycountry

from serpline.domain.markets import builtin_markets

# Names in use that neither list has.
OTHER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "britain": "GB",
        "burma": "MM",
        "cape verde": "CV",
        "czech republic": "CZ",
        "east timor": "TL",
        "england": "GB",
        "great britain": "GB",
        "holland": "NL",
        "ivory coast": "CI",
        "macau": "MO",
        "macedonia": "MK",
        "northern ireland": "GB",
        "palestinian territories": "PS",
        "republic of ireland": "IE",
        "scotland": "GB",
        "swaziland": "SZ",
        "turkey": "TR",
        "uae": "AE",
        "uk": "GB",
        "united states of america": "US",
        "us": "US",
        "usa": "US",
        "vatican": "VA",
        "wales": "GB",
    }
)


def country_code(text: str | None) -> str | None:
    """The code of the country that a source calls ``text``; None if it is no known name.

    Kosovo has the user-assigned code XK, as in the built-in markets.
    """
    if text is None:
        return None
    if re.fullmatch("[A-Z]{2}", text.strip()) and text.strip() in builtin_markets():
        return text.strip()
    return _by_name().get(_words(text))


def _words(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(each for each in plain if not unicodedata.combining(each))
    words = re.sub(r"[^\w]+", " ", plain.replace("&", " and ").replace("'", "").replace("’", ""))
    return re.sub(r"^the | the$", "", re.sub(r"\bst\b", "saint", " ".join(words.split())))


@cache
def _by_name() -> Mapping[str, str]:
    names = {**OTHER_NAMES}
    for country in pycountry.countries:
        for kind in ("official_name", "common_name", "name"):
            if name := getattr(country, kind, None):
                names[_words(name)] = country.alpha_2
                # ISO writes "Korea, Republic of".
                head, comma, tail = name.partition(", ")
                if comma:
                    names.setdefault(_words(f"{tail} {head}"), country.alpha_2)
    names.update({_words(market.name): code for code, market in builtin_markets().items()})
    return names
