"""Keyword figures as DataForSEO writes them, read into types.

The promise: unknown stays unknown. A volume that is missing or null is None and never 0; a strange
field costs that field, never the row. Keywords come back in lower case and sometimes under another
spelling; ``match`` finds the way back.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serpline.domain.keywords import keyword_key
from serpline.domain.replies import as_count, as_list, as_number, as_object, as_text

KEYWORD_CHARACTERS_MAX = 80
KEYWORD_WORDS_MAX = 10
# One of these fails the request of all (support.google.com/ds/answer/6264285 for "*", and
# dataforseo.com/help-center/using-symbols-in-keywords-when-setting-a-google-ads-task).
_SYMBOLS = frozenset(",!@%^*(){}=;~`<>?\\|\u2015")
# "4-byte Unicode characters": beyond the basic plane, as most emoji are.
_CODE_POINT_MAX = 0xFFFF
# "UTF symbols, emojis": symbols and superscripts; currency signs, letters and marks are taken.
_CATEGORIES = frozenset({"So", "Sm", "Sk", "No", "Cc", "Co"})
_TAKEN = frozenset("+\t")

_IGNORED = str.maketrans({"+": " ", "\u200c": None, "\u200d": None})


@dataclass(frozen=True, slots=True)
class MonthlySearches:
    """Searches in one calendar month; ``search_volume`` None is unknown."""

    year: int
    month: int
    search_volume: int | None


@dataclass(frozen=True, slots=True)
class KeywordMetrics:
    """One keyword's figures in one market. None is unknown, everywhere.

    ``keyword`` is as returned (lower case), ``spell`` the spelling that the figures are for if it
    is another. ``search_volume`` is the monthly average; ``cpc`` and the bids are US$;
    ``competition`` is LOW, MEDIUM or HIGH, ``competition_index`` 0 to 100. ``monthly`` has the
    newest month first.
    """

    keyword: str
    spell: str | None
    search_volume: int | None
    cpc: float | None
    competition: str | None
    competition_index: int | None
    low_top_of_page_bid: float | None
    high_top_of_page_bid: float | None
    monthly: tuple[MonthlySearches, ...]

    @property
    def is_known(self) -> bool:
        """Whether it says anything at all."""
        figures = (self.search_volume, self.cpc, self.competition_index, self.competition)
        return bool(self.monthly) or any(figure is not None for figure in figures)


@dataclass(frozen=True, slots=True)
class SearchVolumes:
    """One reply. ``cost_usd`` is what it cost (None if not said)."""

    metrics: tuple[KeywordMetrics, ...]
    requested: int
    cost_usd: float | None

    @property
    def lost_all_figures(self) -> bool:
        """Whether several keywords were asked for and not one figure came.

        One keyword that Google Ads restricts empties its whole batch, as missing rows or as rows
        of nulls. So halve the batch and ask again. A batch of keywords that nobody knows looks the
        same: bound the halving. A single keyword without a figure is an answer: unknown.
        """
        return self.requested > 1 and not any(row.is_known for row in self.metrics)


def search_volumes(task: Mapping[str, Any], requested: int) -> SearchVolumes:
    """Read a successful task; rows without a keyword are left out."""
    rows = (_row(as_object(value)) for value in as_list(task.get("result")))
    return SearchVolumes(
        metrics=tuple(row for row in rows if row is not None),
        requested=requested,
        cost_usd=as_number(task.get("cost")),
    )


def match(
    requested: Sequence[str], returned: Iterable[KeywordMetrics]
) -> dict[str, KeywordMetrics | None]:
    """The row of every requested keyword, None where none came (unknown, never 0).

    Compared after NFC, case folding and collapsing of white space: by ``keyword`` first, then by
    ``spell``, then without what Google Ads ignores or the vendor decodes (a "+" comes back as a
    space). Requested keywords that agree after that share a row.
    """
    by_loose: dict[str, KeywordMetrics] = {}
    by_keyword: dict[str, KeywordMetrics] = {}
    by_spell: dict[str, KeywordMetrics] = {}
    for row in returned:
        by_keyword.setdefault(keyword_key(row.keyword), row)
        by_loose.setdefault(_loose(row.keyword), row)
        if row.spell:
            by_spell.setdefault(keyword_key(row.spell), row)
    keys = {keyword: keyword_key(keyword) for keyword in requested}
    return {
        keyword: by_keyword.get(key) or by_spell.get(key) or by_loose.get(_loose(keyword))
        for keyword, key in keys.items()
    }


def _loose(keyword: str) -> str:
    return keyword_key(keyword.translate(_IGNORED))


def unsupported(keyword: str) -> str | None:
    """Why this keyword cannot be asked for, in one line; None if it can.

    One such keyword would fail the whole request, so it has to be told before.
    """
    words = keyword.split()
    if not words:
        return "the keyword is empty"
    refused = sorted({c for c in keyword if c != " " and _is_refused(c)})
    if refused:
        shown = " ".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in refused)
        return f"Google Ads takes no {shown} in a keyword"
    length = len(" ".join(words))
    if length > KEYWORD_CHARACTERS_MAX:
        return f"{length} characters: DataForSEO takes up to {KEYWORD_CHARACTERS_MAX}"
    if len(words) > KEYWORD_WORDS_MAX:
        return f"{len(words)} words: DataForSEO takes up to {KEYWORD_WORDS_MAX}"
    return None


def _is_refused(character: str) -> bool:
    if character in _SYMBOLS or ord(character) > _CODE_POINT_MAX:
        return True
    return unicodedata.category(character) in _CATEGORIES and character not in _TAKEN


def _row(item: dict[str, Any]) -> KeywordMetrics | None:
    keyword = as_text(item.get("keyword"))
    if keyword is None:
        return None
    index = as_count(item.get("competition_index"))
    months = (_month(as_object(value)) for value in as_list(item.get("monthly_searches")))
    return KeywordMetrics(
        keyword=keyword,
        spell=as_text(item.get("spell")),
        search_volume=as_count(item.get("search_volume")),
        cpc=_money(item.get("cpc")),
        competition=as_text(item.get("competition")),
        competition_index=index if index is not None and index <= 100 else None,
        low_top_of_page_bid=_money(item.get("low_top_of_page_bid")),
        high_top_of_page_bid=_money(item.get("high_top_of_page_bid")),
        monthly=tuple(sorted(filter(None, months), key=lambda m: (m.year, m.month), reverse=True)),
    )


def _month(item: dict[str, Any]) -> MonthlySearches | None:
    year, month = as_count(item.get("year")), as_count(item.get("month"))
    if year is None or month is None or not (1990 <= year <= 9999 and 1 <= month <= 12):
        return None
    return MonthlySearches(year, month, as_count(item.get("search_volume")))


def _money(value: Any) -> float | None:
    number = as_number(value)
    return number if number is not None and number >= 0 else None
