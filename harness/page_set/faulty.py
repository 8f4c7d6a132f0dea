"""Pages with a common fault, or without what others state."""

import json

from harness.page_set.parts import (
    ARTICLE,
    BYLINE,
    CHANGED,
    DATED,
    JANE,
    SHARED,
    TITLE,
    Sample,
    ld,
    meta,
    page,
)

FAULTY = [
    Sample(
        "the site's name as a heading",
        page(SHARED + DATED + BYLINE, before="<header><h1>Northwind</h1></header>", inside=""),
    ),
    Sample(
        "the site's name as the shared title",
        page(DATED + BYLINE + meta(og__title="Northwind", og__site_name="Northwind")),
    ),
    Sample(
        "a slogan as the first heading",
        page(
            DATED + BYLINE,
            before="<header><h1>Travel the slow way</h1></header>",
            inside=f"<h1>{TITLE}</h1>",
        ),
    ),
    Sample(
        "a title before the site's name",
        page(DATED, title=f"Northwind | {TITLE}", inside=""),
        author=None,
    ),
    Sample("only the day of a change", page(CHANGED + BYLINE + meta(date="")), date=None),
    Sample(
        "a change in JSON-LD alone",
        page(ld({k: v for k, v in ARTICLE.items() if k != "datePublished"})),
        date=None,
    ),
    Sample(
        "languages in conditional comments",
        page(SHARED + DATED + BYLINE, lang="de", text="de").replace(
            "<html",
            '<!--[if lt IE 7]><html class="ie6" lang="xx"><![endif]-->'
            '<!--[if IE 8]><html class="ie8" lang="en-US"><![endif]-->'
            "<!--[if gt IE 8]><!--><html",
            1,
        ),
        language="de",
    ),
    Sample(
        "a language far down",
        page(SHARED + DATED + BYLINE).replace("<html", f"<!--{'x' * 6_000}--><html", 1),
    ),
    Sample(
        "a language for XML",
        page(
            SHARED + DATED + BYLINE,
            root='<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en">',
        ),
    ),
    Sample(
        "a template's language",
        page(SHARED + DATED + BYLINE + meta(og__locale="fr_CA"), lang="{{ lang }}", text="fr"),
        language="fr-ca",
    ),
    Sample(
        "language by a pragma",
        page(
            SHARED + DATED + BYLINE + '<meta http-equiv="Content-Language" content="de, en">',
            lang=None,
            text="de",
        ),
        language="de",
    ),
    Sample(
        "escaped twice",
        page(ld({**ARTICLE, "headline": "Salt &amp;amp; <em>wind</em>"})),
        title="Salt & wind",
    ),
    Sample(
        "JSON-LD with a comma too many",
        page(
            '<script type="application/ld+json">'
            + json.dumps(ARTICLE)[:-1]
            + ",}</script>"
            + CHANGED
        ),
    ),
    Sample(
        "JSON-LD in a comment",
        page(
            f'<script type="application/ld+json"><!--\n{json.dumps(ARTICLE)}\n--></script>'
            + CHANGED
        ),
    ),
    Sample(
        "JSON-LD with line breaks in texts",
        page(ld({**ARTICLE, "description": "a b"}).replace("a b", "a\n\tb") + CHANGED),
    ),
    Sample(
        "JSON-LD that is broken",
        page(
            '<script type="application/ld+json">{"@type":"NewsArticle",</script>'
            + SHARED
            + DATED
            + BYLINE
        ),
    ),
    Sample(
        "an author by reference",
        page(ld({"@graph": [{**ARTICLE, "author": {"@id": "#jane"}}, {**JANE, "@id": "#jane"}]})),
    ),
    Sample(
        "two authors",
        page(ld({**ARTICLE, "author": [JANE, {"name": "Ann Poe"}, "Jane Roe"]})),
        author="Jane Roe; Ann Poe",
    ),
    Sample(
        "a day of the year 99999",
        page(SHARED + BYLINE + meta(article__published_time="99999-01-01T00:00:00Z")),
        date=None,
    ),
    Sample(
        "a day that does not exist",
        page(SHARED + BYLINE + meta(date="2026-13-45", pubdate="2026-02-03")),
    ),
    Sample("seconds since 1970", page(SHARED + BYLINE + meta(publish_date="1770105600"))),
    Sample(
        "no metadata",
        page(lang=None, title="", inside="", before="", after=""),
        title=None,
        date=None,
        language=None,
        author=None,
    ),
]
