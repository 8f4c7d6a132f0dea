"""The web: every page of every ``.example`` host, and the host of ScaleSERP's files.

A page's text follows from its address: the last path segment is the keyword. Most pages are
articles. Some are missing, forbidden, PDF documents, almost empty, or moved.
"""

import html
import re
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from serpline.simulator.routes import DOWNLOAD, PAGE
from serpline.simulator.scaleserp.files import DOWNLOAD_HOST, Files
from serpline.simulator.seeds import stamp, unit
from serpline.simulator.wire import Operation, Reply, Request, identity_of, retry_headers
from serpline.simulator.world import World
from serpline.simulator.world.companies import Company, Kind
from serpline.simulator.world.text import Article, article, capital, title_of

NAME = "pages"
_HTML = {"content-type": "text/html; charset=utf-8"}
# Cumulative shares of the addresses that are no article.
_SHARES = (
    (0.020, "missing"),
    (0.040, "forbidden"),
    (0.055, "pdf"),
    (0.075, "tiny"),
    (0.090, "moved"),
)
_NUMBER = re.compile(r"-\d{5,6}$")


class Pages:
    """All web pages, and the download host."""

    name = NAME

    def __init__(self, world: World, download: Callable[[str], Awaitable[Reply]]) -> None:
        self._world = world
        self._download = download

    def describe(self, request: Request) -> Operation:
        """Name the call: a page, or ScaleSERP's download."""
        url = f"https://{request.host}{request.path}"
        params = {"url": url, "host": request.host}
        if request.host == DOWNLOAD_HOST:
            parts = Files.parse(request.path.lstrip("/")) or {}
            return Operation(DOWNLOAD, params, identity_of(DOWNLOAD, {"url": url}), parts)
        return Operation(PAGE, params, identity_of(PAGE, {"url": url}))

    async def handle(self, request: Request, operation: Operation) -> Reply:
        """Answer with the page, or with what is in its place."""
        if operation.name == DOWNLOAD:
            return await self._download(unquote(request.path.lstrip("/")))
        if request.method not in ("GET", "HEAD"):
            return Reply(405, b"Method Not Allowed", dict(_HTML))
        company = self._world.directory.of_host(request.host)
        if company is None or len(request.path) > 8_000:
            return _page(404, "Not found", "<p>There is no such page.</p>")
        return self._reply(request, company)

    def failure(self, status: int, *, retry_after: object = None, billed: float = 0.0) -> Reply:
        """A plain error page."""
        reply = _page(status, f"Error {status}", "<p>Please try again later.</p>")
        reply.headers.update(retry_headers(retry_after))
        return reply

    def kind(self, url: str) -> str:
        """The kind of a page: missing, forbidden, pdf, tiny, moved or article."""
        draw = unit(self._world.seed, "page", url)
        return next((kind for share, kind in _SHARES if draw < share), "article")

    def _reply(self, request: Request, company: Company) -> Reply:
        url = f"https://{request.host}{request.path}"
        if request.path.strip("/") == "":
            return _page(200, company.name, _home(company))
        if request.path.startswith("/current/"):
            kind, url = "article", f"https://{request.host}{request.path[len('/current') :]}"
        else:
            kind = self.kind(url)
        if kind == "missing":
            return _page(404, "Not found", "<p>This page does not exist any more.</p>")
        if kind == "forbidden":
            return _page(403, "Access denied", "<p>Please enable JavaScript and cookies.</p>")
        if kind == "pdf":
            return Reply(200, _PDF, {"content-type": "application/pdf"})
        if kind == "tiny":
            return _page(200, company.name, "<p>Loading…</p>")
        if kind == "moved":
            return Reply(301, b"", {**_HTML, "location": f"/current{request.path}"})
        keyword = keyword_of(request.path)
        salt = stamp(self._world.seed, "title", url)
        text = article(
            self._world.seed,
            url,
            keyword,
            company.name,
            self._rivals(company, salt),
            headline=title_of(keyword, company.name, salt),
        )
        return Reply(200, render(text, company, url, salt), dict(_HTML))

    def _rivals(self, company: Company, salt: int) -> tuple[str, str]:
        pool = self._world.directory.of(Kind.STRONG)
        first, second = pool[salt % len(pool)], pool[(salt // 16) % len(pool)]
        mid = self._world.directory.of(Kind.MID)[salt % 50]
        return (first if first is not company else mid).name, second.name


def keyword_of(path: str) -> str:
    """The keyword in the last segment of a path."""
    slug = unquote(path.rstrip("/").rsplit("/", 1)[-1])
    return _NUMBER.sub("", slug).replace("-", " ")


def render(text: Article, company: Company, url: str, salt: int) -> bytes:
    """The HTML of an article, with navigation, cookie notice and footer."""
    title, name = html.escape(text.headline), html.escape(company.name)
    published = f"2026-{salt % 10 + 1:02d}-{salt % 27 + 1:02d}"
    body = "\n".join(f"<p>{html.escape(each)}</p>" for each in text.paragraphs)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="author" content="{html.escape(text.author)}">
<meta property="og:site_name" content="{name}"><meta property="og:type" content="article">
<meta property="article:published_time" content="{published}T08:00:00Z">
<link rel="canonical" href="{html.escape(url, quote=True)}">
<style>nav{{display:flex}}.cookie{{position:fixed}}</style></head><body>
<div class="cookie-banner" role="dialog">We use cookies. <button>Accept all</button></div>
<header><nav class="menu"><ul><li><a href="/">Home</a></li><li><a href="/offers">Offers</a></li>
<li><a href="/guides">Guides</a></li><li><a href="/login">Sign in</a></li></ul></nav></header>
<main><article><h1>{title}</h1>
<p class="byline">By <span class="author">{html.escape(text.author)}</span>,
<time datetime="{published}">{published}</time></p>
{body}
</article></main>
<aside class="sidebar"><h3>Most read</h3><ul><li><a href="/a">Ten weekend ideas</a></li>
<li><a href="/b">Packing list</a></li></ul></aside>
<footer><p>© 2026 {name}. All rights reserved.</p><a href="/privacy">Privacy</a>
<a href="/terms">Terms</a> <form><label>Newsletter <input name="email"></label></form></footer>
<script>window.dataLayer=window.dataLayer||[];</script></body></html>""".encode()


def _home(company: Company) -> str:
    country = html.escape(company.country[0].title())
    return (
        f"<h1>{html.escape(company.name)}</h1><p>{html.escape(company.name)} is a "
        f"{html.escape(company.industry)} company from {country}, founded in {company.founded}, "
        f"with about {company.employees} employees.</p>"
    )


def _page(status: int, title: str, body: str) -> Reply:
    text = (
        f'<!doctype html><html lang="en"><head><title>{html.escape(capital(title))}</title></head>'
        f"<body>{body}</body></html>"
    )
    return Reply(status, text.encode(), dict(_HTML))


_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
    b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\n"
    b"trailer<</Root 1 0 R>>\n%%EOF\n"
)
