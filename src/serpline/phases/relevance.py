"""Relevance judgements, and when they are reused.

The key of a judgement is subject, keyword, search language, model and prompt. It serves every run
in which the subject ranks for the keyword. The model sees a subject only if a keyword has no
judgement. One call judges up to ``KEYWORDS_MAX`` keywords of one language, including keywords with
an older judgement, because the text makes up the price. docs/adr/0011 has the measured calls.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Any

from serpline.core.ids import digest
from serpline.domain.keywords import keyword_key
from serpline.domain.names import EmptyKind
from serpline.phases.tools import to_json
from serpline.providers.llm.analysis import PROMPT, Analysis
from serpline.providers.llm.client import KEYWORDS_MAX
from serpline.store.results.inputs import KeywordItem

KIND = "analysis"
# The fields about the subject itself, with their values if the model was not asked.
_ABOUT: Mapping[str, Any] = {
    "empty_kind": None,
    "sentiment": None,
    "content_kind": None,
    "topics": [],
    "brands": [],
    "summary": None,
    "model": None,
}

Judgement = dict[str, Any]
"""``relevance`` to one keyword, with the answer's fields about the subject.

A subject without content has relevance None to every keyword.
"""


@dataclass(frozen=True, slots=True)
class Question:
    """The keywords of one call: one subject, one language."""

    language: str
    keywords: tuple[str, ...]
    keys: tuple[str, ...]

    def judgements(self, analysis: Analysis) -> dict[str, Judgement]:
        """The answer's judgements by key."""
        answer = to_json(analysis)
        about = {name: answer[name] for name in _ABOUT}
        return {
            key: {"relevance": answer["relevances"].get(word), **about}
            for key, word in zip(self.keys, self.keywords, strict=True)
        }


class NeededJudgements:
    """The judgements of one subject, for the searches in which it ranks."""

    def __init__(self, subject: str, searches: Sequence[KeywordItem], model: str) -> None:
        self._searches = {_key(subject, each, model): each for each in searches}
        self._markets: dict[str, list[tuple[str, str]]] = {}
        for each in searches:
            judged = (_key(subject, each, model), each.keyword)
            self._markets.setdefault(each.market, []).append(judged)

    @property
    def keys(self) -> list[str]:
        """The judgements' keys, best rank first."""
        return list(self._searches)

    def questions(self, missing: Collection[str]) -> Iterator[Question]:
        """The questions whose answers contain every ``missing`` judgement."""
        languages: dict[str, tuple[list[str], list[str]]] = {}
        for key, search in self._searches.items():
            unknown, known = languages.setdefault(search.language, ([], []))
            (unknown if key in missing else known).append(key)
        for language, (unknown, known) in languages.items():
            for start in range(0, len(unknown), KEYWORDS_MAX):
                keys = (unknown[start : start + KEYWORDS_MAX] + known)[:KEYWORDS_MAX]
                words = tuple(self._searches[key].keyword for key in keys)
                yield Question(language, words, tuple(keys))

    def rows(
        self, judged: Mapping[str, Judgement], judged_at: Mapping[str, datetime]
    ) -> list[dict[str, Any]]:
        """Rows of ``content_analyses``, one per market, without run, type and subject.

        The fields about the subject come from the newest judgement; without content the relevance
        is None.
        """
        found = []
        for market, searches in self._markets.items():
            newest = judged[max((key for key, _ in searches), key=lambda key: judged_at[key])]
            by_keyword = [
                {"keyword": word, "relevance": judged[key]["relevance"]} for key, word in searches
            ]
            known = [each["relevance"] for each in by_keyword if each["relevance"] is not None]
            found.append(
                {
                    **{name: newest[name] for name in _ABOUT},
                    "market": market,
                    "relevance": fmean(known) if newest["empty_kind"] is None else None,
                    "judged_for": by_keyword,
                    "prompt": PROMPT,
                    "fetched_at": min(judged_at[key] for key, _ in searches),
                }
            )
        return found

    def empty_rows(self, kind: EmptyKind, now: datetime) -> list[dict[str, Any]]:
        """The rows of a page without content that no model has seen."""
        nothing = {**_ABOUT, "relevance": None, "judged_for": [], "prompt": None}
        row = {**nothing, "empty_kind": kind, "fetched_at": now}
        return [{**row, "market": market} for market in self._markets]


def _key(subject: str, search: KeywordItem, model: str) -> str:
    judged_for = digest([keyword_key(search.keyword), search.language, model, PROMPT])
    return f"{judged_for[:32]} {subject}"
