"""Chat completions: a ``Question`` and the parsing of its answer.

Promise: every answer is validated as a whole. The used parts of the envelope are checked, and our
own schema validates the content even if the server enforced it. A refusal, a cut-off or an empty
answer is a ``ProviderError`` EMPTY; content of another form is UNUSABLE. Neither counts against the
server's health. Limit: only the first choice is read.

``finish_reason`` is OpenAI's value or the vendor's: Gemini passes its enum through (``SAFETY``,
``RECITATION``, ``MAX_TOKENS``: HKUDS/Vibe-Trading pull 308 collects the sources), a filtered answer
of Azure has a choice without a message, OpenRouter puts an upstream error into the choice.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from serpline.core.ids import digest
from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.replies import as_list, as_object, as_text, malformed
from serpline.providers.llm.content import find_object, has_thought, text_of
from serpline.providers.llm.errors import PROVIDER

T = TypeVar("T")
Content = TypeVar("Content", bound=BaseModel)

_FILTERED = (
    "content_filter", "safety", "recitation", "prohibited_content", "blocklist", "spii", "refusal",
    "sensitive",
)  # fmt: skip
_CUT_OFF = ("length", "max_tokens", "max_completion_tokens", "model_length")
# Errors that an enforced schema rules out. It does not rule out ranges and lengths.
_SCHEMA_VIOLATIONS = ("missing", "literal_error")


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """A question to a model: our instruction, the schema of the answer, and its parser.

    ``name`` is part of a request's identity: change it with the schema or the instruction.
    ``read`` takes the reply's object and the reply; it raises ``ProviderError`` and nothing else.
    """

    name: str
    schema: Mapping[str, Any]
    system: str
    read: Callable[[Mapping[str, Any], HttpReply], T]

    @property
    def version(self) -> str:
        """The name with a digest of instruction and schema; any change makes another version."""
        return f"{self.name}-{digest([self.system, dict(self.schema)])[:8]}"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a completion; ``cached`` is None if not stated."""

    prompt: int
    completion: int
    cached: int | None


@dataclass(frozen=True, slots=True)
class Completion:
    """A complete answer with its JSON object as written, not yet validated.

    ``model`` is the one that answered, "unknown" if not stated; ``usage`` is None if not counted.
    """

    content: dict[str, Any]
    model: str
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Completed(Generic[Content]):
    """A complete, validated answer."""

    content: Content
    model: str
    usage: Usage | None


class FormError(ProviderError):
    """An answer of another form. ``violates_schema``: an enforced schema would rule it out."""

    def __init__(self, problem: str, reply: HttpReply, *, violates_schema: bool) -> None:
        super().__init__(
            f"llm: {problem}",
            provider=PROVIDER,
            category=ErrorCategory.UNUSABLE,
            http_status=reply.status,
        )
        self.violates_schema = violates_schema


class CutOffError(ProviderError):
    """An answer that reached the token limit. ``thinking``: the model spent tokens on thoughts."""

    def __init__(self, reply: HttpReply, *, thinking: bool) -> None:
        super().__init__(
            "llm: the answer was cut off at the token limit",
            provider=PROVIDER,
            category=ErrorCategory.EMPTY,
            http_status=reply.status,
        )
        self.thinking = thinking


def completed(
    body: Mapping[str, Any], reply: HttpReply, kind: type[Content], name: str
) -> Completed[Content]:
    """Parse a chat completion whose content is a ``kind``. Raises only ``ProviderError``."""
    completion = read_completion(body, reply, list(kind.model_fields))
    try:
        content = kind.model_validate(completion.content)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        first = problems[0]
        field = str(first["loc"][0]) if first["loc"] else "the object"
        violates_schema = any(
            p["type"] in _SCHEMA_VIOLATIONS or p["type"].endswith("_type") for p in problems
        )
        raise FormError(
            f"{name} with an unusable {field}", reply, violates_schema=violates_schema
        ) from None
    return Completed(content, completion.model, completion.usage)


def read_completion(
    body: Mapping[str, Any], reply: HttpReply, required_keys: Collection[str] = ()
) -> Completion:
    """Parse a chat completion whose content is a JSON object, with ``required_keys`` if possible.

    Servers add values of their own (a service tier, a finish reason), which must not fail a good
    answer. Raises only ``ProviderError``.
    """
    choices = as_list(body.get("choices"))
    choice = as_object(choices[0]) if choices else {}
    message = as_object(choice.get("message"))
    reason = (as_text(choice.get("finish_reason")) or "").lower()
    if _refused(message) or reason.startswith(_FILTERED) or _prompt_blocked(body, choices):
        raise empty_answer(reply, "the model refused", permanent=True)
    if choice.get("error") and not message.get("content"):
        raise _upstream(reply)
    if reason in _CUT_OFF:
        thinking = has_thought(message) or _thought_tokens(body) > 0 or not _has_text(message)
        raise CutOffError(reply, thinking=thinking)
    if not message:
        raise malformed(reply, PROVIDER, "a completion without a message")
    if not isinstance(message.get("content"), str | list | dict | None):
        raise malformed(reply, PROVIDER, "a completion with an unknown type of content")
    content = find_object(message, required_keys)
    if content is None and not _has_text(message):
        raise empty_answer(reply, "the answer is empty")
    if content is None:
        raise FormError("an answer without a JSON object", reply, violates_schema=True)
    return Completion(content, as_text(body.get("model")) or "unknown", _usage(body))


def empty_answer(reply: HttpReply, problem: str, *, permanent: bool = False) -> ProviderError:
    """The error of a reply without an answer."""
    return ProviderError(
        f"llm: {problem}",
        provider=PROVIDER,
        category=ErrorCategory.EMPTY,
        permanent=permanent,
        http_status=reply.status,
    )


def total_tokens(body: Mapping[str, Any]) -> float | None:
    """The reply's total tokens; None if it does not state them."""
    usage = _usage(body)
    return float(usage.prompt + usage.completion) if usage else None


def _refused(message: Mapping[str, Any]) -> bool:
    parts = (as_object(part) for part in as_list(message.get("content")))
    return bool(as_text(message.get("refusal"))) or any(p.get("type") == "refusal" for p in parts)


def _prompt_blocked(body: Mapping[str, Any], choices: list[Any]) -> bool:
    """Whether there is no choice because the prompt was filtered (Azure's and Gemini's fields)."""
    results = [as_object(each) for each in as_list(body.get("prompt_filter_results"))]
    verdicts = [as_object(each.get("content_filter_results")) for each in results]
    filtered = any(as_object(v).get("filtered") is True for each in verdicts for v in each.values())
    feedback = as_object(body.get("promptFeedback") or body.get("prompt_feedback"))
    return not choices and (filtered or bool(feedback))


def _upstream(reply: HttpReply) -> ProviderError:
    return ProviderError(
        "llm: the upstream server failed",
        provider=PROVIDER,
        category=ErrorCategory.SERVER,
        http_status=reply.status,
    )


def _has_text(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    return isinstance(content, dict) or bool(text_of(content).strip())


def _thought_tokens(body: Mapping[str, Any]) -> int:
    details = as_object(as_object(body.get("usage")).get("completion_tokens_details"))
    return _tokens(details.get("reasoning_tokens")) or 0


def _usage(body: Mapping[str, Any]) -> Usage | None:
    """The usage, or None if it has no valid counts."""
    given = as_object(body.get("usage"))
    prompt, completion = (_tokens(given.get(k)) for k in ("prompt_tokens", "completion_tokens"))
    if prompt is None or completion is None:
        return None
    cached = _tokens(as_object(given.get("prompt_tokens_details")).get("cached_tokens"))
    return Usage(prompt, completion, cached)


def _tokens(value: Any) -> int | None:
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    return value if good else None
