"""Parses DataForSEO's keyword figures.

Promise: unknown stays unknown. A missing or null volume is None, never 0; an unreadable field loses
only that field. Replies have keywords in lower case and sometimes in another spelling; ``match``
assigns them to the requested ones.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serpline.domain.keywords import keyword_key
from serpline.domain.replies import as_count, as_list, as_number, as_object, as_text

KEYWORD_CHARACTERS_MAX = 80
KEYWORD_WORDS_MAX = 10
# One of these fails the whole request (support.google.com/ds/answer/6264285 for "*", and
# dataforseo.com/help-center/using-symbols-in-keywords-when-setting-a-google-ads-task).
_SYMBOLS = frozenset(",!@%^*(){}=;~`<>?\\|\u2015")
# "4-byte Unicode characters" are beyond the basic plane, as most emoji are.
_CODE_POINT_MAX = 0xFFFF
# "UTF symbols, emojis": symbols and superscripts. Currency signs, letters and marks are accepted.
_CATEGORIES = frozenset({"So", "Sm", "Sk", "No", "Cc", "Co"})
_ALLOWED = frozenset("+\t")

_IGNORED = str.maketrans({"+": " ", "\u200c": None, "\u200d": None})


@dataclass(frozen=True, slots=True)
class MonthlySearches:
    """Searches in one calendar month; ``search_volume`` is None if unknown."""

    year: int
    month: int
    search_volume: int | None


@dataclass(frozen=True, slots=True)
class KeywordMetrics:
    """One keyword's figures in one market. None means unknown.

    ``keyword`` is as returned (lower case); ``spell`` is the spelling of the figures if it differs.
    ``search_volume`` is the monthly average; ``cpc`` and the bids are US$; ``competition`` is LOW,
    MEDIUM or HIGH, ``competition_index`` 0 to 100. ``monthly`` has the newest month first.
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
        """Whether there is any figure."""
        figures = (self.search_volume, self.cpc, self.competition_index, self.competition)
        return bool(self.monthly) or any(figure is not None for figure in figures)


@dataclass(frozen=True, slots=True)
class SearchVolumes:
    """One reply. ``cost_usd`` is its cost, None if not stated."""

    metrics: tuple[KeywordMetrics, ...]
    requested: int
    cost_usd: float | None

    @property
    def lost_all_figures(self) -> bool:
        """Whether several keywords were requested and no figure came.

        One restricted keyword removes the figures of its whole batch, as missing rows or rows of
        nulls. So halve the batch and ask again. A batch of unknown keywords looks the same, so
        bound the halving. A single keyword without a figure is an answer: unknown.
        """
        return self.requested > 1 and not any(row.is_known for row in self.metrics)


def search_volumes(task: Mapping[str, Any], requested: int) -> SearchVolumes:
    """Parse a successful task; rows without a keyword are left out."""
    rows = (_row(as_object(value)) for value in as_list(task.get("result")))
    return SearchVolumes(
        metrics=tuple(row for row in rows if row is not None),
        requested=requested,
        cost_usd=as_number(task.get("cost")),
    )


def match(
    requested: Sequence[str], returned: Iterable[KeywordMetrics]
) -> dict[str, KeywordMetrics | None]:
    """The row of each requested keyword; None if it has none (unknown, never 0).

    Compares after NFC, case folding and collapsing white space: first ``keyword``, then ``spell``,
    then without characters that Google Ads ignores or the vendor decodes (a "+" returns as a
    space). Requested keywords that are equal after that share a row.
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
    """The reason, in one line, why a keyword cannot be sent; None if it can.

    One such keyword would fail the whole request.
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
    return unicodedata.category(character) in _CATEGORIES and character not in _ALLOWED


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
