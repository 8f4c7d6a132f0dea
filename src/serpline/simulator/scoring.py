"""Score a text: relevance to a keyword, sentiment and entities.

Fixed rules in place of a language model: the share of sentences with the keyword's words, word
lists for sentiment, and the market's company names for entities.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serpline.simulator.world.companies import Directory, words

_KEYWORD = re.compile(
    r"^\W*(?:search\s+|target\s+)?(?:keyword|query|search term|topic)s?\W*[:=]\s*(.+)$",
    re.IGNORECASE | re.MULTILINE,
)
_KEYS = ("keyword", "query", "search_term", "topic", "q")
_SENTENCE = re.compile(r"[^.!?。\n]+[.!?。]?")
_HOST = re.compile(r"\b((?:[a-z0-9-]+\.)+[a-z]{2,})\b", re.IGNORECASE)
_NAME = re.compile(r"\b(?:The [A-Z]\w+ )?[A-Z]\w+(?: [A-Z]\w+)?\b")
_PLATFORMS = ("youtube.com", "youtu.be", "google.com", "facebook.com", "instagram.com", "x.com")
# Texts shown in place of content, by page state.
_STATES = (
    ("login_wall", re.compile(r"(?:sign|log) ?in to (?:read|continue)|for members only", re.I)),
    ("consent_wall", re.compile(r"consent|accept (?:all )?cookies", re.I)),
    ("bot_check", re.compile(r"not a robot|are human", re.I)),
    ("not_found", re.compile(r"(?:not|no longer) (?:found|available)", re.I)),
)
_STATE_CHARS_MAX = 1_500
_POSITIVE = frozenset(
    words("excellent impressed recommend reliable pleasant exceeded best helpful quickly clear")
)
_NEGATIVE = frozenset(
    words("disappointing hidden complained poor worst delays confusing frustrating slow cannot")
)


@dataclass(frozen=True, slots=True)
class TextScore:
    """The scores of a text. ``relevance`` is in [0, 1], ``sentiment_score`` in [-1, 1].

    ``domain``: the first site in the text, else that of the first company, else "".
    ``relevances``: the relevance for each named keyword of the prompt.
    """

    keyword: str
    relevance: float
    relevances: Mapping[str, float]
    sentiment_score: float
    entities: tuple[str, ...]
    topics: tuple[str, ...]
    summary: str
    domain: str
    page_state: str = "content"

    @property
    def sentiment(self) -> str:
        """The sentiment as a word."""
        if abs(self.sentiment_score) < 0.15:
            return "neutral"
        return "positive" if self.sentiment_score > 0 else "negative"

    def plain(self) -> dict[str, Any]:
        """The scores as an object, for requests without a schema."""
        return {
            "relevance": self.relevance,
            "sentiment": self.sentiment,
            "entities": list(self.entities),
            "summary": self.summary,
        }


def score_text(texts: list[str], directory: Directory) -> TextScore:
    """Score the last text of a prompt for the keyword that any of the texts names."""
    text, keyword, named = _parse_prompt(texts)
    sentences = [found.strip() for found in _SENTENCE.findall(text)]
    sentences = [each for each in sentences if len(each) > 12]
    tokens = re.findall(r"\w+", text.lower())
    good = sum(1 for word in tokens if word in _POSITIVE)
    bad = sum(1 for word in tokens if word in _NEGATIVE)
    entities = _entities(text, directory)
    relevance = _relevance(sentences, keyword)
    relevances = {name: _relevance(sentences, word) for name, word in named.items()}
    return TextScore(
        keyword=keyword,
        relevance=relevance,
        relevances=relevances,
        sentiment_score=round((good - bad) / (good + bad), 3) if good + bad else 0.0,
        entities=entities,
        topics=tuple(dict.fromkeys(keyword.lower().split()))[:5],
        summary=" ".join(sentences[:2])[:300] or text[:300],
        domain=_domain(text) or (directory.by_name[entities[0]].domain if entities else ""),
        page_state="content" if any([relevance, *relevances.values()]) else _state(text),
    )


def _relevance(sentences: Sequence[str], keyword: str) -> float:
    """1.25 × the share of sentences with all of the keyword's words, at most 1."""
    terms = keyword.lower().split()
    about = sum(1 for each in sentences if terms and all(w in each.lower() for w in terms))
    return round(min(1.0, 1.25 * about / len(sentences)), 3) if sentences else 0.0


def _state(text: str) -> str:
    """The page state of a text about no keyword. A long text is content."""
    if len(text) > _STATE_CHARS_MAX:
        return "content"
    return next((state for state, pattern in _STATES if pattern.search(text)), "content")


def _parse_prompt(texts: list[str]) -> tuple[str, str, dict[str, str]]:
    """The text, the keyword and the named keywords of a prompt in lines or in JSON."""
    last = texts[-1]
    try:
        value = json.loads(last)
    except ValueError:
        value = None
    if isinstance(value, dict):
        named = value.get("keywords")
        words = {k: str(v) for k, v in named.items()} if isinstance(named, dict) else {}
        first = next(iter(words.values()), "")
        keyword = next((str(value[key]) for key in _KEYS if value.get(key)), first)
        rest = [each for key, each in value.items() if isinstance(each, str) and _is_content(key)]
        return "\n".join(rest), keyword, words
    for text in reversed(texts):
        found = _KEYWORD.search(text)
        if found:
            keyword = found.group(1).strip().strip("\"'`")
            return last.replace(found.group(0), "", 1) if text is last else last, keyword, {}
    return last, last.strip().split("\n", 1)[0][:80], {}


def _is_content(key: str) -> bool:
    """Whether a field of a prompt is content, not a keyword or metadata."""
    return key not in _KEYS and key not in ("url", "language")


def _entities(text: str, directory: Directory) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for found in _NAME.findall(text):
        for name in (found, found.split(" ")[0]):
            if name in directory.by_name:
                names[name] = None
                break
        if len(names) == 10:
            break
    return tuple(names)


def _domain(text: str) -> str:
    for host in _HOST.findall(text):
        bare = host.lower().removeprefix("www.")
        if not bare.endswith(_PLATFORMS) and not bare.split(".")[-1].isdigit():
            return str(bare)
    return ""
