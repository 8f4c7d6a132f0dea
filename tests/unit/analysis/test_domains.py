"""Owners and pages."""

import socket
import string

import pytest
import tldextract
from hypothesis import given
from hypothesis import strategies as st

from serpline.analysis.domains import (
    URL_CHARACTERS_MAX,
    canonical_url,
    display_domain,
    is_platform,
    registrable_domain,
    youtube_channel_ref,
    youtube_video_id,
)


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://www.acme.com/x", "acme.com"),
        ("acme.com", "acme.com"),
        ("WWW.ACME.COM.", "acme.com"),
        ("//shop.acme.co.uk/a?b=https://other.com", "acme.co.uk"),
        ("http://user:pw@acme.com:8080/", "acme.com"),
        ("acme.com:8080/x", "acme.com"),
        ("https://anna.blogspot.com/2024", "anna.blogspot.com"),
        ("https://blogspot.com/", "blogspot.com"),
        ("https://www.blogspot.com/", "blogspot.com"),
        ("https://www.gov.uk/x", "gov.uk"),
        ("https://hmrc.gov.uk", "hmrc.gov.uk"),
        ("https://www.web.app/", "web.app"),
        ("https://shop.web.app/", "shop.web.app"),
        ("https://www.de/", "www.de"),
        ("https://www.acme.example/x", "acme.example"),
        ("https://a.b.acme.example", "acme.example"),
        ("https://bücher.example/", "xn--bcher-kva.example"),
        ("https://XN--BCHER-KVA.example/", "xn--bcher-kva.example"),
        ("https://www.食狮.公司.cn", "xn--85x722f.xn--55qx5d.cn"),
        ("https://straße.de/", "xn--strae-oqa.de"),
        ("https://STRASSE.de/", "strasse.de"),
        ("https://βόλος.com/", "xn--nxasmm1c.com"),
        ("https://☃.net/", "xn--n3h.net"),
        ("https://www.i❤.ws/", "xn--i-7iq.ws"),
        ("https://my_shöp.acme.com/", "acme.com"),
        ("https://acme.com\\@other.com/", "acme.com"),
        ("https:\\\\www.acme.com\\x", "acme.com"),
        ("http://192.0.2.7:81/x", "192.0.2.7"),
        ("http://[2001:DB8::1]/x", "2001:db8::1"),
        ("https://my_shop.acme.com/", "acme.com"),
        ("localhost:8000", "localhost"),
        ("co.uk", "co.uk"),
        ("", None),
        ("https:///path", None),
        ("mailto:a@acme.com", None),
        ("javascript:alert(1)", None),
        ("http://[broken/", None),
        ("https://acme com/", None),
        ("https://acme.com/" + "a" * URL_CHARACTERS_MAX, None),
    ],
)
def test_the_owner_of_a_url(url: str, domain: str | None) -> None:
    """www, subdomains, ports, users, case and spelling do not change the owner."""
    assert registrable_domain(url) == domain


def test_no_network_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suffix list comes with the package: an owner is found with the network forbidden."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    fresh = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    assert fresh.extract_str("www.acme.co.uk").suffix == "co.uk"
    assert registrable_domain("https://www.not-asked-before.co.uk") == "not-asked-before.co.uk"


def test_domains_are_shown_in_their_own_script() -> None:
    """Punycode is decoded for people. Other text stays."""
    assert display_domain("xn--bcher-kva.example") == "bücher.example"
    assert display_domain("192.0.2.7") == "192.0.2.7"
    assert display_domain("my_shop.example") == "my_shop.example"


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTP://WWW.Acme.COM:80/a/../b/./c?b=2&a=1#frag", "http://www.acme.com/b/c?a=1&b=2"),
        ("https://acme.com", "https://acme.com/"),
        ("https://acme.com/x/?utm_source=a&UTM_Medium=b&gclid=1&fbclid=2", "https://acme.com/x/"),
        (
            "https://acme.com/?pk_id=7&utm_zone=33&hsa_x=1",
            "https://acme.com/?hsa_x=1&pk_id=7&utm_zone=33",
        ),
        ("https://acme.com/?pk_campaign=a&mtm_kwd=b&hsa_acc=c&amp_js_v=d", "https://acme.com/"),
        ("https://acme.com/?srsltid=q&id=7&msclkid=1", "https://acme.com/?id=7"),
        ("https://acme.com/?b&a=&x=2&x=1", "https://acme.com/?a=&b&x=2&x=1"),
        (
            "https://acme.com/%7euser/%2fa%c3%bc?q=a%26b+c",
            "https://acme.com/~user/%2Fa%C3%BC?q=a%26b+c",
        ),
        ("https://bücher.example/ü x?q=ß", "https://xn--bcher-kva.example/%C3%BC%20x?q=%C3%9F"),
        ("https://u:p@acme.com:8443/", "https://acme.com:8443/"),
        ("http://[2001:DB8::1]:80/x", "http://[2001:db8::1]/x"),
        ("https://acme.com/100%", "https://acme.com/100%25"),
        ("https://acme.com/a/..", "https://acme.com/"),
        ("https://acme.com/../../a", "https://acme.com/a"),
        ("https://youtu.be/dQw4w9WgXcQ?t=3", "https://www.youtube.com/watch?v=dQw4w9WgXcQ"),
        ("https://m.youtube.com/watch?v=short", "https://m.youtube.com/watch?v=short"),
        ("acme.com/x", None),
        ("ftp://acme.com/x", None),
        ("https://acme.com:99999/", None),
        ("https://", None),
    ],
)
def test_one_spelling_for_a_page(url: str, canonical: str | None) -> None:
    """Tracking, fragments and spelling variants are removed. Parts that may select a page stay."""
    assert canonical_url(url) == canonical


@given(
    st.text(string.printable + "üß漢%/?#&=", max_size=40),
    st.text(string.printable + "üß漢%/?#&=", max_size=40),
)
def test_a_canonical_url_is_its_own(path: str, query: str) -> None:
    """Canonicalising is idempotent and keeps the owner."""
    once = canonical_url(f"https://www.acme.example/{path}?{query}")
    assert once is not None
    assert canonical_url(once) == once
    assert registrable_domain(once) == "acme.example"
    assert once.isascii()


@pytest.mark.parametrize("host", ["a" * 64 + ".com", ".".join(["b" * 60] * 5) + ".com", "_" * 3000])
def test_an_overlong_name_has_no_owner(host: str) -> None:
    """A name longer than RFC 1035 allows is neither a company nor an item's key."""
    assert registrable_domain(f"https://{host}/p") is None
    assert canonical_url(f"https://{host}/p") is None
    assert registrable_domain("a_" + "b" * 61 + ".com") == "a_" + "b" * 61 + ".com"


@pytest.mark.parametrize(
    ("url", "owner"),
    [
        ("https://acme.substack.com/p/one", "acme.substack.com"),
        ("https://www.acme.wordpress.com/", "acme.wordpress.com"),
        ("https://acme.blogspot.co.uk/", "acme.blogspot.co.uk"),
        ("https://acme.medium.com/x", "acme.medium.com"),
        ("https://substack.com/home", "substack.com"),
        ("https://www.medium.com/@acme", "medium.com"),
        ("https://wordpress.com/", "wordpress.com"),
        ("https://www.blogspot.de/", "blogspot.de"),
    ],
)
def test_a_publisher_below_a_host_of_many_is_its_own(url: str, owner: str) -> None:
    """Also below hosts that the Public Suffix List lacks. The host itself is a company too."""
    assert registrable_domain(url) == owner
    assert registrable_domain(owner) == owner
    assert not is_platform("amazon.substack.com"), "a blog is not a national site of Amazon"


@given(st.text(max_size=60))
def test_any_text_is_answered(text: str) -> None:
    """No text raises, and a domain is its own domain."""
    canonical_url(text)
    youtube_video_id(text)
    youtube_channel_ref(text)
    domain = registrable_domain(text)
    assert domain is None or registrable_domain(domain) in (domain, None)


@pytest.mark.parametrize(
    ("url", "video"),
    [
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ", "dQw4w9WgXcQ"),
        ("https://m.youtube.com/watch?app=desktop&v=dQw4w9WgXcQ&t=3s", "dQw4w9WgXcQ"),
        ("https://music.youtube.com/watch?v=dQw4w9WgXcQ&v=other", "dQw4w9WgXcQ"),
        ("https://youtu.be/dQw4w9WgXcQ?si=abc", "dQw4w9WgXcQ"),
        ("https://www.youtube.com/shorts/a-b_c-d_e-f", "a-b_c-d_e-f"),
        ("https://www.youtube-nocookie.com/embed/dQw4w9WgXcQ", "dQw4w9WgXcQ"),
        ("https://youtube.com/live/dQw4w9WgXcQ?feature=share", "dQw4w9WgXcQ"),
        ("https://youtube.com/watch/dQw4w9WgXcQ", "dQw4w9WgXcQ"),
        ("https://www.youtube.com/watch_popup?v=dQw4w9WgXcQ", "dQw4w9WgXcQ"),
        ("https://www.youtube.com/embed/videoseries?list=PL1", None),
        ("https://www.youtube.com/embed/live_stream?channel=UC1", None),
        ("https://www.youtube.com/watch?v=tooshort", None),
        ("https://www.youtube.com/watch?list=PL1", None),
        ("https://www.youtube.com/embed/", None),
        ("https://www.youtube.com/@acme", None),
        ("https://notyoutube.com/watch?v=dQw4w9WgXcQ", None),
        ("https://youtube.com.acme.example/watch?v=dQw4w9WgXcQ", None),
        ("https://vimeo.com/123", None),
        ("", None),
    ],
)
def test_video_ids(url: str, video: str | None) -> None:
    """Every form of a YouTube video's URL gives its id; nothing else does."""
    assert youtube_video_id(url) == video


@pytest.mark.parametrize(
    ("url", "reference"),
    [
        ("https://www.youtube.com/channel/UC" + "a" * 22, "UC" + "a" * 22),
        ("https://www.youtube.com/@AcmeCoffee/videos", "@acmecoffee"),
        ("https://www.youtube.com/%40Acme", "@acme"),
        ("https://www.youtube.com/@%E5%90%95%E6%A2%81%E5%B8%82", "@吕梁市"),
        ("https://www.youtube.com/@Stra%C3%9Fe", "@straße"),
        ("https://www.youtube.com/@%E0%B8%81%E0%B8%B4%E0%B8%99%E0%B8%94%E0%B8%B5", "@กินดี"),
        ("https://www.youtube.com/@हिन्दी", "@हिन्दी"),
        ("https://www.youtube.com/@茶", "@茶"),
        ("https://m.youtube.com/@a·b-c_d.e/videos", "@a·b-c_d.e"),
        ("https://www.youtube.com/@ab", None),
        ("https://www.youtube.com/@" + "a" * 31, None),
        ("https://www.youtube.com/@a!bc", None),
        ("https://www.youtube.com/embed/live_stream?channel=UC" + "a" * 22, "UC" + "a" * 22),
        ("https://www.youtube.com/playlist?list=UU" + "a" * 22, "UC" + "a" * 22),
        ("https://www.youtube.com/embed/videoseries?list=UULF" + "a" * 22, "UC" + "a" * 22),
        ("https://www.youtube.com/playlist?list=PL" + "a" * 22, "PL" + "a" * 22),
        ("https://www.youtube.com/embed/videoseries?list=PL" + "Z" * 16, "PL" + "Z" * 16),
        ("https://www.youtube.com/playlist?list=RDMM", None),
        ("https://www.youtube.com/playlist?list=OLAK5uy_" + "a" * 33, None),
        ("https://www.youtube.com/playlist?list=PL,PL" + "a" * 22, None),
        ("https://www.youtube.com/user/Acme%2C/videos", None),
        ("https://www.youtube.com/user", None),
        ("https://www.youtube.com/channel/short", None),
        ("https://www.youtube.com/c/Acme", None),
        ("https://www.youtube.com/user/Acme", "user/acme"),
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ", None),
        ("https://acme.example/@acme", None),
    ],
)
def test_channel_references(url: str, reference: str | None) -> None:
    """A channel's reference is its id, its handle, its old name or one of its lists."""
    assert youtube_channel_ref(url) == reference
