"""Channels with owners, and videos that are the same in searches and in the YouTube API."""

import base64
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from serpline.simulator.seeds import stamp, stream, unit
from serpline.simulator.world.companies import Company, Directory, Kind
from serpline.simulator.world.text import capital

CHANNELS = 400
_SHOWN_MAX = 200_000
_MISSING = 0.02
# Share of company channels that name no site.
_UNLINKED = 0.2
_TITLES = (
    "{K} - everything you need to know",
    "{K}: 7 mistakes to avoid",
    "I tried {K} so you don't have to",
    "{K} explained in 5 minutes",
    "The truth about {K}",
    "{K} | full review",
)


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel. ``owner`` is None if nothing names one."""

    id: str
    title: str
    handle: str
    username: str
    description: str
    owner: Company | None
    country: str
    published_at: str
    subscribers: int
    hidden: bool
    views: int
    videos: int


@dataclass(frozen=True, slots=True)
class Video:
    """A video. ``likes`` and ``comments`` are None if the uploader disabled them."""

    id: str
    channel: Channel
    title: str
    description: str
    published_at: str
    seconds: int
    views: int
    likes: int | None
    comments: int | None
    missing: bool


class Videos:
    """All channels of a seed, and the videos shown on result pages.

    An id of eleven characters cannot contain the keyword, so shown videos are kept, up to 200,000.
    A video that this process never showed has a title without a keyword.
    """

    def __init__(self, seed: int, directory: Directory) -> None:
        self._seed = seed
        self._directory = directory
        self._shown: OrderedDict[str, tuple[int, str]] = OrderedDict()
        self.channel = lru_cache(maxsize=CHANNELS)(self._channel)
        self._by_id: dict[str, int] = {}
        self._by_handle: dict[str, int] = {}
        self._by_username: dict[str, int] = {}

    def show(self, channel: int, keyword: str, salt: int) -> Video:
        """The video of a channel about a keyword."""
        number = stamp(self._seed, "video", channel, keyword.lower(), salt % 3)
        video_id = base64.urlsafe_b64encode(number.to_bytes(8, "big")).decode().rstrip("=")
        self._shown[video_id] = (channel, keyword)
        if len(self._shown) > _SHOWN_MAX:
            self._shown.popitem(last=False)
        return self._video(video_id, channel, keyword)

    def find(self, video_id: str) -> Video | None:
        """The video of an id; None for an invalid id and for 2 % of ids (deleted)."""
        if len(video_id) != 11 or not video_id.replace("-", "a").replace("_", "a").isalnum():
            return None
        known = self._shown.get(video_id)
        channel, keyword = known or (stamp(self._seed, "channel of", video_id) % CHANNELS, "")
        video = self._video(video_id, channel, keyword)
        return None if video.missing else video

    def find_list_owner(self, list_id: str) -> Channel | None:
        """The channel of a playlist; None for an invalid id and for 2 % of ids (deleted)."""
        if not list_id.startswith("PL") or unit(self._seed, "deleted", list_id) < _MISSING:
            return None
        return self.channel(stamp(self._seed, "list of", list_id) % CHANNELS)

    def find_channel(
        self, *, channel_id: str = "", handle: str = "", username: str = ""
    ) -> Channel | None:
        """The channel of an id, a handle (with or without ``@``) or a legacy user name."""
        if not self._by_id:
            for index in range(CHANNELS):
                channel = self.channel(index)
                self._by_id[channel.id] = self._by_handle[channel.handle] = index
                self._by_username[channel.username] = index
        if channel_id:
            index_found = self._by_id.get(channel_id)
        elif username:
            index_found = self._by_username.get(username.lower())
        else:
            index_found = self._by_handle.get("@" + handle.lower().lstrip("@"))
        return None if index_found is None else self.channel(index_found)

    def _video(self, video_id: str, channel: int, keyword: str) -> Video:
        choices = stream(self._seed, "video", video_id)
        owner = self.channel(channel)
        topic = keyword or f"story {video_id[:4]}"
        views = int(choices.lognormvariate(9.5, 2.0))
        published = datetime(2026, 1, 1, tzinfo=UTC) - timedelta(
            seconds=choices.randint(0, 86_400 * 1_500)
        )
        return Video(
            id=video_id,
            channel=owner,
            title=choices.choice(_TITLES).replace("{K}", capital(topic)),
            description=(
                f"In this video {owner.title} talks about {topic}: prices, dates and what to "
                f"avoid. {owner.description}"
            ),
            published_at=published.strftime("%Y-%m-%dT%H:%M:%SZ"),
            seconds=choices.randint(31, 3_700),
            views=views,
            likes=None if choices.random() < 0.06 else int(views * choices.uniform(0.01, 0.06)),
            comments=None if choices.random() < 0.08 else int(views * choices.uniform(0, 0.01)),
            missing=unit(self._seed, "deleted", video_id) < _MISSING,
        )

    def _channel(self, index: int) -> Channel:
        choices = stream(self._seed, "channel", index)
        draw = choices.random()
        if index < 10:
            owner: Company | None = self._directory.of(Kind.STRONG)[index]
        elif draw < 0.55:
            owner = choices.choice(self._directory.of(Kind.MID) + self._directory.of(Kind.TAIL))
        elif draw < 0.85:
            owner = choices.choice(self._directory.of(Kind.CREATOR))
        else:
            owner = None
        linked = unit(self._seed, "channel links", index) >= _UNLINKED
        title, description = _profile(index, owner, linked)
        number = b"".join(
            stamp(self._seed, "channel id", index, part).to_bytes(8, "big") for part in "ab"
        )
        published = date(2009, 1, 1) + timedelta(days=choices.randint(0, 5_500))
        views = int(choices.lognormvariate(13, 2.2))
        return Channel(
            id="UC" + base64.urlsafe_b64encode(number).decode().rstrip("=")[:22],
            title=title,
            handle=f"@{''.join(c for c in title.lower() if c.isalnum())}{index}",
            username=f"user{index}",
            description=description,
            owner=owner,
            country=owner.country[1] if owner else choices.choice(("US", "GB", "IN")),
            published_at=f"{published.isoformat()}T09:00:00Z",
            subscribers=int(views * choices.uniform(0.001, 0.01)),
            hidden=choices.random() < 0.05,
            views=views,
            videos=choices.randint(4, 1_800),
        )


def _profile(index: int, owner: Company | None, linked: bool) -> tuple[str, str]:
    """A channel's title and description. Without ``linked``, a company names no site."""
    if owner is None:
        return f"Wandering Lens {index}", "Travel films without words. New video every Friday."
    if owner.kind is Kind.CREATOR:
        return owner.name, f"I film what I find. Work with me: {owner.site}/contact"
    if not linked:
        return f"{owner.name} TV", f"The official channel of {owner.name}. New films every week."
    return (
        f"{owner.name} TV",
        f"The official channel of {owner.name}. Plan and book at {owner.site} - follow us for "
        f"more. Press: press@{owner.domain}",
    )
