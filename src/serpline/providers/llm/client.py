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
from serpline.providers.llm.address import endpoint, key_headers
from serpline.providers.llm.analysis import Analysis, analysis_for, named
from serpline.providers.llm.dialect import FIRST, Dialect, other_dialect
from serpline.providers.llm.errors import PROVIDER
from serpline.providers.llm.owner import OWNER, ChannelOwner
from serpline.providers.llm.wire import Question, total_tokens

T = TypeVar("T")

TEXT_CHARACTERS_MAX: Final = 8_000
TITLE_CHARACTERS_MAX = 300
URL_CHARACTERS_MAX = 500
KEYWORDS_MAX = 20
CHANNEL_TEXT_CHARACTERS_MAX = 2_000
_TIMEOUT_SECONDS = 120.0
_REPLY_BYTES_MAX = 2_000_000


class LlmClient:
    """Builds the calls. ``clock`` only turns a ``Retry-After`` date into seconds.

    ``base_url`` as in ``address``. An empty ``api_key`` sends none, as local servers like it.
    ``dialect`` is what the server is asked in; a call that fails by it raises ``DialectError``.
    """

    def __init__(
        self, base_url: str, api_key: str, model: str, clock: Clock, *, dialect: Dialect = FIRST
    ) -> None:
        self._url = endpoint(base_url)
        self._api_key = api_key
        self._clock = clock
        self.model = model
        self.dialect = dialect

    def __repr__(self) -> str:
        """Without the key."""
        return f"LlmClient({self.server!r}, model={self.model!r})"

    @property
    def server(self) -> str:
        """The server's address without its query, which may hold a secret."""
        return self._url.partition("?")[0]

    def with_dialect(self, dialect: Dialect) -> "LlmClient":
        """The same client in another dialect."""
        return LlmClient(self._url, self._api_key, self.model, self._clock, dialect=dialect)

    def analyse_page(
        self, url: str, title: str, text: str, keywords: Sequence[str], language: str
    ) -> ProviderCall[Analysis]:
        """Judge a page by its extracted text (the first 8,000 characters).

        ``keywords``: 1 to 20, and the ``language`` (BCP 47) of the market they are searched in.
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
        return self.ask("channel_owner", OWNER, _said(content))

    def _analyse(
        self, operation: str, content: Mapping[str, str], keywords: Sequence[str], language: str
    ) -> ProviderCall[Analysis]:
        if not 1 <= len(keywords) <= KEYWORDS_MAX:
            raise ValueError(f"{len(keywords)} keywords: must be 1 to {KEYWORDS_MAX}")
        words = {name: _sendable(keyword) for name, keyword in named(keywords).items()}
        subject: dict[str, Any] = {"keywords": words, **_said(content)}
        if language:
            subject["language"] = _sendable(language)
        return self.ask(operation, analysis_for(keywords), subject)

    def ask(
        self, operation: str, question: Question[T], subject: Mapping[str, Any]
    ) -> ProviderCall[T]:
        """Ask any question about a subject. The dialect is no part of the purchase's identity."""
        body = {"model": self.model, **self._body(question, subject)}
        request = HttpRequest(
            "POST",
            self._url,
            headers=key_headers(self._url, self._api_key),
            json=body,
            secrets=(self._api_key,) if self._api_key else (),
            timeout_seconds=_TIMEOUT_SECONDS,
            size_bytes_max=_REPLY_BYTES_MAX,
        )

        def parse(reply: HttpReply) -> T:
            try:
                body = errors.answer(reply, self._clock.now(), request.secrets)
                return question.read(body, reply)
            except ProviderError as error:
                other = other_dialect(self.dialect, reply, error)
                raise (other or error) from None

        most = _tokens_at_most(body, self.dialect)
        asked = digest([question.system, dict(question.schema), dict(subject)])
        return ProviderCall(
            PROVIDER,
            operation,
            request,
            {"model": self.model, "schema": question.name, "body": asked},
            parse,
            credits=most,
            billed=lambda reply: _billed(reply, most),
        )

    def _body(self, question: Question[Any], subject: Mapping[str, Any]) -> dict[str, Any]:
        return self.dialect.body(question, json.dumps(subject, ensure_ascii=False))


def _said(content: Mapping[str, str]) -> dict[str, str]:
    return {name: _sendable(value) for name, value in content.items() if value}


def _sendable(text: str) -> str:
    """Without halves of surrogate pairs, which a page can contain and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def _tokens_at_most(body: Mapping[str, Any], dialect: Dialect) -> float:
    """A ceiling for natural text: a token is rarely less than three bytes of UTF-8."""
    text = json.dumps([body["messages"], body.get("response_format")], ensure_ascii=False)
    return float(len(text.encode()) // 3 + dialect.tokens_max)


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
