"""Builds calls to a language model; does no I/O.

Strangers wrote the texts. Each is cut to a bound and sent inside one JSON object in the user
message, so it cannot imitate the text around it; the system message declares it data. A strict JSON
schema forces the answer's shape, so an injected sentence can at worst change the answer about its
own page, video or channel.

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
from serpline.providers.llm.analysis import Analysis, analysis_for, keyword_names
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
    """Builds the calls. ``clock`` converts a ``Retry-After`` date to seconds.

    ``base_url``: see ``address``. An empty ``api_key`` sends no key, which local servers expect.
    ``dialect`` is that of the requests; a call that fails because of it raises ``DialectError``.
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
        """Leave out the key."""
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
        """Analyse a page by its extracted text (the first 8,000 characters).

        ``keywords``: 1 to 20; ``language``: that of their market (BCP 47).
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
        """Analyse a video by its title and its description (the first 8,000 characters)."""
        content = {
            "title": title[:TITLE_CHARACTERS_MAX],
            "description": description[:TEXT_CHARACTERS_MAX],
        }
        return self._analyse("analyse_video", content, keywords, language)

    def channel_owner(
        self, title: str, handle: str, description: str, country: str = ""
    ) -> ProviderCall[ChannelOwner]:
        """Find a channel's owner by title, handle, country and description (2,000 characters)."""
        content = {
            "title": title[:TITLE_CHARACTERS_MAX],
            "handle": handle[:TITLE_CHARACTERS_MAX],
            "description": description[:CHANNEL_TEXT_CHARACTERS_MAX],
            "country": country[:TITLE_CHARACTERS_MAX],
        }
        return self.ask("channel_owner", OWNER, _without_empty(content))

    def _analyse(
        self, operation: str, content: Mapping[str, str], keywords: Sequence[str], language: str
    ) -> ProviderCall[Analysis]:
        if not 1 <= len(keywords) <= KEYWORDS_MAX:
            raise ValueError(f"{len(keywords)} keywords: must be 1 to {KEYWORDS_MAX}")
        words = {name: _sendable(keyword) for name, keyword in keyword_names(keywords).items()}
        subject: dict[str, Any] = {"keywords": words, **_without_empty(content)}
        if language:
            subject["language"] = _sendable(language)
        return self.ask(operation, analysis_for(keywords), subject)

    def ask(
        self, operation: str, question: Question[T], subject: Mapping[str, Any]
    ) -> ProviderCall[T]:
        """Ask a question about a subject. The call's identity does not include the dialect."""
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

        tokens_max = _tokens_max(body, self.dialect)
        body_digest = digest([question.system, dict(question.schema), dict(subject)])
        return ProviderCall(
            PROVIDER,
            operation,
            request,
            {"model": self.model, "schema": question.name, "body": body_digest},
            parse,
            credits=tokens_max,
            billed=lambda reply: _billed(reply, tokens_max),
        )

    def _body(self, question: Question[Any], subject: Mapping[str, Any]) -> dict[str, Any]:
        return self.dialect.body(question, json.dumps(subject, ensure_ascii=False))


def _without_empty(content: Mapping[str, str]) -> dict[str, str]:
    return {name: _sendable(value) for name, value in content.items() if value}


def _sendable(text: str) -> str:
    """Replace halves of surrogate pairs, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()


def _tokens_max(body: Mapping[str, Any], dialect: Dialect) -> float:
    """An upper bound for natural text: a token rarely has less than three bytes of UTF-8."""
    text = json.dumps([body["messages"], body.get("response_format")], ensure_ascii=False)
    return float(len(text.encode()) // 3 + dialect.tokens_max)


def _billed(reply: HttpReply, tokens_max: float) -> float:
    """The reply's token count; 0 for an error, ``tokens_max`` for an answer without a count."""
    if not 200 <= reply.status < 300:
        return 0.0
    try:
        body = json_object(reply, PROVIDER)
    except ProviderError:
        return tokens_max
    tokens = total_tokens(body)
    if tokens is not None:
        return tokens
    return tokens_max if body.get("choices") else 0.0
