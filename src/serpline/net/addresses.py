"""Which hosts and addresses a page may be fetched from: the rules against request forgery (SSRF).

The promise: only globally routable unicast addresses pass, judged on the address a socket is about
to be connected to. The standard library's ``is_global`` decides, with what it lacks; and an IPv6
address must lie in 2000::/3, so that ranges nobody thought of are refused, too. The limit: the
machine's own public address is an ordinary one here.
"""

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

# Ranges, in whole or in part, that ``is_global`` lets through in some Python from 3.11 to 3.14.
_LACKING = tuple(
    (ip_network(network), reason)
    for network, reason in (
        # In every Python: anycast to helpers of the net's own, and what one cloud's machines reach.
        ("168.63.129.16/32", "cloud metadata"),
        ("192.31.196.0/24", "AS112"),
        ("192.52.193.0/24", "AMT relay"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.175.48.0/24", "AS112"),
        ("2620:4f:8000::/48", "AS112"),
        ("224.0.0.0/4", "multicast"),
        # Before 3.11.10 and 3.12.4 all of it but .0-.7, .170 and .171; since then .9 and .10.
        ("192.0.0.0/24", "reserved"),
        # Since 3.11.10 and 3.12.4 parts of it: AMT, AS112 and ORCHIDv2 among them. Holds Teredo.
        ("2001::/23", "reserved"),
        # Before 3.11.10 and 3.12.4.
        ("2002::/16", "6to4"),
        # In 3.11, and in the first releases of 3.12 and 3.13.
        ("3fff::/20", "documentation"),
        # Outside 2000::/3; named, because behind DNS64 every IPv4 site resolves to it.
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")

# Names that never mean a public site (RFC 6761, 6762, 7686, 8375, 9476 and ICANN's ``internal``).
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
# At least two labels, and a top-level one that starts with a letter: so no spelling of a number
# (decimal, octal, hexadecimal, short) can be taken for a name.
_PUBLIC_NAME = re.compile(rf"(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])")


def address_refusal(address: Address) -> str | None:
    """Why no page may be fetched from ``address``, or None if it may."""
    for network, reason in _LACKING:
        if address in network:
            return reason
    public = address.is_global
    if isinstance(address, IPv6Address):
        public = public and address in _GLOBAL_UNICAST and address.scope_id is None
    return None if public else "private or reserved"


def host_refusal(host: str) -> str | None:
    """Why no page may be fetched from ``host`` (lower-case ASCII, IPv6 without brackets), or None.

    A name that passes must still be resolved and every one of its addresses judged.
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
    """The address that ``host`` spells in standard notation, or None if it is no such literal."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_name(host: str) -> bool:
    """Whether ``host`` is written like a host name, local ones included."""
    return len(host) <= _NAME_CHARS_MAX and _ANY_NAME.fullmatch(host) is not None
