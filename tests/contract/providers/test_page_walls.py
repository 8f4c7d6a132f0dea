"""Pages without content (walls, notices, soft 404s, empty pages) and pages about such things."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from trafilatura import load_html

from serpline.domain.errors import ErrorCategory
from serpline.domain.http import HttpReply
from serpline.domain.names import EmptyKind
from serpline.providers.pages.client import PageClient
from serpline.providers.pages.errors import EmptyPageError
from serpline.providers.pages.extraction import Extractor
from serpline.providers.pages.facts import PageFacts, read_facts
from serpline.providers.pages.walls import by_content
from serpline.providers.pages.wire import PageDocument, PageText
from serpline.simulator.walls import WALLS

URL = "https://a.example/some/page"
CALL = PageClient(now=lambda: datetime(2026, 3, 1, tzinfo=UTC)).fetch_page(URL)
TYPE = {"content-type": "text/html; charset=utf-8"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def extractor() -> AsyncIterator[Extractor]:
    async with Extractor(processes=1) as opened:
        yield opened


async def read(extractor: Extractor, reply: HttpReply) -> PageText | EmptyPageError:
    """The result of a reply, through the call and the extractor."""
    try:
        return await extractor.extract(CALL.parse(reply))
    except EmptyPageError as error:
        return error


@pytest.mark.parametrize("name", [name for name, wall in WALLS.items() if not wall.long])
@pytest.mark.asyncio(loop_scope="module")
async def test_a_wall_is_an_empty_page_of_its_kind(name: str, extractor: Extractor) -> None:
    """Each wall seen in the wild is recognised, in any language."""
    wall = WALLS[name]
    reply = HttpReply(wall.status, {**TYPE, **wall.headers}, wall.html.encode(), url=URL)
    found = await read(extractor, reply)
    assert isinstance(found, EmptyPageError), found
    assert found.kind == EmptyKind(wall.kind), found
    assert (found.category, found.permanent) == (ErrorCategory.EMPTY, True)
    assert not found.breaker_failure


@pytest.mark.parametrize(
    "name", [n for n, wall in WALLS.items() if wall.status == 200 and not wall.long]
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_wall_among_a_sites_furniture(name: str, extractor: Extractor) -> None:
    """The same with a cookie banner and long scripts; the kind may differ."""
    html = (
        WALLS[name]
        .html.replace("</body>", f"<script>{'var filler = 0;' * 3_000}</script></body>")
        .replace("</BODY>", "<script>var filler;</script></BODY>")
    )
    found = await read(extractor, HttpReply(200, TYPE, html.encode(), url=URL))
    assert isinstance(found, EmptyPageError), found


BANNER = (
    '<div class="cookie-banner"><p>We use cookies. We and our partners store and/or access '
    "information on a device.</p><button>Accept all</button><button>Reject all</button></div>"
)
SENTENCES = {
    "en": "Readers ask us every week how this works, so here is what we learned from asking them. ",
    "de": "Leserinnen und Leser fragen uns jede Woche, wie das geht, und das ist unsere Antwort. ",
    "ja": "読者の皆さまから毎週のように寄せられるご質問に、専門家がわかりやすくお答えします。",
}


def article(title: str, text: str, *, lang: str = "en", head: str = "", extra: str = "") -> str:
    """An ordinary page with its site's banner and navigation."""
    body = "".join(f"<p>{n}. {text} {SENTENCES[lang] * 3}</p>" for n in range(5))
    return (
        f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8"><title>{title}</title>'
        f"{head}</head><body>{BANNER}<nav><a href=/login>Log in</a></nav><main><h1>{title}</h1>"
        f"{body}{extra}</main><footer>Please enable JavaScript for the best experience.</footer>"
        "<noscript>Please enable JavaScript.</noscript></body></html>"
    )


CONTENT = {
    "about Cloudflare": article(
        "Just a moment... – what Cloudflare's challenge page means",
        "The page that says “Checking your browser before accessing” sets window._cf_chl_opt and "
        "loads /cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1.",
    ),
    "code of a wall": article(
        "How to detect DataDome",
        "<pre>&lt;script src='//ct.captcha-delivery.com/c.js'&gt;</pre> Verify you are human.",
    ),
    "about cookies": article(
        "Cookie consent explained",
        "A wall says: we use cookies, accept all, reject all, we value your privacy.",
    ),
    "about 404": article("404 Not Found", "The page you are looking for could not be found."),
    "about access": article("Access Denied", "You don't have permission to access this resource."),
    "about logins": article(
        "Log in to continue", "You must be logged in, it says. Please log in to"
    ),
    "about JavaScript": article("Enable JavaScript", "Turn on JavaScript in the settings."),
    "about maintenance": article("Under maintenance", "Why shops say: we'll be back soon."),
    "auf Deutsch": article("Seite nicht gefunden", "Was tun, wenn es so heißt?", lang="de"),
    "日本語": article("ページが見つかりません", "このエラーの意味を解説します。", lang="ja"),
    # Signs on good pages of protected sites.
    "jsd": article(
        "Ten islands",
        "Ferries leave at noon.",
        extra="<script>(function(){function c(){window.__CF$cv$params={r:'8b'};var a=document."
        "createElement('script');a.src='/cdn-cgi/challenge-platform/scripts/jsd/main.js';}})();"
        "</script>",
    ),
    "a check's script on a long page": article(
        "Ten islands",
        "Ferries leave at noon. " * 30,
        extra="<script>window._cf_chl_opt={};</script>",
    ),
    "px sensor": article(
        "Ten islands",
        "Ferries leave at noon.",
        head="<script>window._pxAppId='PX0000';</script>"
        '<script src="/PX0000/init.js"></script><script src="/akam/13/4f"></script>'
        '<script src="/_Incapsula_Resource?SWJIYLWA=0"></script>',
    ),
    "contact form": article(
        "Contact us",
        "Write to us about bookings.",
        extra='<form><textarea></textarea><div class="cf-turnstile"></div><div class="g-recaptcha">'
        "</div><button>Send</button></form>",
    ),
    "forum thread": article(
        "Which ferry?", "I took the one at noon.", extra="<p>You must log in to reply here.</p>"
    ),
    # Little text, but about something.
    "prices for customers": (
        "<html><head><title>Rope 12 mm</title></head><body><main><h1>Rope 12 mm</h1><p>A rope of "
        "polyester for moorings and halyards, twelve millimetres thick, that floats for hours and "
        "dries within minutes. It comes in blue, in white and in the red that our harbour master "
        "prefers, on drums of fifty, one hundred and two hundred metres.</p><p>Please log in to "
        "see our prices. We deliver within two days, or on the same day if you order before ten in "
        "the morning and your berth is in the old harbour.</p></main></body></html>"
    ),
    "short page": (
        "<html><head><title>Opening hours</title></head><body><h1>Opening hours</h1><p>Our shop in "
        "Harbour Street is open Monday to Saturday from nine to six.</p></body></html>"
    ),
    "short with banner": (
        f"<html><head><title>Opening hours</title></head><body>{BANNER}<h1>Opening hours</h1><p>"
        "Our shop in Harbour Street is open Monday to Saturday from nine to six. On Sundays only "
        "the bakery next door is open.</p></body></html>"
    ),
    "short Chinese": (
        "<html lang=zh><head><title>黄河</title></head><body>"
        "<p>吕梁市的三川河流经山西省西部,最后汇入黄河。</p></body></html>"
    ),
}


@pytest.mark.parametrize("name", list(CONTENT))
@pytest.mark.asyncio(loop_scope="module")
async def test_a_page_about_walls_is_content(name: str, extractor: Extractor) -> None:
    """An article about bot checks, cookies or error 404 is read, and so are pages with a banner,
    with the sensors of a bot protection, with a captcha in a form, and short ones."""
    found = await read(extractor, HttpReply(200, TYPE, CONTENT[name].encode(), url=URL))
    assert isinstance(found, PageText), found
    assert "Accept all" not in found.text or "cookies" in name


LOGIN_PAGE = article("Log in", "Manage your bookings, your points and your family's cards.")


@pytest.mark.parametrize(
    ("asked", "found_at", "kind"),
    [
        ("https://a.example/deal", "https://a.example/login?next=/deal", "login_wall"),
        ("https://a.example/deal", "https://a.example/de/anmelden/", "login_wall"),
        ("https://www.linkedin.com/in/x", "https://www.linkedin.com/authwall?x", "login_wall"),
        (
            "https://docs.example/d",
            "https://accounts.google.com/v3/signin/identifier",
            "login_wall",
        ),
        ("https://www.youtube.com/c", "https://consent.youtube.com/m?continue=x", "consent_wall"),
        ("https://finance.yahoo.com/q", "https://consent.yahoo.com/v2/collect", "consent_wall"),
        ("https://www.google.com/search", "https://www.google.com/sorry/index", "bot_check"),
        # A login page without a redirect is content: the search found it.
        ("https://a.example/login", "https://a.example/login", None),
        ("https://a.example/login", "https://www.a.example/en/login", None),
        ("https://a.example/x", "https://a.example/login-guide", None),
        ("https://a.example/x", "https://[", None),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_redirect_to_a_wall(
    asked: str, found_at: str, kind: str | None, extractor: Extractor
) -> None:
    """A redirect to a login, consent or check page is a wall."""
    document = PageDocument(found_at, LOGIN_PAGE.encode(), "utf-8", requested_url=asked)
    if kind is None:
        assert "Manage your bookings" in (await extractor.extract(document)).text
    else:
        with pytest.raises(EmptyPageError) as caught:
            await extractor.extract(document)
        assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"cf-mitigated": "challenge"}, "bot_check"),
        ({"x-amzn-waf-action": "captcha"}, "bot_check"),
        ({"cf-mitigated": "block"}, None),
        ({"cf-ray": "8b", "server": "cloudflare"}, None),
    ],
)
def test_headers_name_a_bot_check(headers: dict[str, str], kind: str | None) -> None:
    """The vendors' own headers decide, whatever the status; their other headers do not."""
    html = CONTENT["short page"].encode()
    for status in (200, 202, 403, 429, 503):
        reply = HttpReply(status, {**TYPE, **headers}, html, url=URL)
        if kind:
            with pytest.raises(EmptyPageError) as caught:
                CALL.parse(reply)
            assert (caught.value.kind, caught.value.http_status) == (kind, status)
        elif status == 200:
            assert CALL.parse(reply).html == html


PIECES = [
    *("<div>", "</div>", "<p>", "<h1>", "<title>", "</title>", "<script>", "</script>"),
    *("<iframe src=", "<meta http-equiv=refresh content='0;", "'>", "<a>Accept all</a>"),
    *("we use cookies", "404", "\x00", "\ud800", "\u202e", "請稍候", " | ", "<noscript>", "<svg>"),
    *("<select>", "&#0;", "<!--"),
]


@given(st.lists(st.sampled_from(PIECES), max_size=40), st.text(max_size=30))
@settings(max_examples=200)
def test_any_page_and_address_is_a_wall_or_none(pieces: list[str], url: str) -> None:
    """Broken markup and addresses raise no exception; every wall has a kind and a short sign."""
    tree = load_html(f"<html><body>{''.join(pieces)}{url}".encode("utf-8", "replace").decode())
    facts = PageFacts() if tree is None else read_facts(tree)
    wall = by_content(url, f"https://{url}/login", facts, facts.visible)
    assert wall is None or (wall.kind in EmptyKind and len(wall.sign) < 200)


@pytest.mark.parametrize(
    "html",
    [
        "<p>a</p>" * 200_000,
        "<div>" * 200_000 + "deep",
        "<a id=x>" + "accept " * 500_000,
        "<script>" + "x" * 3_000_000 + "</script>",
        "".join(f"<iframe id=i{n} src=/{n}></iframe>" for n in range(50_000)),
        "<title>" + " | " * 500_000 + "</title>",
        "<title>" + " " * 1_000_000 + "</title>",
        "<button>" * 50_000,
        "<h1>a</h1>" * 50,
    ],
)
def test_facts_are_bounded(html: str) -> None:
    """The facts of a large and deep page are small."""
    facts = read_facts(load_html(f"<html><head></head><body><p>x</p>{html}</body></html>"))
    assert len(facts.visible) <= 20_000
    assert len(facts.scripts) <= 200_000
    assert len(facts.title) <= 1_000
    assert len(facts.headings) <= 10
    assert max(len(facts.addresses), len(facts.ids), len(facts.buttons)) <= 5_000
    assert by_content(URL, URL, facts, "") is not None
