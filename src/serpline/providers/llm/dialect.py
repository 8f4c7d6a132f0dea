"""The dialect of a model server: which of the optional parts of a request it takes.

"OpenAI-compatible" servers differ in what they refuse. ``FIRST`` asks for the most that is of use,
in the words that most servers know; from a refusal, or from an answer that ignores the form,
``other_dialect`` derives what to try next. Each step gives up one thing, so a negotiation ends.
Pure: who tries, and who remembers what was found, is ``phases/llm_calls``.

- ``max_tokens`` is understood by every server; OpenAI's reasoning models alone refuse it and name
  ``max_completion_tokens`` (pydantic-ai issue 1205). Ollama ignores the newer name: its list of
  fields lacks it (docs.ollama.com/api/openai-compatibility). Mistral refuses it.
- The same models take no temperature but their own (decolua/9router issue 560).
- DeepSeek refuses ``json_schema``, Perplexity ``json_object`` (567-labs/instructor issue 1005),
  Groq either, by model; Ollama's cloud takes ``json_schema`` and ignores it (pydantic.dev,
  models/ollama).
- Some models have no place for a system message (Gemma's and older Mistral templates, o1-mini).
- A model that thinks spends the limit on its thoughts before the answer begins.
"""

import json
import re
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.providers.llm.complaint import Complaint, complaint
from serpline.providers.llm.errors import PROVIDER
from serpline.providers.llm.wire import CutOffError, FormError, Question

Form = Literal["json_schema", "json_object", "prompt"]
TokensField = Literal["max_tokens", "max_completion_tokens"]

COMPLETION_TOKENS_MAX: Final = 2_000
# What most models may write at most; enough for a thought about one page.
THOUGHT_TOKENS_MAX: Final = 8_000
_LOWER: dict[Form, Form] = {"json_schema": "json_object", "json_object": "prompt"}
_OTHER: dict[TokensField, TokensField] = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
_FORM_WORDS = re.compile(
    r"response_?format|json_?schema|json_?object|json mode|structured[ _]outputs?"
    r"|additionalProperties|grammar",
    re.IGNORECASE,
)
_SYSTEM_WORDS = re.compile(
    r"\brole\b.{0,40}\bsystem\b|\bsystem\b.{0,40}\brole\b|system (?:message|prompt|instruction)"
    r"|developer instruction|roles must alternate",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(r"context[ _](?:length|window|size)|too many tokens", re.IGNORECASE)
# Where a refusal may come from the form of the request.
_REFUSING = frozenset({400, 404, 415, 422, 500, 501})


@dataclass(frozen=True, slots=True)
class Dialect:
    """``form``: how JSON is asked for. ``temperature``: whether one is sent. ``system``: whether
    the instruction stands in a message of its own. ``tokens_max``: the limit of an answer."""

    form: Form = "json_schema"
    tokens_field: TokensField = "max_tokens"
    tokens_max: int = COMPLETION_TOKENS_MAX
    temperature: bool = True
    system: bool = True

    def body(self, question: Question[Any], subject: str) -> dict[str, Any]:
        """The request's body, without the model: ``subject`` is the user message."""
        schema = dict(question.schema)
        instruction = question.system
        body: dict[str, Any] = {self.tokens_field: self.tokens_max}
        if self.form == "json_schema":
            named = {"name": question.name, "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        else:
            instruction += f" The JSON schema: {_compact(schema)}"
        if self.form == "json_object":
            body["response_format"] = {"type": "json_object"}
        if self.temperature:
            body["temperature"] = 0.0
        body["messages"] = (
            [{"role": "system", "content": instruction}, {"role": "user", "content": subject}]
            if self.system
            else [{"role": "user", "content": f"{instruction}\n\n{subject}"}]
        )
        return body


FIRST: Final = Dialect()


class DialectError(ProviderError):
    """The request failed by its dialect: ``instead`` may succeed.

    ``certain``: the server said so. Else it may be this one answer or text, so it counts only
    while the dialect in use has not yet been answered well.
    """

    def __init__(self, error: ProviderError, instead: Dialect, *, certain: bool) -> None:
        category = error.category
        if category is ErrorCategory.SERVER:
            category = ErrorCategory.BAD_REQUEST
        super().__init__(
            str(error),
            provider=PROVIDER,
            category=category,
            permanent=category is ErrorCategory.BAD_REQUEST,
            http_status=error.http_status,
        )
        self.instead = instead
        self.certain = certain


def other_dialect(used: Dialect, reply: HttpReply, error: ProviderError) -> DialectError | None:
    """``error`` with what to try instead, or None if another dialect cannot help."""
    if isinstance(error, CutOffError):
        if error.thinking and used.tokens_max < THOUGHT_TOKENS_MAX:
            more = replace(used, tokens_max=THOUGHT_TOKENS_MAX)
            return DialectError(error, more, certain=True)
        return None
    if error.category is ErrorCategory.UNUSABLE:
        ignored = not isinstance(error, FormError) or error.of_schema
        if ignored and used.form in _LOWER:
            return DialectError(error, replace(used, form=_LOWER[used.form]), certain=False)
        return None
    if error.category not in (ErrorCategory.BAD_REQUEST, ErrorCategory.SERVER):
        return None
    return _refused(used, reply, error)


def _refused(used: Dialect, reply: HttpReply, error: ProviderError) -> DialectError | None:
    said = complaint(reply)
    if reply.status not in _REFUSING or _is_too_long(said):
        return None
    instead = _without_blamed(used, said, is_down=reply.status >= 500)
    if instead is not None:
        return DialectError(error, instead, certain=True)
    if reply.status in (400, 422) and not said.params:
        plainest = replace(used, form="prompt", temperature=False)
        return None if plainest == used else DialectError(error, plainest, certain=False)
    return None


def _without_blamed(used: Dialect, said: Complaint, *, is_down: bool) -> Dialect | None:
    """The dialect without what the server names; its explicit parameters count before its words.

    A server that fails (``is_down``) fails by the form alone: a grammar it cannot build.
    """
    for text in (" ".join(sorted(said.params)), said.words):
        if used.form in _LOWER and _FORM_WORDS.search(text):
            return replace(used, form=_LOWER[used.form])
        if is_down:
            continue
        if re.search(rf"\b{used.tokens_field}\b", text):
            return replace(used, tokens_field=_OTHER[used.tokens_field])
        if used.temperature and re.search(r"\btemperature\b", text, re.IGNORECASE):
            return replace(used, temperature=False)
        if used.system and _SYSTEM_WORDS.search(text):
            return replace(used, system=False)
    return None


def _is_too_long(said: Complaint) -> bool:
    return "context_length_exceeded" in said.kinds or bool(_TOO_LONG.search(said.words))


def _compact(schema: Any) -> str:
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
