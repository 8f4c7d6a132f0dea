"""The JSON object in what a model wrote, however its server hands it over.

Promise: an object is found as a JSON object, in a list of parts, as text, after a thought (closed,
unclosed, or with its end alone), in code fences, between sentences, as JSON within a JSON string,
and in the reasoning field of a server that took the whole answer for a thought. Of several objects
the last with all wanted keys counts, since models draft before they answer. Nothing is repaired: an
object that is no valid JSON is none. Limit: ``TEXT_CHARACTERS_MAX`` of text and ``STARTS_MAX``
opening braces are read.

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
# What ends a thought: tags of Qwen, DeepSeek and Gemma, Magistral's, and gpt-oss's channel header.
_THOUGHT_ENDS = ("</think>", "</thinking>", "</thought>", "</reasoning>", "[/THINK]", "<|message|>")
_THOUGHT_STARTS = ("<think>", "<thinking>", "<thought>", "<reasoning>", "[THINK]")
_THOUGHT_FIELDS = ("reasoning_content", "reasoning")
_PARTS_OF_TEXT = (None, "text", "output_text")
_DECODER = json.JSONDecoder(parse_constant=no_constant)


def find_object(message: dict[str, Any], wanted: Collection[str]) -> dict[str, Any] | None:
    """The object that the assistant's ``message`` answers with, or None."""
    content = message.get("content")
    if isinstance(content, dict):
        return content
    found = object_in(text_of(content), wanted)
    if found is None and not text_of(content).strip():
        thoughts = (object_in(as_text(message.get(f)) or "", wanted) for f in _THOUGHT_FIELDS)
        found = next((thought for thought in thoughts if thought is not None), None)
    return found


def text_of(content: Any) -> str:
    """The text of a content: a string, or parts of which thoughts and images are left out."""
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
    """Whether the message shows that the model thought before it answered."""
    parts = [as_object(part).get("type") for part in as_list(message.get("content"))]
    text = text_of(message.get("content")).lstrip()
    return bool(
        any(as_text(message.get(field)) for field in _THOUGHT_FIELDS)
        or "thinking" in parts
        or "reasoning" in parts
        or text.startswith(_THOUGHT_STARTS)
    )


def object_in(text: str, wanted: Collection[str]) -> dict[str, Any] | None:
    """The object that ``text`` holds: alone, else after its last thought, else anywhere."""
    text = text.strip().lstrip("\ufeff")[:TEXT_CHARACTERS_MAX]
    whole = _whole(text)
    if whole is not None:
        return whole
    end = max((text.rfind(mark) + len(mark) for mark in _THOUGHT_ENDS if mark in text), default=0)
    found: list[dict[str, Any]] = []
    for part in (text[end:], text[:end]):
        found += list(_objects(part))
        fitting = [each for each in found if all(key in each for key in wanted)]
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
