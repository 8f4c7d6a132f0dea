"""The operator's host settings: trusted origins and mapped host names.

A mistake in them is a ``UserError`` that names the value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx2

from serpline.domain.errors import UserError
from serpline.net.addresses import Address, is_name, literal_address

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: the unit of connection and trust."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a port to connect to."""

    address: Address
    port: int


class HostMap:
    """Addresses of names that do not resolve: ``name`` or ``*.suffix`` → ``address:port``.

    An exact name wins over a wildcard, and a longer suffix over a shorter one. ``*.example.test``
    covers every name below ``example.test``, but not the name itself.
    """

    def __init__(self, entries: Mapping[str, str]) -> None:
        self._exact: dict[str, Endpoint] = {}
        self._by_suffix: dict[str, Endpoint] = {}
        for pattern, target in entries.items():
            endpoint = _endpoint(pattern, target)
            wildcard = pattern.startswith("*.")
            name = pattern.removeprefix("*.").lower()
            if not is_name(name) or literal_address(name) is not None:
                raise UserError(f"net_host_map: {pattern!r} is neither a name nor *.suffix")
            (self._by_suffix if wildcard else self._exact)[name] = endpoint

    def lookup(self, host: str) -> Endpoint | None:
        """The endpoint of ``host`` (lower-case), or None if it is not mapped."""
        endpoint = self._exact.get(host)
        if endpoint is not None or not self._by_suffix:
            return endpoint
        suffix = host
        while "." in suffix:
            suffix = suffix.partition(".")[2]
            if suffix in self._by_suffix:
                return self._by_suffix[suffix]
        return None


def origin_of(url: httpx2.URL) -> Origin:
    """The origin of an absolute http or https URL."""
    host = url.raw_host.decode("ascii")
    literal = literal_address(host)
    port = url.port if url.port is not None else DEFAULT_PORTS.get(url.scheme, 0)
    return Origin(url.scheme, str(literal) if literal is not None else host, port)


def trusted_origins(bases: Sequence[str]) -> frozenset[Origin]:
    """The origins of the operator's base URLs. Their paths are ignored."""
    return frozenset(_trusted(base) for base in bases)


def _trusted(base: str) -> Origin:
    try:
        url = httpx2.URL(base)
    except httpx2.InvalidURL:
        raise UserError("base URL: not a URL") from None
    if url.scheme not in DEFAULT_PORTS or not url.raw_host:
        raise UserError(f"base URL of {url.scheme or 'no scheme'}: needs http(s)://host")
    origin = origin_of(url)
    if literal_address(origin.host) is None and not is_name(origin.host):
        raise UserError(f"base URL: {origin.host!r} is no host")
    if url.userinfo:
        raise UserError(f"base URL for {origin.host}: must not hold a user or password")
    return origin


def _endpoint(pattern: str, target: str) -> Endpoint:
    text, _, port = target.rpartition(":")
    address = literal_address(text.removeprefix("[").removesuffix("]"))
    if address is None or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise UserError(f"net_host_map: {pattern!r} → {target!r} is not address:port")
    return Endpoint(address, int(port))
