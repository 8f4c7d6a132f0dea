"""Parses a model server's error body: its message, the parameters it names and its error codes.

OpenAI-compatible servers share no error document. ``error`` is an object (OpenAI), a text (Ollama,
LM Studio) or a list (Cloudflare's gateway); ``message`` is at the top (Mistral, vLLM) and may be an
object; ``detail`` is a text or FastAPI's list of places; Gemini wraps the document in a list;
OpenRouter quotes the upstream server in ``metadata.raw``.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from serpline.domain.errors import ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.replies import as_count, as_list, as_object, as_text, json_value

CHARACTERS_MAX = 2_000
_DEPTH_MAX = 6
_ITEMS_MAX = 3
# The keys of a message; the first that has text wins.
_PLACES = ("error", "message", "detail", "errors", "msg", "error_description", "title", "details")
# The keys of an upstream server's quoted message.
_QUOTES = ("raw", "reasons")
_KINDS = ("code", "type", "status", "reason", "error_type", "quotaId")
_PARTS = ("error", "errors", "message", "detail", "details", "innererror", "metadata", "violations")


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """An error body.

    ``words``: the message for a person. ``params``: the request fields it names. ``kinds``: its
    codes and types in lower case. ``status``: the HTTP status in the document, or None.
    """

    words: str
    params: frozenset[str]
    kinds: frozenset[str]
    status: int | None


def read_error_body(reply: HttpReply) -> ErrorBody:
    """Parse an error body; the fields of an unreadable one are empty."""
    try:
        value = json_value(reply, "llm")
    except ProviderError:
        return ErrorBody(_plain(reply), frozenset(), frozenset(), None)
    objects = list(_objects(value, 0))
    params = {as_text(each.get("param")) for each in objects} | set(_places(objects))
    kinds = {str(each[kind]).lower() for each in objects for kind in _KINDS if _is_kind(each, kind)}
    statuses = [as_count(each.get("code")) for each in objects]
    return ErrorBody(
        words="; ".join(dict.fromkeys(_words(value, 0)))[:CHARACTERS_MAX],
        params=frozenset(filter(None, params)),
        kinds=frozenset(kinds),
        status=next((status for status in statuses if status and 400 <= status <= 599), None),
    )


def _words(value: Any, depth: int) -> Iterator[str]:
    if depth > _DEPTH_MAX:
        return
    if isinstance(value, str):
        inner = _quoted(value)
        if inner is not None:
            yield from _words(inner, depth + 1)
        elif value.strip():
            yield " ".join(value.split())
    elif isinstance(value, list):
        for item in value[:_ITEMS_MAX]:
            yield from _words(item, depth + 1)
    elif isinstance(value, dict):
        place = as_list(value.get("loc"))
        for key in _PLACES:
            found = list(_words(value.get(key), depth + 1))
            if found:
                yield from ([f"{place[-1]}: {found[0]}"] if place else found)
                break
        for quote in _QUOTES:
            yield from _words(as_object(value.get("metadata")).get(quote), depth + 1)


def _quoted(text: str) -> Any:
    """The JSON document in a string, or None."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _objects(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """The document and the objects in it that describe errors."""
    if depth > _DEPTH_MAX:
        return
    if isinstance(value, str):
        value = _quoted(value)
    for item in as_list(value)[:_ITEMS_MAX]:
        yield from _objects(item, depth + 1)
    if isinstance(value, dict):
        yield value
        for part in (*_PARTS, "raw"):
            yield from _objects(value.get(part), depth + 1)


def _places(objects: list[dict[str, Any]]) -> Iterator[str]:
    """The names in FastAPI's ``loc``, the path to the field."""
    for each in objects:
        yield from (str(step) for step in as_list(each.get("loc")) if step != "body")


def _is_kind(value: dict[str, Any], kind: str) -> bool:
    return isinstance(value.get(kind), str | int)


def _plain(reply: HttpReply) -> str:
    """The text of a body that is not JSON; empty for HTML."""
    text = reply.body[: CHARACTERS_MAX * 4].decode("utf-8", "replace").strip()
    return "" if re.match(r"\s*<", text) else text[:CHARACTERS_MAX]
