"""Calls to DataForSEO as values; nothing here does I/O.

HTTP Basic with the account's login and API password. One credit is one request, whatever the
number of keywords (about US$0.09; the reply says the exact cost), and 12 requests a minute.
"""

from collections.abc import Sequence

from serpline.core.clock import Clock
from serpline.core.ids import digest
from serpline.domain.errors import ProviderError
from serpline.domain.http import HttpReply, HttpRequest, ProviderCall
from serpline.domain.keywords import searched
from serpline.providers.dataforseo import errors
from serpline.providers.dataforseo.errors import PROVIDER
from serpline.providers.dataforseo.wire import SearchVolumes, search_volumes, unsupported

KEYWORDS_PER_CALL_MAX = 1_000
_PATH = "/v3/keywords_data/google_ads/search_volume/live"
# "Live" waits for Google Ads; a thousand keywords take a while.
_TIMEOUT_SECONDS = 120.0


class DataForSeoClient:
    """Builds the calls. ``clock`` only turns a ``Retry-After`` date into seconds."""

    def __init__(self, base_url: str, login: str, password: str, clock: Clock) -> None:
        self._base_url = base_url.rstrip("/")
        self._login = login
        self._password = password
        self._clock = clock

    def __repr__(self) -> str:
        """Without login and password."""
        return f"DataForSeoClient({self._base_url!r})"

    def search_volume(
        self, keywords: Sequence[str], location_code: int, language_code: str | None
    ) -> ProviderCall[SearchVolumes]:
        """Volumes and costs of 1 to 1,000 keywords in one market (codes of DataForSEO).

        Without a language the field is left out, and the volumes are those of all languages
        (docs.dataforseo.com/v3/keywords_data/google_ads/search_volume/live).

        Every keyword must be one that ``wire.unsupported`` has nothing against: ValueError.
        """
        asked = [searched(keyword) for keyword in keywords]
        if not 1 <= len(asked) <= KEYWORDS_PER_CALL_MAX:
            raise ValueError(f"{len(asked)} keywords in one call: 1 to {KEYWORDS_PER_CALL_MAX}")
        for keyword in asked:
            if reason := unsupported(keyword):
                raise ValueError(f"keyword {keyword[:100]!r}: {reason}")
        market: dict[str, int | str] = {"location_code": location_code}
        if language_code is not None:
            market["language_code"] = language_code
        request = HttpRequest(
            "POST",
            self._base_url + _PATH,
            json=[{"keywords": asked, **market}],
            basic_auth=(self._login, self._password),
            # Not the login: it may be a plain word, and masking it would change keywords.
            secrets=tuple(filter(None, (self._password,))),
            timeout_seconds=_TIMEOUT_SECONDS,
        )

        def task(reply: HttpReply) -> SearchVolumes:
            found = errors.task_of(reply, self._clock.now(), request.secrets)
            return search_volumes(found, len(asked))

        identity = {**market, "count": len(asked), "keywords": digest(asked)}
        return ProviderCall(
            PROVIDER, "search_volume", request, identity, task, credits=1.0, billed=self._billed
        )

    def _billed(self, reply: HttpReply) -> float:
        """One request if the task was done, else none: failures are not charged."""
        try:
            errors.task_of(reply, self._clock.now())
        except ProviderError:
            return 0.0
        return 1.0
