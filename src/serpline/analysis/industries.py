"""Industries in one scheme: LinkedIn's Industry Codes V2, 434 industries in 20 groups.

Source: learn.microsoft.com, "Industry Codes V2" (LinkedIn reference tables). V2 kept the codes of
V1's 147 industries and renamed them, so the file has V1's names too ("Industry Codes"). People Data
Labs' canonical values are the V1 names (``industry``) and the V2 names (``industry_v2``) in lower
case. Wikidata names industries by its own items (P452); ``_WIKIDATA`` maps the labels of frequent
ones. Any other text has no industry in the scheme.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Industry:
    """``code``: LinkedIn's number. ``group``: the name of the industry at the top of its tree."""

    code: int
    name: str
    group: str


# English labels of Wikidata's items, without a final "industry" or "sector".
_WIKIDATA: Mapping[str, int] = MappingProxyType(
    {
        "adventure travel": 30,
        "aerospace": 52,
        "air transport": 94,
        "automobile": 53,
        "aviation": 94,
        "beverage": 142,
        "car rental": 1779,
        "chemical": 54,
        "cinema": 35,
        "clothing": 598,
        "cloud computing": 6,
        "computer software": 4,
        "consulting": 11,
        "cosmetics": 18,
        "e commerce": 1445,
        "education": 1999,
        "electric power": 383,
        "electricity": 383,
        "electronic commerce": 1445,
        "electronics": 24,
        "energy": 59,
        "entertainment": 28,
        "fashion": 19,
        "film": 35,
        "finance": 43,
        "fintech": 43,
        "food": 23,
        "food and beverage": 23,
        "gambling": 29,
        "health": 14,
        "health care": 14,
        "healthcare": 14,
        "home appliance": 112,
        "hotel": 2194,
        "information and communications technology": 6,
        "information technology": 96,
        "information technology consulting": 96,
        "it service management": 96,
        "journalism": 81,
        "logistics": 116,
        "luxury goods": 143,
        "mail order": 1445,
        "mass media": 3133,
        "media": 3133,
        "mobile phone": 119,
        "motor vehicle": 53,
        "online retail": 1445,
        "online shopping": 1445,
        "online travel agency": 30,
        "petroleum": 57,
        "press": 81,
        "rail transport": 1481,
        "retail trade": 27,
        "shipping": 95,
        "social media": 3127,
        "social networking service": 3127,
        "software": 4,
        "sport": 33,
        "steel": 807,
        "technology": 6,
        "television": 36,
        "tourism": 30,
        "toy": 25,
        "transport": 116,
        "travel": 30,
        "travel agency": 30,
        "video game": 109,
        "web portal": 6,
    }
)
_SUFFIX = re.compile(r" (industry|sector)$")


def industry_of(text: str | None) -> Industry | None:
    """The industry that a source calls ``text``; None if the scheme does not have it."""
    if text is None:
        return None
    words = _words(text)
    known = _by_name()
    return known.get(words) or known.get(_SUFFIX.sub("", words))


def _words(text: str) -> str:
    words = " ".join(re.sub(r"[^\w&]+", " ", text.casefold()).replace("&", " and ").split())
    # Written in both ways by LinkedIn and People Data Labs.
    return words.replace("non profit", "nonprofit")


@cache
def _by_name() -> Mapping[str, Industry]:
    source = resources.files("serpline.analysis").joinpath("data", "industries.csv")
    rows = list(csv.DictReader(source.read_text(encoding="utf-8").splitlines()))
    found = {
        int(row["code"]): Industry(int(row["code"]), row["name"], row["group"]) for row in rows
    }
    # A name of V2 wins over one of V1, and both over Wikidata's.
    return {
        **{label: found[code] for label, code in _WIKIDATA.items()},
        **{
            _words(row["former_name"]): found[int(row["code"])]
            for row in rows
            if row["former_name"]
        },
        **{_words(row["name"]): found[int(row["code"])] for row in rows},
    }
