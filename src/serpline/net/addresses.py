"""Which hosts and addresses a page may be fetched from: the rules against request forgery (SSRF).

The promise: only globally routable unicast addresses pass, judged on the address a socket is about
to be connected to. The tables follow the IANA special-purpose registries; for IPv6 whatever is
outside 2000::/3 is refused as well, so a range that nobody thought of is refused too. The limit:
the machine's own public address is an ordinary one here.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

_V4: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's metadata service"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "reserved"),
        ("192.52.193.0/24", "reserved"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "reserved"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)

# The first match gives the reason, so the narrower range comes first.
_V6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(network), reason)
    for network, reason in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("::ffff:0:0:0/96", "IPv4-translated"),
        ("::/96", "IPv4-compatible"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
        ("100::/64", "discard-only"),
        ("2001::/32", "Teredo"),
        ("2001:db8::/32", "documentation"),
        ("2001::/23", "reserved"),
        ("2002::/16", "6to4"),
        ("2620:4f:8000::/48", "reserved"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
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
    if isinstance(address, IPv4Address):
        for network, reason in _V4:
            if address in network:
                return reason
        return None
    if address.scope_id is not None:
        return "link-local"
    for network6, reason in _V6:
        if address in network6:
            return reason
    return None if address in _GLOBAL_UNICAST else "reserved"


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
