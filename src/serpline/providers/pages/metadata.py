"""A page's own metadata: title, day of publication, language, author, site.

Sources, in this order: JSON-LD (the node of the page's subject), Open Graph and
``article:published_time``, other meta elements, microdata, headings. The day of the last change
never counts as the day of publication. Promise: it never raises, and the work is bounded. Limit:
the page's claims are not verified.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from serpline.providers.pages.json_ld import LinkedData, as_line, name_of, text_of

METAS_MAX = 2_000
HEADINGS_MAX = 10
TEXT_PARTS_MAX = 100
YEAR_MIN, YEAR_MAX = 1990, 2100
_TITLES = (
    "og:title", "twitter:title", "citation_title", "dc.title", "dcterms.title", "parsely-title",
)  # fmt: skip
_PUBLISHED = (
    "article:published_time", "og:article:published_time", "article:published",
    "og:published_time", "citation_publication_date", "citation_date", "citation_online_date",
    "dc.date.issued", "dcterms.issued", "dc.date.created", "dcterms.created", "dc.date",
    "dcterms.date", "parsely-pub-date", "sailthru.date", "pubdate", "publishdate", "publish-date",
    "publish_date", "published-date", "publication_date", "datepublished", "date",
)  # fmt: skip
_MODIFIED = (
    "article:modified_time", "og:updated_time", "article:modified", "last-modified", "lastmod",
    "dc.date.modified", "dcterms.modified", "datemodified", "revised",
)  # fmt: skip
_AUTHORS = (
    "author", "article:author", "citation_author", "dc.creator", "dcterms.creator",
    "parsely-author", "sailthru.author", "byl",
)  # fmt: skip
_SEPARATORS = re.compile(r"\s+[|–—·•:»«/-]\s+|\s*[|»｜]\s*")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8}){0,3}")
_DAY = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)|(\d{4})(\d{2})(\d{2})(?:T|$)")
_CHINESE_DAY = re.compile(r"(\d{4})\s*[年년]\s*(\d{1,2})\s*[月월]\s*(\d{1,2})\s*[日일]")
_DAY_IN_PATH = re.compile(
    r"/(20\d\d)([/-]?)(1[0-2]|0[1-9]|[1-9](?=[/-]))\2(3[01]|[12]\d|0?[1-9])(?=[/_.-])"
)
_EPOCH = re.compile(r"\d{10}(?:\d{3})?")
_FORMS = ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%B %d %Y", "%d.%m.%Y")


@dataclass(frozen=True, slots=True)
class Metadata:
    """``published``: the day, ``YYYY-MM-DD``. ``modified``: days of later changes, likewise.

    ``language``: a BCP 47 tag in lower case. A field is None if the page does not state it.
    """

    title: str | None
    published: str | None
    modified: frozenset[str]
    language: str | None
    author: str | None
    sitename: str | None


def read_metadata(tree: Any, url: str) -> Metadata:
    """Read the metadata from an lxml tree of the HTML at ``url``."""
    metas = _metas(tree)
    data = LinkedData(_scripts(tree))
    page_title = _text(next(tree.iter("title"), None))
    # Headings of documentation end with a link to themselves.
    headings = [text for e in _headings(tree) if (text := (_text(e) or "").rstrip("¶# "))]
    canonical = next(
        (e.get("href") or "" for e in tree.iter("link") if (e.get("rel") or "") == "canonical"), ""
    )
    named = [*_of(metas, *_TITLES), page_title, *headings]
    subject = data.subject([url, canonical, *_of(metas, "og:url")], filter(None, named))
    site = _first(
        *_of(metas, "og:site_name", "application-name"),
        *(name_of(node) for node in data.of_type("WebSite")),
        *data.names(subject.get("publisher")),
    )
    pages = list(data.of_type("Page"))
    published = [text_of(subject, "datePublished", "uploadDate", "dateCreated")]
    published += [*_of(metas, *_PUBLISHED), *_stamped(tree, "datePublished")]
    published += [text_of(node, "datePublished") for node in pages]
    modified = [text_of(node, "dateModified") for node in (subject, *pages)]
    modified += [*_of(metas, *_MODIFIED), *_stamped(tree, "dateModified")]
    authors = data.names(subject.get("author"))
    if not authors:
        authors = [a for a in _of(metas, *_AUTHORS) if not a.startswith("http")][:1]
    return Metadata(
        title=_title(
            [text_of(subject, "headline"), text_of(subject, "name")],
            _of(metas, *_TITLES),
            page_title,
            headings,
            {_folded(site), _folded(_host_name(url))},
        ),
        published=_published(next((day for text in published if (day := day_of(text))), None), url),
        modified=frozenset(day for text in modified if (day := day_of(text))),
        language=_language(tree, metas, text_of(subject, "inLanguage")),
        author="; ".join(authors) or None,
        sitename=site,
    )


def _published(claimed: str | None, url: str) -> str | None:
    """The claimed day, or the day in the page's address if that is not later.

    The address has the site's local day. A claim may be in UTC, or of a later republication.
    """
    found = _DAY_IN_PATH.search(url)
    named = day_of(f"{found[1]}-{found[3]}-{found[4]}") if found else None
    if claimed is None or named is None:
        return claimed
    next_day = date.fromisoformat(claimed) + timedelta(days=1)
    return named if named <= next_day.isoformat() else claimed


def day_of(text: str | None) -> str | None:
    """The day of a timestamp in its own time zone; None if it is invalid."""
    line = (text or "").strip()[:100]
    found = _DAY.match(line) or _CHINESE_DAY.search(line)
    with suppress(ValueError, OverflowError, OSError, TypeError):
        if found:
            year, month, day = (int(part) for part in found.groups() if part)
            return _sensible(date(year, month, day))
        if _EPOCH.fullmatch(line):
            return _sensible(datetime.fromtimestamp(int(line[:10]), UTC).date())
        for form in _FORMS:
            with suppress(ValueError):
                return _sensible(datetime.strptime(line, form).date())  # noqa: DTZ007  a day has none
        return _sensible(parsedate_to_datetime(line).date())
    return None


def _sensible(day: date) -> str | None:
    return day.isoformat() if YEAR_MIN <= day.year <= YEAR_MAX else None


def _title(
    of_subject: list[str | None],
    shared: list[str],
    page_title: str | None,
    headings: list[str],
    sites: set[str],
) -> str | None:
    """The subject's name, else the shared title, else the heading that the page's title contains.

    A name found nowhere else on the page comes last: it may be a summary or another thing's name.
    """
    seen = _folded(" ".join([page_title or "", *shared, *headings]))
    names = [name for name in of_subject if name]
    names.sort(key=lambda name: _folded(name.rstrip(".… ")) not in seen)
    related = [name for name in names[:1] if _folded(name.rstrip(".… ")) in seen]
    claims = [_without_site(text, sites) for text in (*related, *shared, *names)]
    own = [text for text in claims if text and _folded(text) not in sites]
    if own:
        return _whole(own[0], [*own, *headings])
    for heading in headings:
        if _folded(heading) not in sites and _folded(heading) in _folded(page_title):
            return heading
    shown = _without_site(page_title, sites)
    if shown and _folded(shown) not in sites:
        return shown
    return next((h for h in headings if _folded(h) not in sites), shown)


def _whole(title: str, others: list[str]) -> str:
    """The title, or the longer one if it was cut for a search engine or a social network."""
    if title.endswith(("…", "...")):
        start = _folded(title.rstrip(".… "))
        longer = (t for t in others if len(t) > len(title) and _folded(t).startswith(start))
        return next(longer, title)
    return title


def _without_site(title: str | None, sites: set[str]) -> str | None:
    """Remove the site's name from either end of a title."""
    text = as_line(title)
    if not text:
        return None
    parts = list(_SEPARATORS.finditer(text))
    if parts:
        first, last = parts[0], parts[-1]
        if _folded(text[last.end() :]) in sites:
            return text[: last.start()].strip() or text
        if _folded(text[: first.start()]) in sites:
            return text[first.end() :].strip() or text
    return text


def _language(tree: Any, metas: dict[str, list[str]], of_subject: str | None) -> str | None:
    """The language, first from the root element. Conditional comments are not in the tree."""
    tags = [tree.get("lang"), tree.get("{http://www.w3.org/XML/1998/namespace}lang")]
    tags += [tree.get("xml:lang"), *_of(metas, "content-language", "og:locale"), of_subject]
    for text in tags:
        tag = (text or "").split(",")[0].strip()
        if len(tag) < 40 and _LANGUAGE.fullmatch(tag):
            return tag.replace("_", "-").lower()
    return None


def _metas(tree: Any) -> dict[str, list[str]]:
    """Contents of meta elements by lower-case name, property or pragma."""
    found: dict[str, list[str]] = {}
    for count, element in enumerate(tree.iter("meta")):
        if count >= METAS_MAX:
            break
        for attribute in ("property", "name", "http-equiv", "itemprop"):
            name, content = element.get(attribute), as_line(element.get("content"))
            if name and content:
                found.setdefault(name.strip().lower()[:100], []).append(content)
    return found


def _scripts(tree: Any) -> Iterator[str]:
    for element in tree.iter("script"):
        if "ld+json" in (element.get("type") or "").lower():
            yield element.text or ""


def _headings(tree: Any) -> Iterator[Any]:
    """First-level headings; those in an article come first."""
    boxes = (box for name in ("article", "main") for box in tree.iter(name))
    inside = list(islice((heading for box in boxes for heading in box.iter("h1")), HEADINGS_MAX))
    yield from inside
    yield from islice((h for h in tree.iter("h1") if h not in inside), HEADINGS_MAX)


def _stamped(tree: Any, *names: str) -> Iterator[str]:
    """Timestamps of elements whose ``itemprop`` is one of ``names``."""
    properties = set(names)
    for element in tree.iter("time", "span", "div", "p", "abbr", "meta"):
        if not properties.isdisjoint((element.get("itemprop") or "").split()):
            yield element.get("datetime") or element.get("content") or _text(element) or ""


def _of(metas: dict[str, list[str]], *names: str) -> list[str]:
    return [content for name in names for content in metas.get(name, ())]


def _first(*texts: str | None) -> str | None:
    return next((text for text in texts if text), None)


def _text(element: Any) -> str | None:
    if element is None:
        return None
    return as_line(" ".join(islice(element.itertext(), TEXT_PARTS_MAX)))


def _folded(text: str | None) -> str:
    return re.sub(r"\W+", "", text or "").casefold()


def _host_name(url: str) -> str:
    """The name in a URL's host: ``northwind`` in ``www.northwind.example``."""
    with suppress(ValueError):
        labels = (urlsplit(url).hostname or "").removeprefix("www.").split(".")
        return labels[-2] if len(labels) > 1 else labels[0]
    return ""
