"""Who a URL belongs to, and when two URLs are the same page.

``registrable_domain`` is the key under which companies are counted and bought: ``www.acme.com``,
``shop.acme.com`` and ``acme.com`` are one. It follows the Public Suffix List that ships with
tldextract; nothing is fetched and nothing is cached on disk. The list's private part is used too:
``anna.blogspot.com`` and ``ben.blogspot.com`` are different owners, and neither is Blogspot.

Hosts come out in ASCII (punycode), lower case, without port, user or trailing dot, so that one
name has one spelling; ``display_domain`` turns it back for people. IP addresses and names without
a public suffix are kept: an IP is its own owner, ``shop.acme.example`` belongs to
``acme.example``.
"""

import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit, urlunsplit

import idna

if TYPE_CHECKING:
    from tldextract import TLDExtract

URL_CHARACTERS_MAX = 8_192

_DEFAULT_PORTS = {"http": 80, "https": 443}
# Click, campaign and mailing identifiers; none of them selects what the page shows. ``srsltid`` is
# what Google adds to results itself.
_TRACKERS = frozenset(
    {"_ga", "_gac", "_gl", "_hsenc", "_hsmi", "_openstat", "dclid", "epik", "fbclid"}
    | {"gad_campaignid", "gad_source", "gbraid", "gclid", "gclsrc", "gs_lcrp", "igsh", "igshid"}
    | {"li_fat_id", "mc_cid", "mc_eid", "mibextid", "mkt_tok", "ml_subscriber", "msclkid"}
    | {"ml_subscriber_hash", "oly_anon_id", "oly_enc_id", "rb_clickid", "s_cid", "srsltid"}
    | {"ttclid", "twclid", "vero_id", "wbraid", "wickedid", "yclid", "ysclid"}
)
_TRACKER_PREFIXES = ("utm_", "hsa_", "pk_", "mtm_", "piwik_", "matomo_")
# What RFC 3986 lets stand unescaped in a path, besides letters and digits; a query has "?" too.
_PATH_SAFE = "-._~!$&'()*+,;=:@/"
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
# "mailto:" and the like have no host; "acme.com:8080" has.
_HOSTLESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?!//|[0-9])")
_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_CHANNEL_ID = re.compile(r"UC[A-Za-z0-9_-]{22}")
_YOUTUBE = frozenset({"youtube.com", "youtube-nocookie.com"})
_VIDEO_FOLDERS = frozenset({"shorts", "embed", "live", "v", "e"})


def registrable_domain(url: str) -> str | None:
    """The owner's domain of a URL or a host name, or None when there is no host in it."""
    host = _host(url)
    return _registrable(host) if host else None


def display_domain(domain: str) -> str:
    """A domain for people: ``xn--bcher-kva.example`` as ``bücher.example``."""
    try:
        return idna.decode(domain)
    except idna.IDNAError:
        return domain


def canonical_url(url: str) -> str | None:
    """One spelling for a page's URL, or None when it is not an absolute http(s) URL.

    Lower-case ASCII host, no user, default port, fragment or tracking parameter; dot segments
    resolved, escapes normalised, parameters sorted by name (equal names keep their order, since it
    may matter). The scheme, ``www.`` and a trailing slash stay: servers may tell them apart. A
    YouTube video has one URL, however it was linked. Applying it twice changes nothing.
    """
    parts = _split(url)
    if parts is None or parts.scheme not in _DEFAULT_PORTS:
        return None
    host, port = _host(url), _port(parts)
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


def youtube_video_id(url: str) -> str | None:
    """The 11-character id of a YouTube video's URL (watch, shorts, embed, live, youtu.be)."""
    parts = _split(url)
    if parts is None:
        return None
    domain = registrable_domain(url)
    folders = [folder for folder in parts.path.split("/") if folder]
    found = ""
    if domain == "youtu.be" and folders:
        found = folders[0]
    elif domain in _YOUTUBE and folders:
        if folders[0] == "watch":
            # Both ?v=ID and the old /watch/ID are in use.
            found = dict(reversed(parse_qsl(parts.query))).get("v", "".join(folders[1:2]))
        elif folders[0] in _VIDEO_FOLDERS and len(folders) > 1:
            found = folders[1]
    return found if _VIDEO_ID.fullmatch(found) else None


def youtube_channel_ref(url: str) -> str | None:
    """What names the channel in a YouTube URL: its id (``UC…``), its ``@handle``, or None.

    Handles are lower-cased, since YouTube does not tell their cases apart. The legacy ``/c/`` and
    ``/user/`` names are neither, and no call looks them up by name: None.
    """
    parts = _split(url)
    if parts is None or registrable_domain(url) not in _YOUTUBE:
        return None
    folders = [unquote(folder) for folder in parts.path.split("/") if folder]
    if len(folders) > 1 and folders[0] == "channel" and _CHANNEL_ID.fullmatch(folders[1]):
        return folders[1]
    if folders and re.fullmatch(r"@[\w.·-]{3,30}", folders[0]):
        return folders[0].casefold()
    return None


def _split(url: str) -> SplitResult | None:
    text = url.strip()
    if not text or len(text) > URL_CHARACTERS_MAX or _HOSTLESS.match(text):
        return None
    if "://" not in text.split("?", 1)[0]:
        text = f"//{text.removeprefix('//')}"
    try:
        return urlsplit(text)
    except ValueError:
        return None


def _host(url: str) -> str | None:
    parts = _split(url)
    host = parts.hostname if parts else None
    return _ascii_host(host) if host else None


@lru_cache(maxsize=65_536)
def _ascii_host(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    bare = host.rstrip(".").casefold()
    try:
        return idna.encode(bare, uts46=True).decode().casefold()
    except (idna.IDNAError, UnicodeError):
        # Names with an underscore and other old habits are in use though IDNA forbids them.
        return bare if re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", bare) else None


@lru_cache(maxsize=1)
def _extract() -> "TLDExtract":
    # Imported at the first use: it brings a whole HTTP library, for which no start should wait.
    from tldextract import TLDExtract

    return TLDExtract(
        suffix_list_urls=(),
        cache_dir=None,
        fallback_to_snapshot=True,
        include_psl_private_domains=True,
    )


@lru_cache(maxsize=65_536)
def _registrable(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    if "." not in host:
        return host
    found = _extract().extract_str(host)
    if found.is_private and not found.domain:
        # The owner of a private suffix: blogspot.com itself belongs to its registrant.
        found = _extract().extract_str(host, include_psl_private_domains=False)
    if not found.suffix:
        return ".".join(host.split(".")[-2:])
    return f"{found.domain}.{found.suffix}" if found.domain else host


def _port(parts: SplitResult) -> int | None:
    """The port, 0 when none is given, None when it is not one."""
    try:
        return parts.port or 0
    except ValueError:
        return None


def _query(query: str) -> str:
    kept = [part for part in query.split("&") if part and not _is_tracker(part.partition("=")[0])]
    escaped = [_escaped(part, _PATH_SAFE + "?") for part in kept]
    return "&".join(sorted(escaped, key=lambda part: part.partition("=")[0]))


def _escaped(text: str, safe: str) -> str:
    """Escapes in one spelling: unreserved characters bare, all others as upper-case escapes.

    An escaped reserved character stays escaped: ``%2F`` in a path is not a slash.
    """
    return quote(_ESCAPE.sub(_one_escape, text), f"{safe}%", errors="replace")


def _one_escape(match: re.Match[str]) -> str:
    digits = match[1]
    if digits is None:
        return "%25"
    character = chr(int(digits, 16))
    return character if _UNRESERVED.fullmatch(character) else f"%{digits.upper()}"


def _is_tracker(name: str) -> bool:
    lower = name.casefold()
    return lower in _TRACKERS or lower.startswith(_TRACKER_PREFIXES)


def _without_dots(path: str) -> str:
    """RFC 3986, section 5.2.4, for an absolute path."""
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
