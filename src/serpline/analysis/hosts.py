"""The host in a URL, and its registrable domain.

``registrable_domain`` is the key by which companies are counted and bought: ``www.acme.com``,
``shop.acme.com`` and ``acme.com`` are one. It uses the Public Suffix List in tldextract, without
network or disk cache. The list's private part counts: ``anna.blogspot.com`` and
``ben.blogspot.com`` have different owners, and neither is Blogspot. The same holds for names below
the hosts in ``data/shared_hosts.txt``, which the list lacks.

Hosts are in ASCII (punycode), lower case, without port, user or trailing dot, so that a name has
one spelling. ``display_domain`` decodes it for people. IP addresses and names without a public
suffix are valid: an IP address is its own owner, ``shop.acme.example`` belongs to
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

# RFC 1035, section 2.3.4, without the final dot. DNS resolves no longer name.
_HOST_MAX = 253
_HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
# "mailto:" and similar have no host; "acme.com:8080" has one.
_HOSTLESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?!//|[0-9])")


class Registered(NamedTuple):
    """A registered domain, such as ``amazon`` and ``amazon.co.uk``."""

    name: str
    domain: str


def registrable_domain(url: str) -> str | None:
    """The registrable domain of a URL or host name, or None if it has no host."""
    host = host_in(url)
    return _registrable(host) if host else None


def registered(domain: str) -> Registered:
    """The registered domain of a registrable one, without private suffixes.

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
    """Split a URL with or without a scheme. None if it has no host or is too long."""
    # Before the query a backslash is a slash, as in browsers: the host ends there.
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
        # Emoji and underscores are in use, although IDNA forbids them.
        bare = _in_punycode(bare)
        return bare if len(bare) <= _HOST_MAX and _HOST.fullmatch(bare) else None


def _in_punycode(host: str) -> str:
    """A name that IDNA forbids, as browsers encode it; unchanged if they do not."""
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
    # Imported at first use, because it loads an HTTP library, which would slow every start.
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
        # A private suffix itself, such as blogspot.com, belongs to its registrant.
        found = _extract().extract_str(host, include_psl_private_domains=False)
    if not found.suffix:
        return ".".join(host.split(".")[-2:])
    return f"{found.domain}.{found.suffix}" if found.domain else host


def _without_www(host: str) -> str:
    """``gov.uk`` for ``www.gov.uk``: ``www`` below a public suffix is the suffix's own site.

    Below a top-level domain ``www`` is an ordinary name: ``www.de`` is registered.
    """
    bare = host.removeprefix("www.")
    if bare == host or "." not in bare:
        return host
    return host if _extract(shared_hosts=True).extract_str(bare).domain else bare
