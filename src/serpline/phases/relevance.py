"""What a relevance is judged for, and so when it may be used again.

A judgement belongs to a subject, one keyword, the language it is searched in, the model and the
prompt. Every run in which the subject ranks for that keyword uses it, and no other run. The model
is asked about a subject only if it ranks for a keyword without a judgement. One call judges up to
``KEYWORDS_MAX`` keywords of one language, those with an older judgement included: the text is what
costs. docs/adr/0011 has the measured calls.
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
# What an answer says of the subject itself, and what stands there where there was none.
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
"""What is kept: ``relevance`` to one keyword, and what the same answer says of the subject.

A subject that the model found to be no content has a relevance of None to every keyword.
"""


@dataclass(frozen=True, slots=True)
class Question:
    """Keywords of one language that a subject is to be judged for in one call."""

    language: str
    keywords: tuple[str, ...]
    keys: tuple[str, ...]

    def judgements(self, analysis: Analysis) -> dict[str, Judgement]:
        """The answer as judgements, by key."""
        told = to_json(analysis)
        about = {name: told[name] for name in _ABOUT}
        return {
            key: {"relevance": told["relevances"].get(word), **about}
            for key, word in zip(self.keys, self.keywords, strict=True)
        }


class NeededJudgements:
    """The judgements that one subject needs for the searches in which it ranks."""

    def __init__(self, subject: str, searches: Sequence[KeywordItem], model: str) -> None:
        self._searches = {_key(subject, each, model): each for each in searches}
        self._markets: dict[str, list[tuple[str, str]]] = {}
        for each in searches:
            judged = (_key(subject, each, model), each.keyword)
            self._markets.setdefault(each.market, []).append(judged)

    @property
    def keys(self) -> list[str]:
        """The keys of the judgements, the best ranks first."""
        return list(self._searches)

    def questions(self, missing: Collection[str]) -> Iterator[Question]:
        """What to ask so that those of the judgements that are ``missing`` are made."""
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
        """A row of ``content_analyses`` for each market, without whose it is.

        What the newest judgement says of the subject counts: without content it has no relevance.
        """
        found = []
        for market, searches in self._markets.items():
            newest = judged[max((key for key, _ in searches), key=lambda key: judged_at[key])]
            told = [
                {"keyword": word, "relevance": judged[key]["relevance"]} for key, word in searches
            ]
            known = [each["relevance"] for each in told if each["relevance"] is not None]
            found.append(
                {
                    **{name: newest[name] for name in _ABOUT},
                    "market": market,
                    "relevance": fmean(known) if newest["empty_kind"] is None else None,
                    "judged_for": told,
                    "prompt": PROMPT,
                    "fetched_at": min(judged_at[key] for key, _ in searches),
                }
            )
        return found

    def empty_rows(self, kind: EmptyKind, now: datetime) -> list[dict[str, Any]]:
        """The same for a page without content, about which no model was asked."""
        nothing = {**_ABOUT, "relevance": None, "judged_for": [], "prompt": None}
        told = {**nothing, "empty_kind": kind, "fetched_at": now}
        return [{**told, "market": market} for market in self._markets]


def _key(subject: str, search: KeywordItem, model: str) -> str:
    judged_for = digest([keyword_key(search.keyword), search.language, model, PROMPT])
    return f"{judged_for[:32]} {subject}"
