"""The owner of a URL, and the canonical URL of a page.

``hosts``, ``wrappers`` (links through Google and others), ``youtube_urls`` and ``platforms`` find
the owner. This module makes the canonical URL.
"""

import re
from urllib.parse import SplitResult, quote, urlunsplit

from serpline.analysis.hosts import (
    URL_CHARACTERS_MAX,
    display_domain,
    host_in,
    registrable_domain,
    split_url,
)
from serpline.analysis.platforms import is_platform
from serpline.analysis.trackers import is_tracker
from serpline.analysis.wrappers import Publisher, publisher
from serpline.analysis.youtube_urls import youtube_channel_ref, youtube_video_id

__all__ = [
    "URL_CHARACTERS_MAX",
    "Publisher",
    "canonical_url",
    "display_domain",
    "is_platform",
    "publisher",
    "registrable_domain",
    "youtube_channel_ref",
    "youtube_video_id",
]

_DEFAULT_PORTS = {"http": 80, "https": 443}
# Unescaped characters in a path by RFC 3986, besides letters and digits. A query also allows "?".
_PATH_SAFE = "-._~!$&'()*+,;=:@/"
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")


def canonical_url(url: str) -> str | None:
    """The canonical URL of a page, or None if ``url`` is not an absolute http(s) URL.

    It has a lower-case ASCII host, no user, default port, fragment or tracking parameter. Dot
    segments are resolved, escapes normalised, and parameters sorted by name (equal names keep their
    order, which may matter). The scheme, ``www.`` and a trailing slash stay, because servers may
    distinguish them. A YouTube video has one URL for all forms of links. The function is
    idempotent.
    """
    parts = split_url(url)
    if parts is None or parts.scheme not in _DEFAULT_PORTS:
        return None
    host, port = host_in(url), _port(parts)
    if not host or port is None:
        return None
    video = youtube_video_id(url)
    if video:
        return f"https://www.youtube.com/watch?v={video}"
    netloc = f"[{host}]" if ":" in host else host
    if port not in (0, _DEFAULT_PORTS[parts.scheme]):
        netloc = f"{netloc}:{port}"
    path = _without_dots(_escaped(parts.path, _PATH_SAFE)) or "/"
    return urlunsplit((parts.scheme, netloc, path, _query(parts.query), ""))


def _port(parts: SplitResult) -> int | None:
    """The port, 0 if absent, None if invalid."""
    try:
        return parts.port or 0
    except ValueError:
        return None


def _query(query: str) -> str:
    kept = [part for part in query.split("&") if part and not is_tracker(part.partition("=")[0])]
    escaped = [_escaped(part, _PATH_SAFE + "?") for part in kept]
    return "&".join(sorted(escaped, key=lambda part: part.partition("=")[0]))


def _escaped(text: str, safe: str) -> str:
    """Normalise escapes: unreserved characters bare, all others as upper-case escapes.

    An escaped reserved character stays escaped: ``%2F`` in a path is not a slash.
    """
    return quote(_ESCAPE.sub(_one_escape, text), f"{safe}%", errors="replace")


def _one_escape(match: re.Match[str]) -> str:
    digits = match[1]
    if digits is None:
        return "%25"
    character = chr(int(digits, 16))
    return character if _UNRESERVED.fullmatch(character) else f"%{digits.upper()}"


def _without_dots(path: str) -> str:
    """Remove dot segments from an absolute path (RFC 3986, section 5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)
