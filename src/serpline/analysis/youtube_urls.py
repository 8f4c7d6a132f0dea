"""Reads YouTube URLs: a video, a channel, or a page of a channel that the URL does not name.

The forms are those of YouTube's own players and help: ``/watch?v=``, ``/shorts/``, ``/embed/``,
``/live/``, ``youtu.be/``; ``/channel/UC…``, ``/@handle``, ``/user/name``,
``/embed/live_stream?channel=UC…``, a channel's own lists (``PL…``) and the lists of its uploads
(``UU…`` and similar prefixes, with the channel's id).
"""

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from serpline.analysis.hosts import host_in, registrable_domain, split_url
from serpline.domain.handles import channel_handle

_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_CHANNEL_ID = re.compile(r"UC[A-Za-z0-9_-]{22}")
# Uploads, popular uploads, favourites and likes of a channel: its id with another prefix.
_LIST_OF_CHANNEL = re.compile(r"(?:UU(?:[A-Z]{2})?|PU|FL|LL)([A-Za-z0-9_-]{22})")
# A list that a channel made. Others (mixes, albums, watch history) belong to no channel.
_PLAYLIST = re.compile(r"PL[A-Za-z0-9_-]{10,62}")
_USER = re.compile(r"[A-Za-z0-9]{1,60}")
_SITES = frozenset({"youtube.com", "youtube-nocookie.com", "youtubekids.com"})
_SHORT_SITE = "youtu.be"
_VIDEO_FOLDERS = frozenset({"shorts", "embed", "live", "v", "e"})
# Players in the place of a video's id, and as long as one.
_PLAYERS = frozenset({"live_stream", "videoseries"})
_FRONT_HOSTS = frozenset({"", "www.", "m.", "music.", "gaming."})
# First folders of YouTube's own pages. Any other is a channel's, by a name or a list.
_OWN_FOLDERS = frozenset(
    {
        "about", "account", "ads", "ai", "app", "apps", "channels", "copyright_complaint_form",
        "courses", "create_channel", "creators", "csai-match", "explore", "fashion", "feed",
        "gaming", "handle", "hashtag", "howyoutubeworks", "iframe_api", "intl", "jobs", "kids",
        "learning", "live", "login", "movies", "music", "musicpremium", "new", "news", "oembed",
        "originals", "paid_memberships", "playables", "podcasts", "premium", "redeem",
        "reporthistory", "results", "s", "search", "select_site", "shopping", "shorts", "signin",
        "sports", "static", "storefront", "supported_browsers", "t", "trending", "trends", "tv",
        "upload", "youtubei", "yt",
    }
)  # fmt: skip


class _Page(NamedTuple):
    site: str
    folders: list[str]
    values: dict[str, str]


def youtube_video_id(url: str) -> str | None:
    """The 11-character id of a YouTube video's URL, in any of its forms."""
    page = _page(url)
    if page is None or not page.folders:
        return None
    first, rest = page.folders[0], page.folders[1:]
    found = ""
    if page.site == _SHORT_SITE:
        found = first
    elif first in ("watch", "watch_popup"):
        # Both ?v=ID and the old /watch/ID are in use.
        found = page.values.get("v", "".join(rest[:1]))
    elif first in _VIDEO_FOLDERS and rest:
        found = rest[0]
    elif first == "attribution_link" and (target := page.values.get("u", "")).startswith("/watch"):
        found = dict(reversed(parse_qsl(target.partition("?")[2]))).get("v", "")
    return found if _VIDEO_ID.fullmatch(found) and found not in _PLAYERS else None


def youtube_channel_ref(url: str) -> str | None:
    """The reference by which YouTube's API finds the channel of a URL, or None.

    It is the id (``UC…``), the ``@handle`` as ``channel_handle`` spells it, the old name
    (``user/name``, in lower case) or a list of the channel (``PL…``). The API does not accept
    ``/c/`` names, and other lists have no owner.
    """
    page = _page(url)
    if page is None or page.site == _SHORT_SITE or not page.folders:
        return None
    first, rest = unquote(page.folders[0]), page.folders[1:]
    if first.startswith("@"):
        return channel_handle(first)
    if first == "user" and rest:
        name = unquote(rest[0])
        return f"user/{name.lower()}" if _USER.fullmatch(name) else None
    named = ""
    if first == "channel" and rest:
        named = unquote(rest[0])
    elif first == "embed" and rest[:1] == ["live_stream"]:
        named = page.values.get("channel", "")
    elif first == "playlist" or (first == "embed" and rest[:1] == ["videoseries"]):
        list_id = page.values.get("list", "")
        if _PLAYLIST.fullmatch(list_id):
            return list_id
        uploads = _LIST_OF_CHANNEL.fullmatch(list_id)
        named = f"UC{uploads[1]}" if uploads else ""
    return named if _CHANNEL_ID.fullmatch(named) else None


def is_page_of_unnamed_channel(url: str) -> bool:
    """Whether a YouTube URL is of a channel that it does not name: ``/c/``, a list, a clip."""
    page = _page(url)
    if page is None or youtube_video_id(url) or youtube_channel_ref(url):
        return False
    if page.site == _SHORT_SITE:
        return bool(page.folders)
    host = host_in(url) or ""
    if not page.folders or host.removesuffix(page.site) not in _FRONT_HOSTS:
        return False
    return page.folders[0] not in _OWN_FOLDERS


def _page(url: str) -> _Page | None:
    parts = split_url(url)
    site = registrable_domain(url) if parts else None
    if parts is None or site is None or (site not in _SITES and site != _SHORT_SITE):
        return None
    folders = [folder for folder in parts.path.split("/") if folder]
    # The first of equal names counts, as on YouTube.
    return _Page(site, folders, dict(reversed(parse_qsl(parts.query))))
