"""Which addresses and hosts pages may be fetched from."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.net.addresses import address_refusal, host_refusal

NAMED = {
    "168.63.129.16": "cloud metadata",
    "192.0.0.192": "reserved",
    "192.88.99.1": "6to4 relay",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "64:ff9b::7f00:1": "NAT64",
    "64:ff9b:1::a00:1": "NAT64",
    "2001::7f00:1": "reserved",
    "2001:10::1": "reserved",
    "2002:7f00:1::": "6to4",
    "3fff::1": "documentation",
}

PLAIN = (
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200",
    "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7",
    "203.0.113.7", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1",
    "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "::127.0.0.1", "100::1", "2001:db8::1", "5f00::1",
    "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "2606:4700::1111%eth0", "fec0::1",
    "feff::1", "ff02::1", "4000::1", "1000::1",
)  # fmt: skip

# IANA's special-purpose registries, ranges missing there, and one cloud's metadata service.
RANGES = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24",
    "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
    "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "192.0.0.9/32", "192.0.0.10/32",
    "::/128", "::1/128", "::ffff:0:0/96", "::ffff:0:0:0/96", "::/96", "64:ff9b::/96",
    "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/32", "2001:1::1/128", "2001:1::2/128",
    "2001:1::3/128", "2001:2::/48", "2001:3::/32", "2001:4:112::/48", "2001:10::/28",
    "2001:20::/28", "2001:30::/28", "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48",
    "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "::/3", "4000::/2",
    "8000::/1",
)  # fmt: skip

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
    "168.63.129.15",
    "168.63.129.17",
    "191.255.255.255",
    "192.0.1.0",
    "192.31.195.255",
    "192.31.197.0",
    "192.52.192.255",
    "192.52.194.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::",
    "2001:db7:ffff::1",
    "2001:db9::",
    "2001:ffff::1",
    "2003::",
    "2620:4f:7fff::1",
    "2620:4f:8001::",
    "2606:4700:4700::1111",
    "2a00:1450:4001::200e",
    "3ffe:ffff::1",
    "3fff:1000::",
)


@pytest.mark.parametrize("text", [*NAMED, *PLAIN])
def test_special_address_is_refused(text: str) -> None:
    """An address that is not globally routable unicast is refused, with its reason."""
    assert address_refusal(ip_address(text)) == NAMED.get(text, "private or reserved")


@pytest.mark.parametrize("text", RANGES)
def test_special_range_is_refused_from_its_first_address_to_its_last(text: str) -> None:
    """No address of a refused range passes under any Python version."""
    network = ip_network(text)
    for address in (network[0], network[network.num_addresses // 2], network[-1]):
        assert address_refusal(address) is not None


@pytest.mark.parametrize("text", ALLOWED)
def test_public_address_is_allowed(text: str) -> None:
    """The addresses just outside each refused range pass."""
    assert address_refusal(ip_address(text)) is None


@given(st.integers(0, 2**32 - 1))
def test_no_address_passes_that_python_considers_local(number: int) -> None:
    """No IPv4 address passes that the standard library does not consider global."""
    address = IPv4Address(number)
    assert address.is_global or address_refusal(address) is not None


@given(st.integers(0, 2**128 - 1))
def test_no_ipv6_address_outside_global_unicast_passes(number: int) -> None:
    """No IPv6 address passes that the library considers local, or that lies outside 2000::/3."""
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
    """A local name, a spelling of a number, or text that is not a host name is refused."""
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
    """A public host name passes. Its addresses are checked when it is resolved."""
    assert host_refusal(host) is None
