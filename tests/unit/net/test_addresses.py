"""Which addresses and hosts pages may be fetched from."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.net.addresses import address_refusal, host_refusal

REFUSED = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "10.0.0.1": "private",
    "10.255.255.255": "private",
    "100.64.0.1": "carrier-grade NAT",
    "100.100.100.200": "carrier-grade NAT",
    "100.127.255.255": "carrier-grade NAT",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "a cloud's metadata service",
    "169.254.169.254": "link-local",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.192": "reserved",
    "192.0.2.1": "documentation",
    "192.88.99.1": "6to4 relay",
    "192.168.1.1": "private",
    "198.18.0.1": "benchmarking",
    "198.19.255.255": "benchmarking",
    "198.51.100.7": "documentation",
    "203.0.113.7": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "::": "unspecified",
    "::1": "loopback",
    "::ffff:127.0.0.1": "IPv4-mapped",
    "::ffff:8.8.8.8": "IPv4-mapped",
    "::ffff:0:127.0.0.1": "IPv4-translated",
    "::127.0.0.1": "IPv4-compatible",
    "64:ff9b::7f00:1": "NAT64",
    "64:ff9b:1::a00:1": "NAT64",
    "100::1": "discard-only",
    "2001::7f00:1": "Teredo",
    "2001:10::1": "reserved",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "6to4",
    "3fff::1": "documentation",
    "5f00::1": "segment routing",
    "fc00::1": "private",
    "fd00:ec2::254": "private",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "2606:4700::1111%eth0": "link-local",
    "fec0::1": "site-local",
    "feff::1": "site-local",
    "ff02::1": "multicast",
    "4000::1": "reserved",
    "1000::1": "reserved",
}

ALLOWED = (
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001::200e",
    "3ffe:ffff::1",
)


@pytest.mark.parametrize(("text", "reason"), REFUSED.items())
def test_special_address_is_refused(text: str, reason: str) -> None:
    """An address that is not globally routable unicast is refused, with its reason."""
    assert address_refusal(ip_address(text)) == reason


@pytest.mark.parametrize("text", ALLOWED)
def test_public_address_is_allowed(text: str) -> None:
    """The addresses just outside each refused range are ordinary ones."""
    assert address_refusal(ip_address(text)) is None


@given(st.integers(0, 2**32 - 1))
def test_nothing_that_python_calls_local_passes(number: int) -> None:
    """No IPv4 address passes that the standard library does not call global."""
    address = IPv4Address(number)
    assert address.is_global or address_refusal(address) is not None


@given(st.integers(0, 2**128 - 1))
def test_no_ipv6_address_outside_global_unicast_passes(number: int) -> None:
    """No IPv6 address passes that the library calls local, or that lies outside 2000::/3."""
    address = IPv6Address(number)
    public = address.is_global and number >> 125 == 0b001
    assert public or address_refusal(address) is not None


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "intranet",
        "printer.local",
        "db.internal",
        "router.home.arpa",
        "a.localhost",
        "shop.test",
        "shop.example",
        "hidden.onion",
        "127.1",
        "127.0.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f000001",
        "0x7f.0.0.1",
        "0x7f.1",
        "127.0.0.01",
        "1.2.3.4.5",
        "example.com.",
        "example..com",
        ".example.com",
        "-a.com",
        "exa mple.com",
        "exam%70le.com",
        "a" * 64 + ".com",
        "a." * 130 + "com",
        "",
    ],
)
def test_odd_host_is_refused(host: str) -> None:
    """A local name, a spelling of a number, or what is no host name at all is refused."""
    assert host_refusal(host) is not None


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "www.example.co.uk",
        "xn--fiqs8s.icom.museum",
        "a_b.example.com",
        "1.example.org",
    ],
)
def test_ordinary_host_is_allowed(host: str) -> None:
    """A public host name passes; its addresses are judged when it is resolved."""
    assert host_refusal(host) is None
