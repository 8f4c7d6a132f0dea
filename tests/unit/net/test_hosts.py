"""Mapped names and trusted origins."""

import httpx2
import pytest

from serpline.domain.errors import UserError
from serpline.net.hosts import HostMap, Origin, origin_of, trusted_origins


def test_exact_name_wins_over_wildcard_and_long_over_short() -> None:
    """The most specific entry decides a name's address."""
    hosts = HostMap(
        {
            "*.test": "127.0.0.1:1",
            "*.shop.test": "127.0.0.1:2",
            "www.shop.test": "127.0.0.1:3",
            "v6.test": "[::1]:4",
        }
    )
    ports = [
        endpoint.port if (endpoint := hosts.lookup(name)) else None
        for name in ("a.test", "a.shop.test", "b.a.shop.test", "www.shop.test", "v6.test")
    ]
    assert ports == [1, 2, 2, 3, 4]


def test_wildcard_does_not_cover_its_own_suffix_or_a_lookalike() -> None:
    """``*.shop.test`` maps names below shop.test and nothing else."""
    hosts = HostMap({"*.shop.test": "127.0.0.1:2"})
    names = ("shop.test", "eshop.test", "shop.test.com", "test")
    assert [hosts.lookup(name) for name in names] == [None] * 4


@pytest.mark.parametrize(
    ("pattern", "target"),
    [
        ("a.test", "127.0.0.1"),
        ("a.test", "localhost:80"),
        ("a.test", "127.0.0.1:0"),
        ("a.test", "127.0.0.1:65536"),
        ("a.test", "127.0.0.1:x"),
        ("*", "127.0.0.1:80"),
        ("*.", "127.0.0.1:80"),
        ("a.*.test", "127.0.0.1:80"),
        ("10.0.0.1", "127.0.0.1:80"),
    ],
)
def test_bad_entry_is_named(pattern: str, target: str) -> None:
    """A bad entry of the host map is a user error that names it."""
    with pytest.raises(UserError, match="net_host_map") as caught:
        HostMap({pattern: target})
    assert repr(pattern) in str(caught.value)


def test_origin_has_the_default_port_and_one_spelling() -> None:
    """Spellings of one origin are equal: case, default port, forms of an IPv6 address."""
    assert origin_of(httpx2.URL("HTTPS://Example.COM/x")) == Origin("https", "example.com", 443)
    assert origin_of(httpx2.URL("http://[0:0::1]:80/")) == origin_of(httpx2.URL("http://[::1]"))


def test_trust_is_bound_to_scheme_host_and_port() -> None:
    """A base URL makes exactly its own origin trusted."""
    trusted = trusted_origins(["http://127.0.0.1:8077/v1", "https://api.example.com"])
    assert origin_of(httpx2.URL("http://127.0.0.1:8077/other")) in trusted
    for other in ("http://127.0.0.1:8078", "https://127.0.0.1:8077", "http://api.example.com"):
        assert origin_of(httpx2.URL(other)) not in trusted


@pytest.mark.parametrize(
    "base", ["ftp://a.com", "a.com", "http://", "http://u:pw@a.com", "http://["]
)
def test_bad_base_is_refused_without_its_password(base: str) -> None:
    """An unusable base URL is a user error, without the password in it."""
    with pytest.raises(UserError) as caught:
        trusted_origins([base])
    assert "pw" not in str(caught.value)
