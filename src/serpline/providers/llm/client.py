"""Calls to a language model as values; nothing here does I/O.

What is asked about was written by strangers. It travels as one JSON object in the user message, so
that no text can pretend to be anything around it, cut to a bound, and the system message says that
it is data. The reply's shape is forced by a strict JSON schema, so the worst an injected sentence
can do is to bend the answer about its own page, video or channel.

One credit is one token (prompt and completion).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from serpline.core.clock import Clock
from serpline.core.ids import digest
from serpline.domain.errors import ProviderError
from serpline.domain.http import HttpReply, HttpRequest, ProviderCall
from serpline.domain.replies import json_object
from serpline.providers.llm import errors
from serpline.providers.llm.analysis import ANALYSIS, Analysis
from serpline.providers.llm.errors import PROVIDER
from serpline.providers.llm.owner import OWNER, ChannelOwner
from serpline.providers.llm.wire import Question, total_tokens

T = TypeVar("T")

TEXT_CHARACTERS_MAX: Final = 8_000
TITLE_CHARACTERS_MAX = 300
URL_CHARACTERS_MAX = 500
KEYWORDS_MAX = 20
KEYWORD_CHARACTERS_MAX = 200
CHANNEL_TEXT_CHARACTERS_MAX = 2_000
COMPLETION_TOKENS_MAX = 2_000
_TIMEOUT_SECONDS = 120.0
_REPLY_BYTES_MAX = 2_000_000


class LlmClient:
    """Builds the calls. ``clock`` only turns a ``Retry-After`` date into seconds.

    ``base_url`` with or without a final ``/v1``. An empty ``api_key`` sends no Authorization, as
    local servers like it. ``temperature`` None is not sent: some models refuse the parameter.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        model: str,
        clock: Clock,
        *,
        temperature: float | None = 0.0,
    ) -> None:
        self._url = base_url.rstrip("/").removesuffix("/v1") + "/v1/chat/completions"
        self._api_key = api_key
        self._model = model
        self._clock = clock
        self._temperature = temperature

    def __repr__(self) -> str:
        """Without the key."""
        return f"LlmClient({self._url!r}, model={self._model!r})"

    def analyse_page(
        self, url: str, title: str, text: str, keywords: Sequence[str], language: str
    ) -> ProviderCall[Analysis]:
        """Judge a page by its extracted text (the first 8,000 characters).

        ``keywords``: the most important first, 1 to 20; further ones are left out.
        """
        content = {
            "url": url[:URL_CHARACTERS_MAX],
            "title": title[:TITLE_CHARACTERS_MAX],
            "text": text[:TEXT_CHARACTERS_MAX],
        }
        return self._analyse("analyse_page", content, keywords, language)

    def analyse_video(
        self, title: str, description: str, keywords: Sequence[str], language: str = ""
    ) -> ProviderCall[Analysis]:
        """Judge a video by its title and its description (the first 8,000 characters)."""
        content = {
            "title": title[:TITLE_CHARACTERS_MAX],
            "description": description[:TEXT_CHARACTERS_MAX],
        }
        return self._analyse("analyse_video", content, keywords, language)

    def channel_owner(
        self, title: str, handle: str, description: str, country: str = ""
    ) -> ProviderCall[ChannelOwner]:
        """Who runs a channel, by its title, handle, country and description (2,000 characters)."""
        content = {
            "title": title[:TITLE_CHARACTERS_MAX],
            "handle": handle[:TITLE_CHARACTERS_MAX],
            "description": description[:CHANNEL_TEXT_CHARACTERS_MAX],
            "country": country[:TITLE_CHARACTERS_MAX],
        }
        return self._ask("channel_owner", OWNER, _said(content))

    def _analyse(
        self, operation: str, content: Mapping[str, str], keywords: Sequence[str], language: str
    ) -> ProviderCall[Analysis]:
        words = [_sendable(k[:KEYWORD_CHARACTERS_MAX]) for k in keywords[:KEYWORDS_MAX]]
        if not words:
            raise ValueError("an analysis needs the keyword it is relevant to")
        subject: dict[str, Any] = {"keyword": words[0]}
        if words[1:]:
            subject["other_keywords"] = words[1:]
        subject |= _said(content)
        if language:
            subject["language"] = _sendable(language)
        return self._ask(operation, ANALYSIS, subject)

    def _ask(
        self, operation: str, question: Question[T], subject: Mapping[str, Any]
    ) -> ProviderCall[T]:
        body = self._body(question, subject)
        request = HttpRequest(
            "POST",
            self._url,
            headers={"Authorization": f"Bearer {self._api_key}"} if self._api_key else {},
            json=body,
            secrets=(self._api_key,) if self._api_key else (),
            timeout_seconds=_TIMEOUT_SECONDS,
            size_bytes_max=_REPLY_BYTES_MAX,
        )

        def parse(reply: HttpReply) -> T:
            return question.read(errors.answer(reply, self._clock.now(), request.secrets), reply)

        most = _tokens_at_most(body)
        return ProviderCall(
            PROVIDER,
            operation,
            request,
            {"model": self._model, "schema": question.name, "body": digest(body)},
            parse,
            credits=most,
            billed=lambda reply: _billed(reply, most),
        )

    def _body(self, question: Question[Any], subject: Mapping[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [
                {"role": "system", "content": question.system},
                {"role": "user", "content": json.dumps(subject, ensure_ascii=False)},
            ],
            "response_format": {
                "type": "json_schema",
                "json_schema": {
                    "name": question.name,
                    "strict": True,
                    "schema": dict(question.schema),
                },
            },
            "max_completion_tokens": COMPLETION_TOKENS_MAX,
        }
        if self._temperature is not None:
            body["temperature"] = self._temperature
        return body


def _said(content: Mapping[str, str]) -> dict[str, str]:
    return {name: _sendable(value) for name, value in content.items() if value}


def _sendable(text: str) -> str:
    """Without halves of surrogate pairs, which a page can contain and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def _tokens_at_most(body: Mapping[str, Any]) -> float:
    """A ceiling for natural text: a token is rarely less than three bytes of UTF-8."""
    text = json.dumps([body["messages"], body["response_format"]], ensure_ascii=False)
    return float(len(text.encode()) // 3 + COMPLETION_TOKENS_MAX)


def _billed(reply: HttpReply, most: float) -> float:
    """Tokens as the reply counts them; an error costs none, an uncounted answer the ceiling."""
    if not 200 <= reply.status < 300:
        return 0.0
    try:
        body = json_object(reply, PROVIDER)
    except ProviderError:
        return most
    said = total_tokens(body)
    if said is not None:
        return said
    return most if body.get("choices") else 0.0
