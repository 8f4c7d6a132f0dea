"""A result's publisher, for links that lead through Google, an AMP cache or a translator.

``publisher`` takes a result's link and domain. It unwraps links that contain their target, also
nested ones. If a wrapper hides its target (``/goto?url=CAES…``, Google News, a short link), the
result's own domain counts, unless that is the wrapper's. Then the publisher is unknown.

Sources: developers.google.com/search/docs/appearance/ad-network-and-translation (translate.goog);
amp.dev/documentation/guides-and-tutorials/learn/amp-caches-and-cors/amp-cache-urls (AMP caches);
the links in the result pages of Google, Bing, Yahoo, DuckDuckGo and Yandex themselves.
"""

import base64
import binascii
import re
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlunsplit

from serpline.analysis.hosts import host_in, registered, registrable_domain, split_url
from serpline.analysis.platforms import is_shortener
from serpline.analysis.redirects import GOOGLE, REDIRECTS, YAHOO, YANDEX
from serpline.analysis.youtube_urls import is_page_of_unnamed_channel

# No real link nests more wrappers than this.
WRAPPERS_MAX = 5

_HIDDEN = ""
_AMP_VIEWER = re.compile(rf"{GOOGLE}|(?:www\.)?bing\.com")
_AMP_CACHE = re.compile(
    r"(?:([a-z0-9-]+)\.)?(?:cdn\.ampproject\.(?:org|net)|bing-amp\.com|amp\.cloudflare\.com)"
)
# The kind of content (and for images a width), then "s" for https, then the page.
_AMP_PATH = re.compile(r"/[a-z]{1,4}(?:/w\d+)?/(s/)?([^/?]+\.[^/?]+.*)", re.DOTALL)
_WEB_CACHE = re.compile(r"webcache\.googleusercontent\.com")
_CACHED = re.compile(r"cache:(?:[A-Za-z0-9_-]{12}:)?(\S+)")
_TRANSLATED = re.compile(r"(.+)\.translate\.goog")
_TURBO = re.compile(r"(?:/turbo)?/(?:s/([^/?]+\.[^/?]+)|([^/?]+\.[^/?]+?)(?:/s)?(?=/|$))(.*)", re.S)
_TURBO_PROXY = re.compile(r"/proxy_u/[^/]+/(https?)/(.+)", re.DOTALL)
_YAHOO_TARGET = re.compile(r"/RU=([^/]+)")
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_BARE = re.compile(r"(?:[\w-]+\.)+[^\W\d_]{2,}(?:[:/?#].*)?", re.DOTALL)
# In Bing's links "a1" comes before it. The target in its advertisements begins with "htt".
_BASE64 = re.compile(r"(?:a1(?=[A-Za-z0-9_-])|(?=aHR0))([A-Za-z0-9_+/-]+)=*")
# Copies of pages, with the page's own address in the path, sometimes with one slash less.
_ARCHIVE = re.compile(r"archive\.(?:today|ph|is|li|vn|fo|md)|12ft\.io")
_WAYBACK = re.compile(r"(?:web\.)?archive\.org")
_DEREFERRER = re.compile(
    r"href\.li|anonym\.(?:to|es)|nullrefer\.com|(?:www\.)?dereferer\.(?:me|org)"
)
_IN_PATH = re.compile(r"(?:^|[/:])(https?):/{1,2}([^/].*)", re.IGNORECASE | re.DOTALL)


class Publisher(NamedTuple):
    """The page behind a result and its owner's ``domain``, "" if unknown."""

    url: str
    domain: str


def publisher(url: str, domain: str | None = None) -> Publisher:
    """The publisher of a result with this link, and this domain as the search engine shows it.

    Accepts any text. Text without a host has no owner.
    """
    target = url
    for _ in range(WRAPPERS_MAX):
        inner = unwrapped(target)
        if inner is None:
            return Publisher(target, _owner(target, domain))
        if inner == _HIDDEN:
            break
        target = inner
    return Publisher(target, _domain_unless_wrapper(target, domain))


def unwrapped(url: str) -> str | None:
    """The target of a wrapper, "" if it is hidden, None if the link is not a wrapper."""
    parts, host = split_url(url), host_in(url)
    if parts is None or host is None:
        return None
    path = parts.path.rstrip("/")
    for by_host in (
        _from_amp, _from_translation, _from_cache, _from_archive, _from_yahoo, _from_turbo
    ):  # fmt: skip
        inner = by_host(host, parts)
        if inner is not None:
            return inner
    if _DEREFERRER.fullmatch(host):
        return _as_url(parts.query) or _HIDDEN
    for hosts, paths, names in REDIRECTS:
        if hosts.fullmatch(host) and paths.fullmatch(path):
            return _of_parameters(parts, names, path)
    if is_shortener(registrable_domain(host) or ""):
        return _embedded_target(parts) or (_HIDDEN if path else None)
    return None


def _owner(url: str, domain: str | None) -> str:
    if is_page_of_unnamed_channel(url):
        return ""
    return registrable_domain(url) or registrable_domain(domain or "") or ""


def _domain_unless_wrapper(wrapper: str, domain: str | None) -> str:
    """The result's own domain, unless it is the wrapper's or a national variant of it."""
    own, outer = registrable_domain(domain or ""), registrable_domain(wrapper)
    if own is None or is_shortener(own):
        return ""
    if outer is not None and registered(own).name == registered(outer).name:
        return ""
    return own


def _of_parameters(parts: SplitResult, names: tuple[str, ...], path: str) -> str | None:
    values = dict(reversed(parse_qsl(parts.query, keep_blank_values=True)))
    for name in names:
        found = _as_url(values.get(name, ""))
        if found:
            return found
    # A front page without the parameter, such as translate.google.com, is an ordinary page.
    return _HIDDEN if path and (not names or any(name in values for name in names)) else None


def _embedded_target(parts: SplitResult) -> str | None:
    """The target in the query or path of an affiliate's or advertiser's link.

    Only an absolute URL counts; the other values are names and numbers.
    """
    values = [parts.query, *(value for _, value in parse_qsl(parts.query))]
    for value in map(unquote, values):
        if _SCHEME.match(value) and host_in(value):
            return value
    return _in_path(parts)


def _in_path(parts: SplitResult) -> str | None:
    found = _IN_PATH.search(unquote(parts.path))
    if found is None or not host_in(found[2]):
        return None
    return f"{found[1]}://{found[2]}" + (f"?{parts.query}" if parts.query else "")


def _as_url(value: str) -> str | None:
    """The URL in a parameter's value: bare, escaped twice, or in Bing's Base64."""
    text = value.strip()
    coded = _BASE64.fullmatch(text)
    if coded:
        text = _decoded(coded[1])
    if re.match(r"(?:https?)?(?:%25)*%3A(?:%25)*%2F", text, re.IGNORECASE) or "%3A%2F" in text[:16]:
        text = unquote(text)
    if text.startswith("//"):
        text = f"https:{text}"
    if not _SCHEME.match(text):
        text = f"http://{text}" if _BARE.fullmatch(text) else ""
    return text if text and host_in(text) else None


def _decoded(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, ValueError):
        return ""


def _page(is_secure: bool, rest: str, query: str) -> str:
    """The URL of ``rest`` (host and path). The page's own query may be escaped in the path."""
    bare, mark, escaped = rest.partition("%3F")
    if not mark:
        bare, mark, escaped = rest.partition("%3f")
    if mark:
        query = unquote(escaped) + (f"&{query}" if query else "")
    return f"{'https' if is_secure else 'http'}://{bare}" + (f"?{query}" if query else "")


def _from_amp(host: str, parts: SplitResult) -> str | None:
    cache = _AMP_CACHE.fullmatch(host)
    if cache:
        found = _AMP_PATH.fullmatch(parts.path)
        if found and host_in(found[2]):
            return _page(bool(found[1]), found[2], parts.query)
        named = _plain_host(cache[1] or "")
        return f"https://{named}/" if "." in named else _HIDDEN
    if _AMP_VIEWER.fullmatch(host) and parts.path.startswith("/amp/"):
        found = _AMP_PATH.fullmatch(parts.path)
        return _page(bool(found[1]), found[2], parts.query) if found else None
    return None


def _from_translation(host: str, parts: SplitResult) -> str | None:
    """Decode as Google documents: prefix, encoding marks, single hyphens, double hyphens."""
    match = _TRANSLATED.fullmatch(host)
    if match is None:
        return None
    values = dict(parse_qsl(parts.query, keep_blank_values=True))
    marks = values.get("_x_tr_enc", "").split(",")
    name = values.get("_x_tr_hp", "") + match[1]
    if "1" in marks:
        name = name.removeprefix("1-")
    bare = name.removeprefix("0-") if "0" in marks else name
    named = _plain_host(bare)
    if bare != name:
        named = f"xn--{named}"
    if not host_in(named) or "." not in named:
        return _HIDDEN
    kept = [part for part in parts.query.split("&") if part and not part.startswith("_x_tr_")]
    scheme = "http" if values.get("_x_tr_sch") == "http" else "https"
    return urlunsplit((scheme, named, parts.path, "&".join(kept), ""))


def _plain_host(label: str) -> str:
    """``en-us.acme.com`` for ``en--us-acme-com``, also with ``0-`` and ``-0`` around it."""
    if label.startswith("0-") and label.endswith("-0"):
        label = label[2:-2]
    return re.sub(r"\b-\b", ".", label).replace("--", "-")


def _from_cache(host: str, parts: SplitResult) -> str | None:
    is_search = parts.path == "/search" and re.fullmatch(GOOGLE, host)
    if not (_WEB_CACHE.fullmatch(host) or is_search):
        return None
    found = _CACHED.match(dict(reversed(parse_qsl(parts.query))).get("q", ""))
    if found is None:
        return None if is_search else _HIDDEN
    return _as_url(found[1]) or _HIDDEN


def _from_archive(host: str, parts: SplitResult) -> str | None:
    if _ARCHIVE.fullmatch(host):
        return _in_path(parts) or (_HIDDEN if parts.path.strip("/") else None)
    return _in_path(parts) if _WAYBACK.fullmatch(host) else None


def _from_yahoo(host: str, parts: SplitResult) -> str | None:
    if not re.fullmatch(YAHOO, host):
        return None
    found = _YAHOO_TARGET.search(parts.path)
    if found:
        return _as_url(unquote(found[1])) or _HIDDEN
    return _HIDDEN if host.startswith("r.") else None


def _from_turbo(host: str, parts: SplitResult) -> str | None:
    is_host = host.endswith(".turbopages.org")
    if not is_host and not (re.fullmatch(YANDEX, host) and parts.path.startswith("/turbo/")):
        return None
    proxied = _TURBO_PROXY.fullmatch(parts.path)
    if proxied:
        return _page(proxied[1] == "https", proxied[2], parts.query)
    found = _TURBO.fullmatch(parts.path)
    return f"https://{found[1] or found[2]}{found[3]}" if found else _HIDDEN
