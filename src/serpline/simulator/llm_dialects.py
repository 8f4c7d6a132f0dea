"""Dialects of OpenAI-compatible servers.

Each is modelled on recordings and issue threads of its vendor (listed in ``providers/llm/dialect``
and in decision 12): the path and key header, the refused fields and the error texts, the JSON
formats that are enforced, ignored or refused, and the form of the answer. Limit: one model per
dialect, although vendors also differ by model.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from serpline.domain.errors import UserError

Handling = Literal["enforced", "ignored", "refused"]
Document = tuple[int, Any]

THOUGHT = "Let me think. {A draft} may come first, the answer last."
_ALL: Mapping[str, Handling] = MappingProxyType(
    {"json_schema": "enforced", "json_object": "enforced"}
)


def _openai(field: str, words: str) -> Document:
    error = {"message": words, "type": "invalid_request_error", "param": field, "code": None}
    return 400, {"error": error}


def _message_only(field: str, words: str) -> Document:
    """Only the message names the field."""
    error = {"message": words, "type": "invalid_request_error", "param": None, "code": None}
    return 400, {"error": error}


def _mistral(field: str, words: str) -> Document:
    detail = [{"type": "extra_forbidden", "loc": ["body", field], "msg": words, "input": 1}]
    return 422, {"object": "error", "message": {"detail": detail}, "type": "invalid_request_error"}


def _google(field: str, words: str) -> Document:
    return 400, [{"error": {"code": 400, "message": words, "status": "INVALID_ARGUMENT"}}]


def _text(field: str, words: str) -> Document:
    return 400, {"error": words}


def _top(field: str, words: str) -> Document:
    return 400, {"object": "error", "message": words, "type": "BadRequestError", "code": 400}


def _cloudflare(field: str, words: str) -> Document:
    return 400, {"success": False, "errors": [{"code": 5006, "message": words}], "result": {}}


def _openrouter(field: str, words: str) -> Document:
    raw = json.dumps({"error": {"message": words}})
    metadata = {"provider_name": "Upstream", "raw": raw}
    return 400, {"error": {"code": 400, "message": "Provider returned error", "metadata": metadata}}


@dataclass(frozen=True, slots=True)
class LlmDialect:
    """One server. ``path`` precedes ``/chat/completions``; ``query`` is required.

    ``thought_tokens`` are spent before the answer. ``refuse`` builds an error from a field and a
    message. ``message`` builds the assistant's message from the answer's object.
    """

    name: str
    path: str = "v1"
    query: str = ""
    key_header: str = "authorization"
    unknown_fields: frozenset[str] = frozenset()
    response_formats: Mapping[str, Handling] = field(default_factory=lambda: _ALL)
    accepts_system: bool = True
    thought_tokens: int = 0
    reports_usage: bool = True
    reports_model: bool = True
    refuse: Callable[[str, str], Document] = _openai
    message: Callable[[Any], dict[str, Any]] = lambda answer: {"content": _json(answer)}

    @property
    def base_path(self) -> str:
        """The part of the base URL after the simulator's address."""
        if self.path == "v1":
            return ""
        return (f"/{self.path}" if self.path else "/chat/completions") + self.query

    def refusal(self, body: Mapping[str, Any]) -> Document | None:
        """The server's refusal of a request; None if it accepts it."""
        for name in sorted(self.unknown_fields.intersection(body)):
            return self.refuse(name, _refusal_text(name))
        response_format = body.get("response_format")
        form = response_format.get("type") if isinstance(response_format, dict) else None
        if self.response_formats.get(str(form)) == "refused":
            return self.refuse("response_format", f"This response_format {form} is unavailable")
        messages = body.get("messages")
        roles = [each.get("role") for each in messages or () if isinstance(each, dict)]
        if not self.accepts_system and "system" in roles:
            return self.refuse("messages", "Developer instruction is not enabled for this model")
        return None


def _refusal_text(name: str) -> str:
    if name == "max_tokens":
        return (
            "Unsupported parameter: 'max_tokens' is not supported with this model."
            " Use 'max_completion_tokens' instead."
        )
    if name == "temperature":
        return "Unsupported value: 'temperature' does not support 0 with this model."
    return f"{name}: extra inputs are not permitted"


def _json(answer: Any) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def _tagged(answer: Any) -> dict[str, Any]:
    return {"content": f"<think>\n{THOUGHT}\n</think>\n\n{_json(answer)}"}


def _parts(answer: Any) -> dict[str, Any]:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}
    return {"content": [thinking, {"type": "text", "text": _json(answer)}]}


def _fenced(answer: Any) -> dict[str, Any]:
    return {"content": f"Here is the JSON:\n```json\n{_json(answer)}\n```\nAnything else?"}


def _beside(answer: Any) -> dict[str, Any]:
    return {"content": _json(answer), "reasoning_content": THOUGHT}


def _misplaced(answer: Any) -> dict[str, Any]:
    return {"content": None, "reasoning_content": _json(answer)}


def _object(answer: Any) -> dict[str, Any]:
    return {"content": answer, "refusal": None}


_NO_SCHEMA: Mapping[str, Handling] = {"json_schema": "refused", "json_object": "enforced"}
_NO_OBJECT: Mapping[str, Handling] = {"json_schema": "enforced", "json_object": "refused"}
_NO_FORM: Mapping[str, Handling] = {"json_schema": "refused", "json_object": "refused"}
_IGNORED: Mapping[str, Handling] = {"json_schema": "ignored", "json_object": "ignored"}
_NEWER = frozenset({"max_completion_tokens"})

DIALECTS: Mapping[str, LlmDialect] = {
    dialect.name: dialect
    for dialect in (
        LlmDialect("openai"),
        LlmDialect(
            "openai-reasoning",
            unknown_fields=frozenset({"max_tokens", "temperature"}),
            thought_tokens=3_000,
        ),
        LlmDialect(
            "azure",
            path="openai/deployments/gpt-4o-mini",
            query="?api-version=2024-06-01",
            key_header="api-key",
            response_formats=_NO_SCHEMA,
        ),
        LlmDialect("mistral", unknown_fields=_NEWER, refuse=_mistral, message=_parts),
        LlmDialect("deepseek", response_formats=_NO_SCHEMA, refuse=_message_only, message=_beside),
        LlmDialect(
            "gemini",
            path="v1beta/openai",
            response_formats=_NO_FORM,
            accepts_system=False,
            refuse=_google,
            message=_fenced,
        ),
        LlmDialect(
            "groq",
            path="openai/v1",
            response_formats=_NO_SCHEMA,
            refuse=_message_only,
            message=_tagged,
        ),
        LlmDialect("ollama", key_header="", response_formats=_IGNORED, refuse=_text),
        LlmDialect("vllm", refuse=_top, message=_misplaced),
        LlmDialect(
            "llama.cpp", key_header="", response_formats=_NO_SCHEMA, refuse=_top, message=_fenced
        ),
        LlmDialect(
            "cloudflare",
            path="client/v4/accounts/sim/ai/v1",
            refuse=_cloudflare,
            reports_usage=False,
            message=_object,
        ),
        LlmDialect("openrouter", path="api/v1", refuse=_openrouter, reports_model=False),
        LlmDialect(
            "perplexity", path="", response_formats=_NO_OBJECT, refuse=_top, message=_tagged
        ),
    )
}


def dialect_named(name: str) -> LlmDialect:
    """The dialect of that name. Raises ``UserError`` if it is unknown."""
    try:
        return DIALECTS[name]
    except KeyError:
        known = ", ".join(DIALECTS)
        raise UserError(f"dialect {name!r}: unknown; known are {known}") from None
