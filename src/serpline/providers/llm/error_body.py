"""What a model server says about a request it refuses: its words, and what it blames.

Servers of this wire agree on no error document. ``error`` is an object (OpenAI), a text (Ollama,
LM Studio) or a list (Cloudflare's gateway); ``message`` stands at the top (Mistral, vLLM) and may
be an object itself; ``detail`` is a text or FastAPI's list of places; Gemini wraps the document in
a list; OpenRouter quotes the upstream server in ``metadata.raw``. All of them are read here, once.
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
# Where words are looked for; the first place that has any counts.
_PLACES = ("error", "message", "detail", "errors", "msg", "error_description", "title", "details")
# Servers that quote another one add its words here.
_QUOTES = ("raw", "reasons")
_KINDS = ("code", "type", "status", "reason", "error_type", "quotaId")
_PARTS = ("error", "errors", "message", "detail", "details", "innererror", "metadata", "violations")


@dataclass(frozen=True, slots=True)
class Complaint:
    """``words`` for a person; ``params`` the request fields named as such; ``kinds`` in lower case.

    ``status`` is the HTTP status that the document claims for itself, None if it claims none.
    """

    words: str
    params: frozenset[str]
    kinds: frozenset[str]
    status: int | None


def complaint(reply: HttpReply) -> Complaint:
    """Read an error document; one that cannot be read says nothing."""
    try:
        value = json_value(reply, "llm")
    except ProviderError:
        return Complaint(_plain(reply), frozenset(), frozenset(), None)
    objects = list(_objects(value, 0))
    params = {as_text(each.get("param")) for each in objects} | set(_places(objects))
    kinds = {str(each[kind]).lower() for each in objects for kind in _KINDS if _is_kind(each, kind)}
    statuses = [as_count(each.get("code")) for each in objects]
    return Complaint(
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
    """A document that is quoted as a string."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _objects(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """The document and what stands in it where errors are described."""
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
    """FastAPI's ``loc``: every name on the way to the field."""
    for each in objects:
        yield from (str(step) for step in as_list(each.get("loc")) if step != "body")


def _is_kind(value: dict[str, Any], kind: str) -> bool:
    return isinstance(value.get(kind), str | int)


def _plain(reply: HttpReply) -> str:
    """The words of a plain text; a page of HTML is meant for nobody here."""
    text = reply.body[: CHARACTERS_MAX * 4].decode("utf-8", "replace").strip()
    return "" if re.match(r"\s*<", text) else text[:CHARACTERS_MAX]
