"""Finds the JSON object in a model's answer.

Promise: the object is found as a JSON object, in a list of parts, as text, after a thought (closed,
unclosed, or with its end tag alone), in code fences, between sentences, as JSON within a JSON
string, and in the reasoning field if the server put the whole answer there. Of several objects the
last with all required keys wins, because models draft before they answer. Invalid JSON is not
repaired. Limits: ``TEXT_CHARACTERS_MAX`` of text, ``STARTS_MAX`` opening braces.

Sources of the forms: posit-dev/chatlas (Cloudflare: an object), vercel/ai (Magistral: parts),
pydantic-ai's recordings (Groq: ``<think>``), vllm-project/vllm issues 48863 and 15618 (content
null, the answer in ``reasoning_content``).
"""

import json
from collections.abc import Collection, Iterator
from typing import Any

from serpline.domain.replies import as_list, as_object, as_text, no_constant
from serpline.domain.text import storable

TEXT_CHARACTERS_MAX = 200_000
STARTS_MAX = 50
# The ends of a thought: tags of Qwen, DeepSeek, Gemma and Magistral, gpt-oss's channel header.
_THOUGHT_ENDS = ("</think>", "</thinking>", "</thought>", "</reasoning>", "[/THINK]", "<|message|>")
_THOUGHT_STARTS = ("<think>", "<thinking>", "<thought>", "<reasoning>", "[THINK]")
_THOUGHT_FIELDS = ("reasoning_content", "reasoning")
_PARTS_OF_TEXT = (None, "text", "output_text")
_DECODER = json.JSONDecoder(parse_constant=no_constant)


def find_object(message: dict[str, Any], required_keys: Collection[str]) -> dict[str, Any] | None:
    """The JSON object in the assistant's ``message``, or None."""
    content = message.get("content")
    if isinstance(content, dict):
        return content
    found = object_in(text_of(content), required_keys)
    if found is None and not text_of(content).strip():
        thoughts = (
            object_in(as_text(message.get(f)) or "", required_keys) for f in _THOUGHT_FIELDS
        )
        found = next((thought for thought in thoughts if thought is not None), None)
    return found


def text_of(content: Any) -> str:
    """The text of a content: a string, or parts without thoughts and images."""
    if isinstance(content, str):
        return content
    texts = []
    for part in as_list(content):
        if isinstance(part, str):
            texts.append(part)
        elif as_object(part).get("type") in _PARTS_OF_TEXT:
            texts.append(as_text(as_object(part).get("text")) or "")
    return "".join(texts)


def has_thought(message: dict[str, Any]) -> bool:
    """Whether the message contains the model's thoughts."""
    parts = [as_object(part).get("type") for part in as_list(message.get("content"))]
    text = text_of(message.get("content")).lstrip()
    return bool(
        any(as_text(message.get(field)) for field in _THOUGHT_FIELDS)
        or "thinking" in parts
        or "reasoning" in parts
        or text.startswith(_THOUGHT_STARTS)
    )


def object_in(text: str, required_keys: Collection[str]) -> dict[str, Any] | None:
    """The JSON object in ``text``: the whole text, else after the last thought, else anywhere."""
    text = text.strip().lstrip("\ufeff")[:TEXT_CHARACTERS_MAX]
    whole = _whole(text)
    if whole is not None:
        return whole
    end = max((text.rfind(mark) + len(mark) for mark in _THOUGHT_ENDS if mark in text), default=0)
    found: list[dict[str, Any]] = []
    for part in (text[end:], text[:end]):
        found += list(_objects(part))
        fitting = [each for each in found if all(key in each for key in required_keys)]
        if fitting:
            return fitting[-1]
    return found[-1] if found else None


def _whole(text: str) -> dict[str, Any] | None:
    value = _decoded(text)
    if isinstance(value, str):
        value = _decoded(value.strip())
    return value if isinstance(value, dict) else None


def _decoded(text: str) -> Any:
    try:
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return storable(value) if not text[end:].strip() else None


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The outermost objects that begin at one of the first ``STARTS_MAX`` braces."""
    at = -1
    for _ in range(STARTS_MAX):
        at = text.find("{", at + 1)
        if at < 0:
            return
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            continue
        at = end - 1
        yield storable(value)
