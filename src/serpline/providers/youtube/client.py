"""Builds calls to the YouTube Data API v3 (videos, channels, playlists, search); does no I/O.

An id that YouTube does not know or does not show (private, deleted) is absent from the answer.
Credits are YouTube's quota units, which reset at midnight in Los Angeles. Searches have their own
quota, so they are a provider of their own, ``SEARCH``. Limits: 50 ids a call, 50 results a page of
a search.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Literal, TypeVar

from serpline.domain.errors import UserError
from serpline.domain.http import HttpReply, HttpRequest, ProviderCall
from serpline.providers.youtube import wire
from serpline.providers.youtube.wire import Channel, Playlist, SearchPage, Video, is_id

PROVIDER = "youtube"
SEARCH = "youtube_search"
IDS_MAX = 50
RESULTS_MAX = 50
UNITS_PER_CALL = 1.0

_HANDLE = re.compile(r"@?[^\s/@?#&]{1,100}")

SearchType = Literal["video", "channel"]
SearchOrder = Literal["relevance", "date", "rating", "title", "viewCount"]

T = TypeVar("T")


class YouTubeClient:
    """Builds the calls. ``now`` is the clock for the quota's reset."""

    def __init__(self, *, base_url: str, api_key: str, now: Callable[[], datetime]) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._now = now

    def videos(self, ids: Iterable[str]) -> ProviderCall[dict[str, Video | None]]:
        """Id → video, for 1 to 50 video ids. Raises ``UserError`` for invalid ids."""
        unique = _checked_ids(ids, "video")
        return self._call(
            "videos",
            {"part": "snippet,contentDetails,statistics", "id": ",".join(unique)},
            partial(wire.videos, ids=tuple(unique), now=self._now),
        )

    def channels(self, ids: Iterable[str]) -> ProviderCall[dict[str, Channel | None]]:
        """Id → channel, for 1 to 50 channel ids. Raises ``UserError`` for invalid ids."""
        unique = _checked_ids(ids, "channel")
        return self._call(
            "channels",
            {"part": "snippet,statistics,brandingSettings", "id": ",".join(unique)},
            partial(wire.channels, ids=tuple(unique), now=self._now),
        )

    def channel_by_handle(self, handle: str) -> ProviderCall[Channel | None]:
        """Find the channel with this handle (with or without ``@``), or None."""
        if not is_handle(handle):
            raise UserError(f"not a YouTube handle: {handle!r}")
        return self._call(
            "channels",
            {
                "part": "snippet,statistics,brandingSettings",
                "forHandle": f"@{handle.removeprefix('@')}",
            },
            partial(wire.one_channel, now=self._now),
        )

    def channel_by_username(self, name: str) -> ProviderCall[Channel | None]:
        """Find the channel with this old user name (``/user/name``), or None."""
        if not is_id(name):
            raise UserError(f"not a YouTube user name: {name!r}")
        return self._call(
            "channels",
            {"part": "snippet,statistics,brandingSettings", "forUsername": name},
            partial(wire.one_channel, now=self._now),
        )

    def playlists(self, ids: Iterable[str]) -> ProviderCall[dict[str, Playlist | None]]:
        """Id → playlist, for 1 to 50 playlist ids. Raises ``UserError`` for invalid ids."""
        unique = _checked_ids(ids, "playlist")
        return self._call(
            "playlists",
            {"part": "snippet", "id": ",".join(unique), "maxResults": str(IDS_MAX)},
            partial(wire.playlists, ids=tuple(unique), now=self._now),
        )

    def search(
        self,
        query: str,
        *,
        kind: SearchType = "video",
        channel_id: str | None = None,
        order: SearchOrder = "relevance",
        published_after: datetime | None = None,
        published_before: datetime | None = None,
        region_code: str | None = None,
        page_token: str | None = None,
        results_max: int = RESULTS_MAX,
    ) -> ProviderCall[SearchPage]:
        """Search for ids, one page. Times are aware; ``region_code`` is ISO 3166-1."""
        if not 1 <= results_max <= RESULTS_MAX:
            raise UserError(f"results_max must be 1 to {RESULTS_MAX}: {results_max}")
        optional = {
            "channelId": channel_id,
            "publishedAfter": _instant(published_after),
            "publishedBefore": _instant(published_before),
            "regionCode": region_code,
            "pageToken": page_token,
        }
        params = {
            "part": "snippet",
            "q": query,
            "type": kind,
            "order": order,
            "maxResults": str(results_max),
            **{name: value for name, value in optional.items() if value is not None},
        }
        return self._call("search", params, partial(wire.search_page, kind=kind, now=self._now))

    def _call(
        self, operation: str, params: dict[str, str], parse: Callable[[HttpReply], T]
    ) -> ProviderCall[T]:
        return ProviderCall(
            provider=SEARCH if operation == "search" else PROVIDER,
            operation=operation,
            request=HttpRequest(
                method="GET",
                url=f"{self._base_url}/{operation}",
                params={**params, "key": self._api_key},
                headers={"Accept": "application/json"},
                secrets=(self._api_key,),
                size_bytes_max=5_000_000,
            ),
            identity=params,
            parse=parse,
            credits=UNITS_PER_CALL,
        )


def is_handle(text: str) -> bool:
    """Whether ``text`` is a valid handle, with or without its ``@``."""
    return _HANDLE.fullmatch(text) is not None


def _checked_ids(ids: Iterable[str], noun: str) -> list[str]:
    unique = sorted(set(ids))
    if not 1 <= len(unique) <= IDS_MAX:
        raise UserError(f"a YouTube call takes 1 to {IDS_MAX} {noun} ids, not {len(unique)}")
    for value in unique:
        if not is_id(value):
            raise UserError(f"not a YouTube {noun} id: {value!r}")
    return unique


def _instant(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
