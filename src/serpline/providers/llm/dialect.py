"""The dialect of a model server: the optional parts of a request that it accepts.

"OpenAI-compatible" servers refuse different things. ``FIRST`` uses every useful part under its most
common name. After a refusal, or an answer that ignores the form, ``other_dialect`` derives the next
dialect to try. Each step gives up one part, so a negotiation ends. This module is pure:
``phases/model_calls`` tries dialects and stores the one that works.

- Every server accepts ``max_tokens``, except OpenAI's reasoning models, which require
  ``max_completion_tokens`` (pydantic-ai issue 1205). Ollama ignores the newer name: its list of
  fields lacks it (docs.ollama.com/api/openai-compatibility). Mistral refuses it.
- The same models accept only their default temperature (decolua/9router issue 560).
- DeepSeek refuses ``json_schema``, Perplexity ``json_object`` (567-labs/instructor issue 1005),
  Groq either, by model; Ollama's cloud accepts ``json_schema`` and ignores it (pydantic.dev,
  models/ollama).
- Some models accept no system message (Gemma's and older Mistral templates, o1-mini).
- A thinking model spends the limit on its thoughts before the answer begins.
"""

import json
import re
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.providers.llm.error_body import ErrorBody, read_error_body
from serpline.providers.llm.errors import PROVIDER
from serpline.providers.llm.wire import CutOffError, FormError, Question

Form = Literal["json_schema", "json_object", "prompt"]
TokensField = Literal["max_tokens", "max_completion_tokens"]

COMPLETION_TOKENS_MAX: Final = 2_000
# The output limit of most models; enough for thoughts about one page.
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
# Statuses of a refusal that the request's form may have caused.
_REFUSING = frozenset({400, 404, 415, 422, 500, 501})


@dataclass(frozen=True, slots=True)
class Dialect:
    """A server's dialect.

    ``form``: how JSON is requested. ``tokens_max``: the limit of an answer, sent as
    ``tokens_field``. ``temperature``: whether one is sent. ``system``: whether the instruction is a
    message of its own.
    """

    form: Form = "json_schema"
    tokens_field: TokensField = "max_tokens"
    tokens_max: int = COMPLETION_TOKENS_MAX
    temperature: bool = True
    system: bool = True

    def body(self, question: Question[Any], subject: str) -> dict[str, Any]:
        """The request's body without the model; ``subject`` is the user message."""
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
    """The request failed because of its dialect; ``instead`` may succeed.

    ``certain``: the server names the cause. Otherwise the cause may be this answer or text, so the
    error counts only until the dialect in use has succeeded once.
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
    """``error`` with the dialect to try next; None if another dialect cannot help."""
    if isinstance(error, CutOffError):
        if error.thinking and used.tokens_max < THOUGHT_TOKENS_MAX:
            more = replace(used, tokens_max=THOUGHT_TOKENS_MAX)
            return DialectError(error, more, certain=True)
        return None
    if error.category is ErrorCategory.UNUSABLE:
        ignored = not isinstance(error, FormError) or error.violates_schema
        if ignored and used.form in _LOWER:
            return DialectError(error, replace(used, form=_LOWER[used.form]), certain=False)
        return None
    if error.category not in (ErrorCategory.BAD_REQUEST, ErrorCategory.SERVER):
        return None
    return _refused(used, reply, error)


def _refused(used: Dialect, reply: HttpReply, error: ProviderError) -> DialectError | None:
    body = read_error_body(reply)
    if reply.status not in _REFUSING or _is_too_long(body):
        return None
    instead = _without_blamed(used, body, is_down=reply.status >= 500)
    if instead is not None:
        return DialectError(error, instead, certain=True)
    if reply.status in (400, 422) and not body.params:
        plainest = replace(used, form="prompt", temperature=False)
        return None if plainest == used else DialectError(error, plainest, certain=False)
    return None


def _without_blamed(used: Dialect, body: ErrorBody, *, is_down: bool) -> Dialect | None:
    """The dialect without the part that the server names, in its parameters or else in its words.

    A server error (``is_down``) can only come from the form: a grammar that cannot be built.
    """
    for text in (" ".join(sorted(body.params)), body.words):
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


def _is_too_long(body: ErrorBody) -> bool:
    return "context_length_exceeded" in body.kinds or bool(_TOO_LONG.search(body.words))


def _compact(schema: Any) -> str:
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
