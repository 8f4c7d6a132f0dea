"""A result's publisher."""

# ruff: noqa: E501  links are as long as they are

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.analysis.domains import is_platform, publisher
from serpline.analysis.wrappers import WRAPPERS_MAX
from serpline.simulator.hostile import TEXTS
from serpline.simulator.wrapping import forms

PAGE = "https://www.acme.com/a/b?c=1"


def bing(url: str) -> str:
    return "a1" + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("link", "page"),
    [
        ("https://www.google.com/url?q=https://www.acme.com/a/b%3Fc%3D1&sa=U&ved=2ah", PAGE),
        ("https://www.google.co.uk/url?sa=t&url=https%3A%2F%2Fwww.acme.com%2Fa%2Fb%3Fc%3D1", PAGE),
        ("https://www.google.com.br/url?q=www.acme.com/x", "http://www.acme.com/x"),
        ("https://www.google.de/url?q=https%253A%252F%252Facme.com%252Fx", "https://acme.com/x"),
        ("https://www.google.com/goto?url=https%3A%2F%2Facme.com%2Fx", "https://acme.com/x"),
        ("https://www.google.com/aclk?sa=L&ai=D&adurl=https://acme.com/x", "https://acme.com/x"),
        ("https://www.google.com/imgres?imgurl=https://b.com/i.png&imgrefurl=https://acme.com/x", "https://acme.com/x"),
        ("https://www.google.com/amp/s/www.acme.com/a/b%3fc%3D1", PAGE),
        ("https://www.google.fr/amp/acme.com/x", "http://acme.com/x"),
        ("https://www-acme-com.cdn.ampproject.org/c/s/www.acme.com/a/b?c=1", PAGE),
        ("https://www-acme-com.cdn.ampproject.org/v/s/www.acme.com/a/b?c=1", PAGE),
        ("https://cdn.ampproject.org/c/acme.com/x", "http://acme.com/x"),
        ("https://www-acme-com.cdn.ampproject.org/i/s/www.acme.com/a.png", "https://www.acme.com/a.png"),
        ("https://www-acme-com.cdn.ampproject.org/ii/w1200/s/www.acme.com/a.png", "https://www.acme.com/a.png"),
        ("https://en--us-acme-com.cdn.ampproject.org/", "https://en-us.acme.com/"),
        ("https://0-en--us-acme-com-0.cdn.ampproject.org/", "https://en-us.acme.com/"),
        ("https://www-acme-com.bing-amp.com/c/s/www.acme.com/a/b?c=1", PAGE),
        ("https://my--shop-co-uk.translate.goog/a?_x_tr_sl=de&_x_tr_tl=en&id=3", "https://my-shop.co.uk/a?id=3"),
        ("https://1-cn--acme-com.translate.goog/?_x_tr_enc=1&_x_tr_sch=http", "http://cn-acme.com/"),
        ("https://0-bcher--kva-example.translate.goog/x?_x_tr_enc=0", "https://xn--bcher-kva.example/x"),
        ("https://acme-com.translate.goog/?_x_tr_hp=shop-", "https://shop.acme.com/"),
        ("https://translate.google.de/translate?hl=en&u=https%3A%2F%2Facme.com%2Fx", "https://acme.com/x"),
        ("https://translate.google.com/website?sl=de&u=http://acme.com/x", "http://acme.com/x"),
        ("https://webcache.googleusercontent.com/search?q=cache:AbCdEfGhIjKl:https://acme.com/x+tea", "https://acme.com/x"),
        ("https://webcache.googleusercontent.com/search?q=cache:acme.com/x", "http://acme.com/x"),
        ("https://www.google.com/search?q=cache:acme.com/x", "http://acme.com/x"),
        (f"https://www.bing.com/ck/a?!&&p=12&u={bing('https://acme.com/ü')}&ntb=1", "https://acme.com/ü"),
        ("https://r.search.yahoo.com/_ylt=A/RV=2/RO=10/RU=https%3a%2f%2facme.com%2fx/RK=2/RS=-", "https://acme.com/x"),
        ("//duckduckgo.com/l/?uddg=https%3A%2F%2Facme.com%2Fx&rut=1", "https://acme.com/x"),
        ("https://l.facebook.com/l.php?u=https%3A%2F%2Facme.com%2Fx&h=AT", "https://acme.com/x"),
        ("https://www.youtube.com/redirect?event=x&q=https%3A%2F%2Facme.com%2Fx", "https://acme.com/x"),
        ("https://yandex.com.tr/turbo/s/acme.com/x", "https://acme.com/x"),
        ("https://acme-com.turbopages.org/turbo/acme.com/s/x", "https://acme.com/x"),
        ("https://consent.google.com/m?continue=https://acme.com/x&gl=DE", "https://acme.com/x"),
        ("https://www.google.com/url?q=https://www.google.com/amp/s/acme.com/x", "https://acme.com/x"),
        ("https://scholar.google.com/scholar_url?url=https://acme.com/x.pdf&hl=en", "https://acme.com/x.pdf"),
        ("https://maps.google.com/local_url?q=https://acme.com/x", "https://acme.com/x"),
        ("https://docs.google.com/viewer?url=https://acme.com/x.pdf", "https://acme.com/x.pdf"),
        ("https://docs.google.com/gview?embedded=true&url=acme.com/x.pdf", "http://acme.com/x.pdf"),
        ("https://www.google.com/travel/clk/f?pc=AA_0&pcurl=https://www.acme.com/x", "https://www.acme.com/x"),
        ("https://ad.doubleclick.net/ddm/clk/1;2;3?https://acme.com/x", "https://acme.com/x"),
        ("https://googleads.g.doubleclick.net/pcs/click?xai=AK&adurl=https://acme.com/x", "https://acme.com/x"),
        ("https://www.googleadservices.com/pagead/aclk?sa=L&adurl=https://acme.com/x", "https://acme.com/x"),
        ("https://www-acme-com.amp.cloudflare.com/c/s/www.acme.com/a/b?c=1", PAGE),
        ("https://www.bing.com/news/apiclick.aspx?tid=1&url=https%3a%2f%2facme.com%2fx&c=1", "https://acme.com/x"),
        (f"https://www.bing.com/aclick?ld=e8&u={bing('https%3a%2f%2facme.com%2fx')[2:]}&rlid=1", "https://acme.com/x"),
        ("https://yandexwebcache.net/yandbtm?fmode=inject&url=https%3A%2F%2Facme.com%2Fx", "https://acme.com/x"),
        ("https://search.naver.com/p/crd/rd?m=1&u=https%3A%2F%2Facme.com%2Fx", "https://acme.com/x"),
        ("https://web.archive.org/web/20200101000000/https://www.acme.com/a/b?c=1", PAGE),
        ("https://web.archive.org/web/2020id_/https:/acme.com/x", "https://acme.com/x"),
        ("https://archive.is/newest/https://acme.com/x", "https://acme.com/x"),
        ("https://link.zhihu.com/?target=https%3A//acme.com/x", "https://acme.com/x"),
        ("https://weibo.cn/sinaurl?u=https%3A%2F%2Facme.com%2Fx", "https://acme.com/x"),
        ("https://www.tiktok.com/link/v2?aid=1&target=https%3A%2F%2Facme.com%2Fx", "https://acme.com/x"),
        ("https://www.linkedin.com/redir/general-malware-page?url=https%3A%2F%2Facme.com%2Fx", "https://acme.com/x"),
        ("https://gate.sc/?url=https%3A%2F%2Facme.com%2Fx&token=1", "https://acme.com/x"),
        ("https://view.officeapps.live.com/op/view.aspx?src=https%3A%2F%2Facme.com%2Fx.docx", "https://acme.com/x.docx"),
        ("https://www.awin1.com/cread.php?awinmid=1&ued=https%3A%2F%2Facme.com%2Fx", "https://acme.com/x"),
        ("https://redirect.viglink.com/?u=https%3A%2F%2Facme.com%2Fx", "https://acme.com/x"),
        ("https://prf.hn/click/camref:1/destination:https%3A%2F%2Facme.com%2Fx", "https://acme.com/x"),
        ("https://www.anrdoezrs.net/links/1/type/dlg/https://acme.com/x", "https://acme.com/x"),
    ],
)  # fmt: skip
def test_a_wrapper_that_carries_its_target_is_undone(link: str, page: str) -> None:
    """The page and its owner are the publisher's, under any domain of the result."""
    owner = page.split("/")[2].removeprefix("www.").removeprefix("shop.").removeprefix("en-us.")
    assert publisher(link, "www.google.com") == (page, owner)
    assert publisher(link) == (page, owner)


@pytest.mark.parametrize(
    "link",
    [
        "https://www.google.com/goto?url=CAESgwEBO6uMpfr25ohr",
        "https://news.google.com/rss/articles/CBMiK0FVX3lxTE?oc=5",
        "https://news.google.com/read/CBMiK0FVX3lxTE",
        "https://www.google.com/url?q=/search?q=tea",
        "https://www.baidu.com/link?url=Zk3h",
        "https://cc.bingj.com/cache.aspx?q=tea&d=1",
        "https://bit.ly/3abc",
        "https://www.google.com/aclk?sa=l&ai=DChcSE&adurl=",
        "https://www.baidu.com/baidu.php?url=Zk3h",
        "https://www.so.com/link?m=Zk3h",
        "https://adcr.naver.com/adcr?x=Zk3h",
        "https://search.yahoo.com/cbclk/dWU9",
        "https://archive.ph/abcde",
        "https://feeds.feedburner.com/~r/acme/~3/x",
        "https://share.google/AbC",
    ],
)
def test_a_wrapper_that_hides_its_target_leaves_the_results_domain(link: str) -> None:
    """The result's own domain counts, unless it is the wrapper's or a variant: then it is unknown."""
    assert publisher(link, "www.acme.co.uk") == (link, "acme.co.uk")
    assert publisher(link, link.split("/")[2]).domain == ""
    assert publisher(link).domain == ""


@pytest.mark.parametrize(
    ("link", "domain"),
    [
        (PAGE, "acme.com"),
        ("https://www.google.com/maps/place/x", "google.com"),
        ("https://support.google.com/url/answer/1", "google.com"),
        ("https://translate.google.com/?sl=auto&text=tea", "google.com"),
        ("https://news.google.com/topstories", "google.com"),
        ("https://www.bing.com/search?q=tea", "bing.com"),
        ("https://bit.ly/", "bit.ly"),
        ("https://www.google.com/search?q=https://other.com", "google.com"),
        ("https://web.archive.org/", "archive.org"),
        ("https://archive.org/details/tea", "archive.org"),
        ("https://archive.ph/", "archive.ph"),
        ("https://gitee.com/acme/repository?target=https://other.com", "gitee.com"),
        ("https://google.com.acme.com/url?q=https://other.com", "acme.com"),
        ("https://google.blogspot.com/url?q=https://other.com", "google.blogspot.com"),
        ("https://notgoogle.com/url?q=https://other.com", "notgoogle.com"),
        ("https://www.acme.com/url?q=https://other.com", "acme.com"),
        ("https://www.youtube.com/premium", "youtube.com"),
        ("https://www.youtube.com/c/Acme", ""),
        ("https://www.youtube.com/playlist?list=PL123", ""),
        ("mailto:a@acme.com", ""),
    ],
)
def test_a_link_that_is_no_wrapper_stays(link: str, domain: str) -> None:
    """Google's own pages are Google's. A host that only looks like Google's is its owner's."""
    assert publisher(link) == (link, domain)


def test_wrappers_in_one_another_are_bounded() -> None:
    """The last wrapper that is unwrapped counts. Beyond the limit the publisher is unknown."""
    wrapper = "https://www.google.com/url?q="
    assert publisher(wrapper * (WRAPPERS_MAX - 1) + PAGE).domain == "acme.com"
    assert publisher(wrapper * WRAPPERS_MAX * 2 + PAGE).domain == ""


def test_every_form_the_simulator_delivers_is_read() -> None:
    """Every link of ``wrapped_links`` gives its page back; ``/goto`` only its domain."""
    goto, *others = forms("https://my-shop.acme.example/a/b")
    assert publisher(goto, "my-shop.acme.example") == (goto, "acme.example")
    for form in others:
        assert publisher(form) == ("https://my-shop.acme.example/a/b", "acme.example")


@given(st.one_of(st.text(max_size=80), st.sampled_from(TEXTS)), st.sampled_from(TEXTS))
@pytest.mark.parametrize(
    "before",
    [
        "",
        "https://www.google.com/url?q=",
        "https://www.google.com/amp/s/",
        "https://x.cdn.ampproject.org/c/s/",
        "https://www.bing.com/ck/a?u=a1",
        "https://webcache.googleusercontent.com/search?q=cache:",
        "https://r.search.yahoo.com/RU=",
        "https://yandex.ru/turbo/",
        "https://0-a.translate.goog/?_x_tr_enc=0,1&_x_tr_hp=",
        "https://",
    ],
)
def test_any_link_and_any_domain_are_answered(before: str, link: str, domain: str) -> None:
    """No text raises."""
    found = publisher(before + link, domain)
    is_platform(found.domain)


@pytest.mark.parametrize(
    ("domain", "is_one"),
    [
        ("amazon.de", True),
        ("amazon.com.au", True),
        ("ebay.co.uk", True),
        ("yandex.com.tr", True),
        ("google.co.jp", True),
        ("pinterest.fr", True),
        ("bit.ly", True),
        ("daraz.pk", True),
        ("daraz.com.bd", True),
        ("leboncoin.fr", True),
        ("ya.ru", True),
        ("b23.tv", True),
        ("gofund.me", True),
        ("acme.band.link", True),
        ("mssg.me", True),
        ("amzn.to", True),
        ("linktr.ee", True),
        ("anna.carrd.co", True),
        ("x.com", True),
        ("x.de", False),
        ("vk.de", False),
        ("amazon.blogspot.com", False),
        ("anna.blogspot.com", False),
        ("amazonia.de", False),
        ("my-ebay.co.uk", False),
        ("acme.com", False),
        ("localhost", False),
        ("192.0.2.7", False),
        ("", False),
    ],
)
def test_platforms(domain: str, is_one: bool) -> None:
    """Known names count in every country, common words only on the platform's own domain."""
    assert is_platform(domain) is is_one
