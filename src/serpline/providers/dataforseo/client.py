"""Builds calls to DataForSEO; does no I/O.

HTTP Basic with the account's login and API password. A request costs one credit for any number of
keywords (about US$0.09; the reply has the exact cost). The limit is 12 requests a minute.
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
# A "live" request waits for Google Ads, which is slow for a thousand keywords.
_TIMEOUT_SECONDS = 120.0


class DataForSeoClient:
    """Builds the calls. ``clock`` converts a ``Retry-After`` date to seconds."""

    def __init__(self, base_url: str, login: str, password: str, clock: Clock) -> None:
        self._base_url = base_url.rstrip("/")
        self._login = login
        self._password = password
        self._clock = clock

    def __repr__(self) -> str:
        """Leave out login and password."""
        return f"DataForSeoClient({self._base_url!r})"

    def search_volume(
        self, keywords: Sequence[str], location_code: int, language_code: str | None
    ) -> ProviderCall[SearchVolumes]:
        """Volumes and costs of 1 to 1,000 keywords in one market (DataForSEO's codes).

        Without a language the volumes cover all languages
        (docs.dataforseo.com/v3/keywords_data/google_ads/search_volume/live).

        ValueError for a keyword that ``wire.unsupported`` rejects.
        """
        sent = [searched(keyword) for keyword in keywords]
        if not 1 <= len(sent) <= KEYWORDS_PER_CALL_MAX:
            raise ValueError(f"{len(sent)} keywords in one call: 1 to {KEYWORDS_PER_CALL_MAX}")
        for keyword in sent:
            if reason := unsupported(keyword):
                raise ValueError(f"keyword {keyword[:100]!r}: {reason}")
        market: dict[str, int | str] = {"location_code": location_code}
        if language_code is not None:
            market["language_code"] = language_code
        request = HttpRequest(
            "POST",
            self._base_url + _PATH,
            json=[{"keywords": sent, **market}],
            basic_auth=(self._login, self._password),
            # The login is left out: it may be a plain word, and masking it would change keywords.
            secrets=tuple(filter(None, (self._password,))),
            timeout_seconds=_TIMEOUT_SECONDS,
        )

        def task(reply: HttpReply) -> SearchVolumes:
            found = errors.task_of(reply, self._clock.now(), request.secrets)
            return search_volumes(found, len(sent))

        identity = {**market, "count": len(sent), "keywords": digest(sent)}
        return ProviderCall(
            PROVIDER, "search_volume", request, identity, task, credits=1.0, billed=self._billed
        )

    def _billed(self, reply: HttpReply) -> float:
        """One request if the task succeeded, else none: failures are not charged."""
        try:
            errors.task_of(reply, self._clock.now())
        except ProviderError:
            return 0.0
        return 1.0
