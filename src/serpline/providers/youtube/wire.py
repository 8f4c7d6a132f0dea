"""Parses YouTube's resources. An absent or hidden figure is None, never 0."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from serpline.domain.errors import ProviderError
from serpline.domain.handles import channel_handle
from serpline.domain.http import HttpReply
from serpline.domain.replies import as_count, as_object, as_text, by_key, json_object, malformed
from serpline.providers.youtube.errors import failure
from serpline.providers.youtube.links import find_links

_DURATION = re.compile(
    r"P(?=.)(?:(\d{1,4})W)?(?:(\d{1,4})D)?(?:T(?=.)(?:(\d{1,6})H)?(?:(\d{1,7})M)?(?:(\d{1,8})S)?)?",
    re.ASCII,
)
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNIT_SECONDS = (604_800, 86_400, 3_600, 60, 1)
_SECONDS_MAX = 2**31 - 1

Clock = Callable[[], datetime]
Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Video:
    """A video. ``duration_seconds`` is 0 while it is live; a hidden figure is None."""

    id: str
    channel_id: str
    title: str
    description: str
    published_at: datetime | None
    duration_seconds: int | None
    views: int | None
    likes: int | None
    comments: int | None


@dataclass(frozen=True, slots=True)
class Playlist:
    """A playlist and its channel."""

    id: str
    channel_id: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel. ``handle`` has its ``@``; ``subscribers`` is None if hidden.

    ``links``: the addresses in its descriptions, as written (host names or URLs).
    """

    id: str
    title: str
    description: str
    handle: str | None
    country: str | None
    subscribers: int | None
    views: int | None
    video_count: int | None
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SearchPage:
    """The ids found, best first; ``next_page_token`` is None on the last page."""

    ids: tuple[str, ...]
    next_page_token: str | None


def videos(reply: HttpReply, *, ids: Sequence[str], now: Clock) -> dict[str, Video | None]:
    """Id → video, for the ``ids`` that YouTube shows; None: unreadable (``by_key``).

    Raises ``ProviderError`` for a reply that is not a list of resources.
    """
    items = _items(_envelope(reply, now), reply)
    rows = [(as_text(item.get("id")), _video(item)) for item in items]
    return by_key(reply, "youtube", ids, rows)


def channels(reply: HttpReply, *, ids: Sequence[str], now: Clock) -> dict[str, Channel | None]:
    """Id → channel, like ``videos``."""
    items = _items(_envelope(reply, now), reply)
    rows = [(as_text(item.get("id")), _channel(item)) for item in items]
    return by_key(reply, "youtube", ids, rows)


def playlists(reply: HttpReply, *, ids: Sequence[str], now: Clock) -> dict[str, Playlist | None]:
    """Id → playlist, like ``videos``."""
    items = _items(_envelope(reply, now), reply)
    rows = [(as_text(item.get("id")), _playlist(item)) for item in items]
    return by_key(reply, "youtube", ids, rows)


def one_channel(reply: HttpReply, *, now: Clock) -> Channel | None:
    """The only channel in ``reply``, or None. Raises ``ProviderError``."""
    found = _items(_envelope(reply, now), reply)
    if not found:
        return None
    channel = _channel(found[0])
    if channel is None:
        raise malformed(reply, "youtube", "a channel without an id or a description of itself")
    return channel


def search_page(reply: HttpReply, *, kind: str, now: Clock) -> SearchPage:
    """The ids of resources of ``kind`` ("video" or "channel"). Raises ``ProviderError``."""
    try:
        body = _envelope(reply, now)
        items = _items(body, reply)
    except ProviderError as error:
        # Searches have their own quota, so they are a provider of their own.
        error.provider = "youtube_search"
        raise
    ids = (as_text(as_object(item.get("id")).get(f"{kind}Id")) for item in items)
    # A result of another kind has no such id.
    return SearchPage(
        ids=tuple(dict.fromkeys(found for found in ids if found)),
        next_page_token=as_text(body.get("nextPageToken")),
    )


def is_id(text: str) -> bool:
    """Whether ``text`` has the form of an id or a user name."""
    return _ID.fullmatch(text) is not None


def duration_seconds(value: str | None) -> int | None:
    """Parse an ISO 8601 duration (``PT1H2M3S``, ``P0D``, ``P1DT2H``) to seconds.

    None for an invalid duration and for one beyond 68 years, which the column cannot hold.
    """
    match = _DURATION.fullmatch(value or "")
    if match is None:
        return None
    parts = zip(match.groups(), _UNIT_SECONDS, strict=True)
    seconds = sum(int(number or 0) * unit for number, unit in parts)
    return seconds if seconds <= _SECONDS_MAX else None


def _envelope(reply: HttpReply, now: Clock) -> dict[str, Any]:
    if reply.status != 200:
        raise failure(reply, now())
    body = json_object(reply, "youtube")
    # An empty answer has no "items"; only its kind distinguishes it from other JSON.
    kind = as_text(body.get("kind"))
    if kind is None or not kind.startswith("youtube#") or not kind.endswith("ListResponse"):
        raise malformed(reply, "youtube", "JSON that is not a list of resources")
    return body


def _items(body: Item, reply: HttpReply) -> list[Item]:
    items = body.get("items", [])
    if not isinstance(items, list):
        raise malformed(reply, "youtube", "resources that are not a list")
    return [as_object(item) for item in items]


def _video(item: Item) -> Video | None:
    snippet, statistics = as_object(item.get("snippet")), as_object(item.get("statistics"))
    identifier, channel_id = as_text(item.get("id")), as_text(snippet.get("channelId"))
    if identifier is None or channel_id is None or not is_id(channel_id):
        return None
    return Video(
        id=identifier,
        channel_id=channel_id,
        title=as_text(snippet.get("title")) or "",
        description=as_text(snippet.get("description")) or "",
        published_at=_instant(snippet.get("publishedAt")),
        duration_seconds=duration_seconds(
            as_text(as_object(item.get("contentDetails")).get("duration"))
        ),
        views=as_count(statistics.get("viewCount")),
        likes=as_count(statistics.get("likeCount")),
        comments=as_count(statistics.get("commentCount")),
    )


def _playlist(item: Item) -> Playlist | None:
    identifier = as_text(item.get("id"))
    channel_id = as_text(as_object(item.get("snippet")).get("channelId"))
    if identifier is None or channel_id is None or not is_id(channel_id):
        return None
    return Playlist(identifier, channel_id)


def _channel(item: Item) -> Channel | None:
    snippet, statistics = as_object(item.get("snippet")), as_object(item.get("statistics"))
    branding = as_object(as_object(item.get("brandingSettings")).get("channel"))
    identifier = as_text(item.get("id"))
    if identifier is None or not (snippet or branding):
        return None
    description = as_text(snippet.get("description")) or as_text(branding.get("description"))
    hidden = statistics.get("hiddenSubscriberCount") is True
    return Channel(
        id=identifier,
        title=as_text(snippet.get("title")) or as_text(branding.get("title")) or "",
        description=description or "",
        handle=_handle(as_text(snippet.get("customUrl"))),
        country=as_text(snippet.get("country")) or as_text(branding.get("country")),
        subscribers=None if hidden else as_count(statistics.get("subscriberCount")),
        views=as_count(statistics.get("viewCount")),
        video_count=as_count(statistics.get("videoCount")),
        links=find_links(description, as_text(branding.get("description"))),
    )


def _handle(custom_url: str | None) -> str | None:
    """The channel's handle, or None. Older channels may have a custom URL instead."""
    if custom_url is None or not custom_url.startswith("@"):
        return None
    return channel_handle(custom_url) or custom_url


def _instant(value: Any) -> datetime | None:
    text = as_text(value)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
