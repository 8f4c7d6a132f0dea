"""Which hosts and addresses pages may be fetched from: protection against request forgery (SSRF).

Promise: only globally routable unicast addresses pass. The check applies to the address that the
socket connects to. It is the standard library's ``is_global`` plus the ranges missing there. An
IPv6 address must also lie in 2000::/3, which refuses ranges that no list has.
Limit: the machine's own public address passes.
"""

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

# Ranges that ``is_global`` passes, in whole or in part, in some Python from 3.11 to 3.14.
_REFUSED = tuple(
    (ip_network(network), reason)
    for network, reason in (
        # In every Python: one cloud's metadata server, and anycast infrastructure.
        ("168.63.129.16/32", "cloud metadata"),
        ("192.31.196.0/24", "AS112"),
        ("192.52.193.0/24", "AMT relay"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.175.48.0/24", "AS112"),
        ("2620:4f:8000::/48", "AS112"),
        ("224.0.0.0/4", "multicast"),
        # Before 3.11.10 and 3.12.4 all except .0-.7, .170 and .171; since then .9 and .10.
        ("192.0.0.0/24", "reserved"),
        # Since 3.11.10 and 3.12.4 parts, such as AMT, AS112 and ORCHIDv2. Includes Teredo.
        ("2001::/23", "reserved"),
        # Before 3.11.10 and 3.12.4.
        ("2002::/16", "6to4"),
        # In 3.11, and in the first releases of 3.12 and 3.13.
        ("3fff::/20", "documentation"),
        # Outside 2000::/3, but listed for its reason: behind DNS64 every IPv4 site resolves to it.
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")

# Names that are never public sites (RFC 6761, 6762, 7686, 8375, 9476 and ICANN's ``internal``).
_LOCAL_SUFFIXES = (
    "alt",
    "corp",
    "example",
    "home",
    "home.arpa",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "onion",
    "private",
    "test",
)

_NAME_CHARS_MAX = 253
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_ANY_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# At least two labels, the last starting with a letter. So no spelling of a numeric address
# (decimal, octal, hexadecimal, short) passes as a name.
_PUBLIC_NAME = re.compile(rf"(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])")


def address_refusal(address: Address) -> str | None:
    """Why ``address`` is refused, or None if it is allowed."""
    for network, reason in _REFUSED:
        if address in network:
            return reason
    public = address.is_global
    if isinstance(address, IPv6Address):
        public = public and address in _GLOBAL_UNICAST and address.scope_id is None
    return None if public else "private or reserved"


def host_refusal(host: str) -> str | None:
    """Why ``host`` (lower-case ASCII, IPv6 without brackets) is refused, or None if allowed.

    A name that passes must still be resolved, and each of its addresses checked.
    """
    literal = literal_address(host)
    if literal is not None:
        return address_refusal(literal)
    if len(host) > _NAME_CHARS_MAX or not _PUBLIC_NAME.fullmatch(host):
        return "not a public host name"
    if any(host == suffix or host.endswith("." + suffix) for suffix in _LOCAL_SUFFIXES):
        return "a local name"
    return None


def literal_address(host: str) -> Address | None:
    """The IP address that ``host`` spells in standard notation, or None."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_name(host: str) -> bool:
    """Whether ``host`` has the form of a host name, local names included."""
    return len(host) <= _NAME_CHARS_MAX and _ANY_NAME.fullmatch(host) is not None
