"""The host in a URL, and the registrable domain that it belongs to.

``registrable_domain`` is the key under which companies are counted and bought: ``www.acme.com``,
``shop.acme.com`` and ``acme.com`` are one. It follows the Public Suffix List that ships with
tldextract; nothing is fetched and nothing is cached on disk. The list's private part is used too:
``anna.blogspot.com`` and ``ben.blogspot.com`` are different owners, and neither is Blogspot. So are
the names below the hosts in ``data/shared_hosts.txt``, which the list does not have.

Hosts come out in ASCII (punycode), lower case, without port, user or trailing dot, so that one
name has one spelling; ``display_domain`` turns it back for people. IP addresses and names without
a public suffix are kept: an IP is its own owner, ``shop.acme.example`` belongs to
``acme.example``.
"""

import ipaddress
import re
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, urlsplit

import idna

if TYPE_CHECKING:
    from tldextract import TLDExtract

URL_CHARACTERS_MAX = 8_192

# RFC 1035, section 2.3.4, without the final dot: nothing longer can be looked up.
_HOST_MAX = 253
_HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
# "mailto:" and the like have no host; "acme.com:8080" has.
_HOSTLESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?!//|[0-9])")


class Registered(NamedTuple):
    """A domain as its registry knows it: ``amazon`` and ``amazon.co.uk``."""

    name: str
    domain: str


def registrable_domain(url: str) -> str | None:
    """The owner's domain of a URL or a host name, or None when there is no host in it."""
    host = host_in(url)
    return _registrable(host) if host else None


def registered(domain: str) -> Registered:
    """What was registered of a registrable domain; private suffixes do not count as suffixes.

    ``anna.blogspot.com`` is part of ``blogspot.com``, whose name is ``blogspot``.
    """
    if "." not in domain or _is_address(domain):
        return Registered(domain, domain)
    found = _extract().extract_str(domain, include_psl_private_domains=False)
    if not found.domain or not found.suffix:
        return Registered(domain.split(".")[-2], domain)
    return Registered(found.domain, f"{found.domain}.{found.suffix}")


def display_domain(domain: str) -> str:
    """A domain for people: ``xn--bcher-kva.example`` as ``bücher.example``."""
    try:
        return idna.decode(domain)
    except idna.IDNAError:
        return domain


def split_url(url: str) -> SplitResult | None:
    """The parts of a URL, with or without its scheme; None for what has no host or is too long."""
    # Before the query a backslash is a slash, as for browsers: a host ends there.
    address, mark, query = url.strip().partition("?")
    address = address.replace("\\", "/")
    text = address + mark + query
    if not text or len(text) > URL_CHARACTERS_MAX or _HOSTLESS.match(text):
        return None
    if "://" not in address:
        text = f"//{text.removeprefix('//')}"
    try:
        return urlsplit(text)
    except ValueError:
        return None


def host_in(url: str) -> str | None:
    """The host of a URL or a host name, in ASCII and lower case."""
    parts = split_url(url)
    host = parts.hostname if parts else None
    return _ascii_host(host) if host else None


@lru_cache(maxsize=65_536)
def _ascii_host(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    # Not case folded: straße.de and strasse.de are different domains.
    bare = host.rstrip(".").lower()
    try:
        return idna.encode(bare, uts46=True).decode().lower()
    except (idna.IDNAError, UnicodeError):
        # Emoji, underscores and other old habits are in use though IDNA forbids them.
        bare = _in_punycode(bare)
        return bare if len(bare) <= _HOST_MAX and _HOST.fullmatch(bare) else None


def _in_punycode(host: str) -> str:
    """As browsers write a name that IDNA forbids; unchanged where they have no form for it."""
    try:
        labels = idna.uts46_remap(host, std3_rules=False).split(".")
        return ".".join(
            label if label.isascii() else f"xn--{label.encode('punycode').decode()}"
            for label in labels
        )
    except (idna.IDNAError, UnicodeError):
        return host


@cache
def _extract(*, shared_hosts: bool = False) -> "TLDExtract":
    # Imported at the first use: it brings a whole HTTP library, for which no start should wait.
    from tldextract import TLDExtract

    return TLDExtract(
        suffix_list_urls=(),
        cache_dir=None,
        fallback_to_snapshot=True,
        include_psl_private_domains=True,
        extra_suffixes=_shared_hosts() if shared_hosts else (),
    )


def _shared_hosts() -> tuple[str, ...]:
    source = resources.files("serpline.analysis").joinpath("data", "shared_hosts.txt")
    lines = source.read_text(encoding="utf-8").splitlines()
    return tuple(name for line in lines if not line.startswith("#") for name in line.split())


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=65_536)
def _registrable(host: str) -> str:
    if _is_address(host):
        return str(ipaddress.ip_address(host))
    if "." not in host:
        return host
    host = _without_www(host)
    found = _extract(shared_hosts=True).extract_str(host)
    if found.suffix and not found.domain:
        # The owner of a private suffix: blogspot.com itself belongs to its registrant.
        found = _extract().extract_str(host, include_psl_private_domains=False)
    if not found.suffix:
        return ".".join(host.split(".")[-2:])
    return f"{found.domain}.{found.suffix}" if found.domain else host


def _without_www(host: str) -> str:
    """``gov.uk`` for ``www.gov.uk``: the ``www`` of a public suffix is the suffix's own site.

    Below a top-level domain it is a name like any other: somebody has registered ``www.de``.
    """
    bare = host.removeprefix("www.")
    if bare == host or "." not in bare:
        return host
    return host if _extract(shared_hosts=True).extract_str(bare).domain else bare
