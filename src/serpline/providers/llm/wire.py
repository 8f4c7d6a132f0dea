"""The wire of a chat completion: what is asked (a ``Question``), and its answer, read or refused.

The promise: nothing half-read passes. The parts of the envelope that are used are checked, and the
content is by our own schema, which the request sends along in strict form. A refusal, a cut-off or
an empty answer is a ``ProviderError`` EMPTY.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.replies import as_list, as_object, json_object, malformed
from serpline.providers.llm.errors import PROVIDER

T = TypeVar("T")
Content = TypeVar("Content", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """What a model is asked for: our instruction, the form of the answer, and how it is read.

    ``name`` is part of a request's identity: another schema or instruction is another question.
    ``read`` takes the reply's object and the reply; it raises ``ProviderError`` and nothing else.
    """

    name: str
    schema: Mapping[str, Any]
    system: str
    read: Callable[[Mapping[str, Any], HttpReply], T]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a completion; ``cached`` is None if not said."""

    prompt: int
    completion: int
    cached: int | None


@dataclass(frozen=True, slots=True)
class Completed(Generic[Content]):
    """A whole answer; ``model`` is the one that gave it, ``usage`` None if it was not counted."""

    content: Content
    model: str
    usage: Usage | None


class _Completion(BaseModel):
    model_config = ConfigDict(strict=True)

    model: str
    finish_reason: Any
    content: str | None
    refusal: str | None


def completed(
    body: Mapping[str, Any], reply: HttpReply, kind: type[Content], name: str
) -> Completed[Content]:
    """Read a chat completion whose content is a ``kind``. Raises ``ProviderError``, no other."""
    completion = _completion(body, reply)
    if completion.refusal or completion.finish_reason == "content_filter":
        raise no_answer(reply, "the model refused", permanent=True)
    if completion.finish_reason == "length":
        raise no_answer(reply, "the answer was cut off at the token limit")
    if not (completion.content or "").strip():
        raise no_answer(reply, "the answer is empty")
    inner = HttpReply(reply.status, {}, (completion.content or "").encode())
    try:
        content = kind.model_validate(json_object(inner, PROVIDER))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = str(first["loc"][0]) if first["loc"] else "the object"
        raise malformed(reply, PROVIDER, f"{name} with an unusable {field}") from None
    return Completed(content, completion.model, _usage(body))


def no_answer(reply: HttpReply, problem: str, *, permanent: bool = False) -> ProviderError:
    """The error of a reply that came, and says nothing."""
    return ProviderError(
        f"llm: {problem}",
        provider=PROVIDER,
        category=ErrorCategory.EMPTY,
        permanent=permanent,
        http_status=reply.status,
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


def _usage(body: Mapping[str, Any]) -> Usage | None:
    """The usage if its counts are counts; a server that does not count is no failure."""
    given = as_object(body.get("usage"))
    prompt, completion = (_tokens(given.get(k)) for k in ("prompt_tokens", "completion_tokens"))
    if prompt is None or completion is None:
        return None
    cached = _tokens(as_object(given.get("prompt_tokens_details")).get("cached_tokens"))
    return Usage(prompt, completion, cached)


def _tokens(value: Any) -> int | None:
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    return value if good else None
