"""A model's reply, read into an ``Analysis``, or refused.

The promise: nothing half-read passes. The parts of the envelope that are used are checked, and the
content is by our own schema, which the request sends along in strict form; a number out
of range is an error, never clamped. A refusal, a cut-off or an empty answer is a ``ProviderError``
EMPTY: an outage must never be stored as an analysis that says nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.replies import as_list, as_object, json_object, malformed
from serpline.providers.llm.errors import PROVIDER

Sentiment = Literal["positive", "neutral", "negative", "mixed"]
ContentKind = Literal[
    "article",
    "news",
    "review",
    "comparison",
    "guide",
    "product_page",
    "category_page",
    "company_page",
    "video",
    "forum",
    "reference",
    "other",
]
# Part of a request's identity: a new schema or prompt is another question.
SCHEMA_NAME = "content_analysis_v1"
LIST_ITEMS_MAX = 20
ITEM_CHARACTERS_MAX = 120
SUMMARY_CHARACTERS_MAX = 1_000

# Written out, since strict mode wants every property required and nothing else allowed. Ranges and
# lengths stand in the descriptions: not every server takes them as keywords.
ANALYSIS_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["relevance", "sentiment", "topics", "brands", "summary", "content_kind"],
    "properties": {
        "relevance": {
            "type": "number",
            "description": "0 to 1: how well the content serves a person searching the keywords",
        },
        "sentiment": {"type": "string", "enum": list(get_args(Sentiment))},
        "topics": {
            "type": "array",
            "items": {"type": "string"},
            "description": "up to 8 topics, a few words each, in English",
        },
        "brands": {
            "type": "array",
            "items": {"type": "string"},
            "description": "companies, brands and products named in the text, as written there",
        },
        "summary": {"type": "string", "description": "one or two sentences, in English"},
        "content_kind": {"type": "string", "enum": list(get_args(ContentKind))},
    },
}


class _Completion(BaseModel):
    model_config = ConfigDict(strict=True)

    model: str
    finish_reason: Any
    content: str | None
    refusal: str | None


@dataclass(frozen=True, slots=True)
class _Usage:
    prompt: int
    completion: int
    cached: int | None


class _Content(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    relevance: float = Field(ge=0, le=1, allow_inf_nan=False)
    sentiment: Sentiment
    topics: list[str]
    brands: list[str]
    summary: str
    content_kind: ContentKind


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the model made of one page or video.

    ``relevance`` is in [0, 1]. ``model`` is the one that answered. Tokens are None if not said.
    """

    relevance: float
    sentiment: Sentiment
    topics: tuple[str, ...]
    brands: tuple[str, ...]
    summary: str
    content_kind: ContentKind
    model: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None


def analysis(body: Mapping[str, Any], reply: HttpReply) -> Analysis:
    """Read a chat completion. Raises ``ProviderError``, and nothing else."""
    completion = _completion(body, reply)
    if completion.refusal or completion.finish_reason == "content_filter":
        raise _no_answer(reply, "the model refused", permanent=True)
    if completion.finish_reason == "length":
        raise _no_answer(reply, "the answer was cut off at the token limit")
    if not (completion.content or "").strip():
        raise _no_answer(reply, "the answer is empty")
    content = _content(completion.content or "", reply)
    summary = " ".join(content.summary.split())[:SUMMARY_CHARACTERS_MAX]
    if not summary:
        raise _no_answer(reply, "the analysis says nothing")
    usage = _usage(body)
    return Analysis(
        relevance=content.relevance,
        sentiment=content.sentiment,
        topics=_tidy(content.topics),
        brands=_tidy(content.brands),
        summary=summary,
        content_kind=content.content_kind,
        model=completion.model,
        prompt_tokens=usage.prompt if usage else None,
        completion_tokens=usage.completion if usage else None,
        cached_tokens=usage.cached if usage else None,
    )


def _completion(body: Mapping[str, Any], reply: HttpReply) -> _Completion:
    """The envelope, checked. Only the parts used here are looked at.

    Servers of the same wire add values of their own elsewhere (a service tier, a finish reason),
    which must not fail a good answer.
    """
    choices = as_list(body.get("choices"))
    choice = as_object(choices[0]) if choices else {}
    message = as_object(choice.get("message"))
    if not message:
        raise malformed(reply, PROVIDER, "a completion without a message")
    try:
        return _Completion(
            model=body.get("model") or "unknown",
            finish_reason=choice.get("finish_reason"),
            content=message.get("content"),
            refusal=message.get("refusal"),
        )
    except ValidationError:
        # Its text quotes the values, and they are a stranger's.
        raise malformed(reply, PROVIDER, "a completion of a strange shape") from None


def total_tokens(body: Mapping[str, Any]) -> float | None:
    """Tokens that the reply says it cost; None if it does not."""
    usage = _usage(body)
    return float(usage.prompt + usage.completion) if usage else None


def _usage(body: Mapping[str, Any]) -> _Usage | None:
    """The usage if its counts are counts; a server that does not count is no failure."""
    given = as_object(body.get("usage"))
    prompt, completion = (_tokens(given.get(k)) for k in ("prompt_tokens", "completion_tokens"))
    if prompt is None or completion is None:
        return None
    cached = _tokens(as_object(given.get("prompt_tokens_details")).get("cached_tokens"))
    return _Usage(prompt, completion, cached)


def _tokens(value: Any) -> int | None:
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    return value if good else None


def _content(text: str, reply: HttpReply) -> _Content:
    inner = HttpReply(reply.status, {}, text.encode())
    try:
        return _Content.model_validate(json_object(inner, PROVIDER))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = str(first["loc"][0]) if first["loc"] else "the object"
        raise malformed(reply, PROVIDER, f"an analysis with an unusable {field}") from None


def _no_answer(reply: HttpReply, problem: str, *, permanent: bool = False) -> ProviderError:
    return ProviderError(
        f"llm: {problem}",
        provider=PROVIDER,
        category=ErrorCategory.EMPTY,
        permanent=permanent,
        http_status=reply.status,
    )


def _tidy(items: list[str]) -> tuple[str, ...]:
    """Trimmed, without blanks and repetitions, in the order given, bounded."""
    trimmed = (" ".join(item.split())[:ITEM_CHARACTERS_MAX].strip() for item in items)
    unique: dict[str, str] = {}
    for item in filter(None, trimmed):
        unique.setdefault(item.casefold(), item)
    return tuple(unique.values())[:LIST_ITEMS_MAX]
