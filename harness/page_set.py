"""Pages in the shapes that the web's software makes, with their correct metadata.

Each page has one shape: a content management system, a newspaper, a shop, a forum, a document, or
a common fault. The texts are our own. ``title``, ``date`` (of publication), ``language`` and
``author`` are None if the page does not state them.
"""

import json
from dataclasses import dataclass
from typing import Any

URL = "https://www.northwind.example/2026/islands"
HOME = "https://www.northwind.example"
TITLE = "Ten islands worth the ferry"
_TEXTS = {
    "en": "The ferry leaves the old harbour at noon and reaches the first island before dusk",
    "de": "Die Fähre verlässt den alten Hafen am Mittag und erreicht die erste Insel am Abend",
    "fr": "Le ferry quitte le vieux port à midi et atteint la première île avant le soir",
    "ja": "フェリーは正午に旧港を出発し、夕方までに最初の島に到着します。乗客は多くありません",
    "zh": "渡轮中午从老港出发,傍晚前抵达第一座岛屿,乘客并不多,海面十分平静,适合看日落",
    "ko": "페리는 정오에 옛 항구를 떠나 저녁 전에 첫 번째 섬에 도착합니다 승객은 많지 않습니다",
    "ru": "Паром отходит от старой гавани в полдень и приходит на первый остров до вечера",
    "ar": "تغادر العبارة الميناء القديم عند الظهر وتصل إلى الجزيرة الأولى قبل المساء",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A page at ``url``, with its correct metadata."""

    name: str
    html: str
    title: str | None = TITLE
    date: str | None = "2026-02-03"
    language: str | None = "en"
    author: str | None = "Jane Roe"
    url: str = URL


def ld(*values: Any) -> str:
    """Scripts of JSON-LD."""
    return "".join(
        f'<script type="application/ld+json">{json.dumps(value)}</script>' for value in values
    )


def meta(**contents: str) -> str:
    """Meta elements. Two underscores stand for a colon; a name with a colon is a property."""
    made = []
    for name, content in contents.items():
        key = name.replace("__", ":")
        made.append(f'<meta {"property" if ":" in key else "name"}="{key}" content="{content}">')
    return "".join(made)


def page(
    head: str = "",
    *,
    lang: str | None = "en",
    title: str = f"{TITLE} - Northwind",
    before: str = "<header><a href=/>Northwind</a></header>",
    inside: str = f"<h1>{TITLE}</h1>",
    after: str = "<footer>© 2019 Northwind</footer>",
    text: str = "en",
    root: str = "",
) -> str:
    """An article in the frame of its site."""
    body = "".join(f"<p>{n}. {_TEXTS[text]}, {n}. {_TEXTS[text]}.</p>" for n in range(1, 9))
    root = root or (f'<html lang="{lang}">' if lang else "<html>")
    return (
        f'<!DOCTYPE html>{root}<head><meta charset="utf-8"><title>{title}</title>{head}</head>'
        f"<body>{before}<main><article>{inside}{body}</article></main>{after}</body></html>"
    )


JANE = {"@type": "Person", "name": "Jane Roe"}
ARTICLE = {
    "@context": "https://schema.org",
    "@type": "NewsArticle",
    "headline": TITLE,
    "datePublished": "2026-02-03T08:00:00+01:00",
    "dateModified": "2026-02-20T09:00:00+01:00",
    "author": [JANE],
    "publisher": {"@type": "Organization", "name": "Northwind"},
}
OLD = {
    "@type": "NewsArticle",
    "headline": "Harbour prices rise",
    "datePublished": "2021-07-01",
    "author": {"@type": "Person", "name": "Old Hand"},
    "url": f"{HOME}/2021/prices",
}
YOAST = {
    "@context": "https://schema.org",
    "@graph": [
        {
            "@type": "Article",
            "@id": f"{URL}/#article",
            "isPartOf": {"@id": URL},
            "author": {"name": "Jane Roe", "@id": f"{HOME}/#/schema/person/1"},
            "headline": TITLE,
            "datePublished": "2026-02-03T07:00:00+00:00",
            "dateModified": "2026-02-20T07:00:00+00:00",
            "mainEntityOfPage": {"@id": URL},
            "inLanguage": "en-US",
        },
        {
            "@type": "WebPage",
            "@id": URL,
            "url": URL,
            "name": f"{TITLE} - Northwind",
            "datePublished": "2026-02-03T07:00:00+00:00",
        },
        {"@type": "WebSite", "@id": f"{HOME}/#website", "name": "Northwind"},
        {"@type": "Person", "@id": f"{HOME}/#/schema/person/1", "name": "Jane Roe"},
    ],
}
SHARED = meta(og__title=TITLE, og__site_name="Northwind", og__type="article")
DATED = meta(article__published_time="2026-02-03T08:00:00Z")
CHANGED = meta(article__modified_time="2026-02-20T08:00:00Z", og__updated_time="2026-02-20")
BYLINE = meta(author="Jane Roe")

SAMPLES = [
    # --- content management systems -------------------------------------------------------------
    Sample(
        "WordPress with Yoast",
        page(SHARED + DATED + CHANGED + BYLINE + ld(YOAST), lang="en-US"),
        language="en-us",
    ),
    Sample(
        "WordPress without",
        page(
            inside=f'<h1 class="entry-title">{TITLE}</h1><time class="entry-date published" '
            'datetime="2026-02-03T08:00:00+00:00">3 Feb</time><time class="updated" '
            'datetime="2026-02-20T08:00:00+00:00">20 Feb</time><span class="author vcard">'
            '<a rel="author">Jane Roe</a></span>'
        ),
    ),
    Sample(
        "Ghost",
        page(
            SHARED
            + DATED
            + meta(article__modified_time="2026-02-20T08:00:00Z", twitter__title=TITLE)
            + ld({**ARTICLE, "@type": "Article", "author": JANE, "mainEntityOfPage": URL})
        ),
    ),
    Sample(
        "Blogger",
        page(
            meta(og__title=TITLE),
            title=f"Northwind: {TITLE}",
            before="<header><h1>Northwind</h1></header>",
            inside=f'<h3 class="post-title entry-title" itemprop="name">{TITLE}</h3><abbr class='
            '"published" itemprop="datePublished" title="2026-02-03T08:00:00Z" '
            'content="2026-02-03T08:00:00Z">3 Feb</abbr><span class="fn" itemprop="author">'
            "Jane Roe</span>",
        ),
    ),
    Sample(
        "Drupal",
        page(
            '<meta name="dcterms.title" content="' + TITLE + '">'
            '<meta name="dcterms.date" content="2026-02-03T08:00+01:00">'
            '<meta name="dcterms.modified" content="2026-02-20"><meta name="dcterms.creator" '
            'content="Jane Roe">'
        ),
    ),
    Sample(
        "Joomla",
        page(
            BYLINE,
            inside=f'<h2 itemprop="headline">{TITLE}</h2><time datetime="2026-02-03T08:00:00Z" '
            'itemprop="datePublished">Published</time><time datetime="2026-02-20" '
            'itemprop="dateModified">Changed</time>',
            title=TITLE,
        ),
    ),
    Sample("TYPO3", page(BYLINE + meta(date="2026-02-03"), lang="de", text="de"), language="de"),
    Sample(
        "Medium",
        page(
            meta(
                og__site_name="Medium",
                og__title=TITLE,
                article__published_time="2026-02-03T08:00:00.000Z",
                article__author="https://medium.example/@janeroe",
                author="Jane Roe",
            )
            + ld({**ARTICLE, "author": JANE, "publisher": {"@type": "Organization"}}),
            title=f"{TITLE} | by Jane Roe | Feb, 2026 | Medium",
            lang=None,
        ),
        language=None,
    ),
    Sample(
        "Substack",
        page(
            SHARED
            + ld({**ARTICLE, "datePublished": "2026-02-03T23:30:00-08:00", "url": f"{URL}?r=1"}),
            title=f"{TITLE} - by Jane Roe - Northwind",
        ),
    ),
    # --- newspapers -----------------------------------------------------------------------------
    Sample(
        "news with related articles",
        page(SHARED + CHANGED + ld([OLD, {**ARTICLE, "url": URL}])),
    ),
    Sample(
        "news after a list of others",
        page(
            SHARED
            + DATED
            + ld({"@type": "ItemList", "itemListElement": [OLD, OLD]}, OLD, {**ARTICLE, "url": URL})
        ),
    ),
    Sample("news, two articles without addresses", page(ld([{**OLD, "url": None}, ARTICLE]))),
    Sample(
        "news with a cut headline",
        page(
            meta(og__title=f"{TITLE} and a bridge that nobody crosses | Northwind")
            + ld({**ARTICLE, "headline": f"{TITLE} and a bridge…"}),
            inside=f"<h1>{TITLE} and a bridge that nobody crosses</h1>",
        ),
        title=f"{TITLE} and a bridge that nobody crosses",
    ),
    Sample(
        "news in German",
        page(
            ld({**ARTICLE, "headline": "Zehn Inseln, für die sich die Fähre lohnt"}),
            lang="de",
            text="de",
            title="Zehn Inseln, für die sich die Fähre lohnt - Nordwind Online",
            inside="<h2><span>Reisen</span> <span>Zehn Inseln</span></h2>",
        ),
        title="Zehn Inseln, für die sich die Fähre lohnt",
        language="de",
    ),
    Sample(
        "news in French",
        page(
            meta(
                og__title="Dix îles qui valent le ferry",
                og__article__published_time="2026-02-03T08:00:00+01:00",
                og__article__author="Jane Roe",
                article__author="Jane Roe",
            ),
            lang="fr",
            text="fr",
            title="Dix îles qui valent le ferry – Vent du nord",
            inside="<h1>Dix îles qui valent le ferry</h1>",
        ),
        title="Dix îles qui valent le ferry",
        language="fr",
    ),
    Sample(
        "news in Japanese",
        page(
            meta(og__site_name="北風新聞", og__title="フェリーで行く十の島｜北風新聞"),
            lang="ja",
            text="ja",
            title="フェリーで行く十の島｜北風新聞",
            inside="<h1>フェリーで行く十の島</h1>"
            "<time datetime='2026-02-03T08:00' pubdate>2月3日</time>",
        ),
        title="フェリーで行く十の島",
        language="ja",
        author=None,
    ),
    Sample(
        "news in Chinese",
        page(
            meta(publishdate="2026-02-03", author="张三"),
            lang="zh-CN",
            text="zh",
            title="值得乘渡轮前往的十座岛屿_北风网",
            inside="<h1>值得乘渡轮前往的十座岛屿</h1>",
        ),
        title="值得乘渡轮前往的十座岛屿",
        language="zh-cn",
        author="张三",
    ),
    Sample(
        "news in Korean",
        page(
            meta(
                og__title="페리로 가는 열 개의 섬 : 북풍일보",
                og__site_name="북풍일보",
                article__published_time="2026-02-03T08:00:00+09:00",
            ),
            lang="ko",
            text="ko",
            title="페리로 가는 열 개의 섬 : 북풍일보",
            inside="<h1>페리로 가는 열 개의 섬</h1>",
        ),
        title="페리로 가는 열 개의 섬",
        language="ko",
        author=None,
    ),
    Sample(
        "news in Russian",
        page(
            ld({**ARTICLE, "headline": "Десять островов", "author": {"name": "Анна Иванова"}}),
            lang="ru",
            text="ru",
            title="Десять островов",
            inside="<h1>Десять островов</h1>",
        ),
        title="Десять островов",
        language="ru",
        author="Анна Иванова",
    ),
    Sample(
        "news in Arabic",
        page(
            meta(og__title="عشر جزر", article__published_time="2026-02-03T08:00:00+03:00"),
            root='<html dir="rtl" lang="ar">',
            text="ar",
            title="عشر جزر | ريح الشمال",
            inside="<h1>عشر جزر</h1>",
        ),
        title="عشر جزر",
        language="ar",
        author=None,
    ),
    Sample(
        "press release",
        page(
            meta(pubdate="Tue, 03 Feb 2026 08:00:00 GMT"),
            after="<p>Last updated 20 February 2026</p>",
        ),
        author=None,
    ),
    Sample(
        "live blog",
        page(
            ld(
                {
                    **ARTICLE,
                    "@type": ["NewsArticle", "LiveBlogPosting"],
                    "liveBlogUpdate": [
                        {"@type": "BlogPosting", "headline": "14:02", "datePublished": "2026-02-04"}
                    ],
                }
            )
        ),
    ),
    Sample(
        "a stamp in UTC, a day in the address",
        page(SHARED + BYLINE + meta(article__published_time="2026-02-04T02:30:00+00:00")),
        url=f"{HOME}/2026/02/03/islands",
    ),
    Sample(
        "published again",
        page(ld({**ARTICLE, "datePublished": "2026-06-01"})),
        url=f"{HOME}/blog/2026/2/3/islands",
    ),
    Sample(
        "a day in the address that is later",
        page(ld(ARTICLE)),
        url=f"{HOME}/2026/05/01/index",
    ),
    Sample(
        "an article with a video of something else",
        page(
            DATED
            + BYLINE
            + ld({"@type": "VideoObject", "name": "Storm at sea", "uploadDate": "2025-09-01"})
        ),
    ),
    # --- other kinds ----------------------------------------------------------------------------
    Sample(
        "shop with a product",
        page(
            meta(og__title=f"{TITLE} | Buy online", og__site_name="Northwind Shop")
            + ld(
                {"@type": "BreadcrumbList", "itemListElement": []},
                {"@type": "Product", "name": TITLE, "brand": {"@type": "Brand", "name": "Ferry"}},
            ),
            title=f"{TITLE} | Buy online | Northwind Shop",
        ),
        date=None,
        author=None,
    ),
    Sample(
        "shop with a list of products",
        page(
            meta(og__site_name="Northwind Shop")
            + ld(*({"@type": "Product", "name": f"Ferry {n}"} for n in range(6))),
            title="Ferries | Northwind Shop",
            inside="<h1>Ferries</h1>",
        ),
        title="Ferries",
        date=None,
        author=None,
    ),
    Sample(
        "recipe",
        page(
            ld(
                [
                    {
                        "@type": ["Recipe", "NewsArticle"],
                        **{k: v for k, v in ARTICLE.items() if k != "@type"},
                    }
                ]
            )
            + meta(og__title=f"{TITLE} Recipe (easy!)")
        ),
    ),
    Sample(
        "video page",
        page(
            ld({"@type": "VideoObject", "name": TITLE, "uploadDate": "2026-02-03T08:00:00Z"}),
            inside="",
        ),
        author=None,
    ),
    Sample(
        "question and answers",
        page(
            ld(
                {
                    "@type": "QAPage",
                    "mainEntity": {
                        "@type": "Question",
                        "name": TITLE,
                        "datePublished": "2026-02-03T08:00:00",
                        "author": JANE,
                        "acceptedAnswer": {"@type": "Answer", "dateCreated": "2026-02-05"},
                    },
                }
            ),
            title=f"ferry - {TITLE} - Northwind Exchange",
        ),
    ),
    Sample(
        "forum",
        page(
            meta(og__site_name="Northwind Community", og__title=TITLE)
            + ld(
                {
                    "@type": "DiscussionForumPosting",
                    "headline": TITLE,
                    "datePublished": "2026-02-03T08:00:00Z",
                    "author": {"@type": "Person", "name": "Jane Roe", "url": f"{HOME}/u/jane"},
                }
            ),
            title=f"{TITLE} - Travel - Northwind Community",
        ),
    ),
    Sample(
        "encyclopedia",
        page(
            meta(og__title=f"{TITLE} - Northpedia")
            + ld(
                {
                    "@type": "Article",
                    "name": TITLE,
                    "url": URL,
                    "author": {"@type": "Organization", "name": "Contributors to Northpedia"},
                    "datePublished": "2026-02-03T08:00:00Z",
                    "dateModified": "2026-02-20T08:00:00Z",
                    "headline": "article of a free encyclopedia",
                }
            ),
            title=f"{TITLE} - Northpedia",
        ),
        title=TITLE,
        author="Contributors to Northpedia",
    ),
    Sample(
        "scholarly article",
        page(
            "".join(
                f'<meta name="{name}" content="{content}">'
                for name, content in (
                    ("citation_title", TITLE),
                    ("citation_author", "Roe, Jane"),
                    ("citation_publication_date", "2026/02/03"),
                    ("citation_online_date", "2026/01/15"),
                )
            ),
            title=f"{TITLE} | Journal of Ferries",
        ),
        author="Roe, Jane",
    ),
    Sample(
        "documentation",
        page(title=f"{TITLE} — Northwind 2.1 documentation", inside=f"<h1>{TITLE}<a>¶</a></h1>"),
        title=TITLE,
        date=None,
        author=None,
    ),
    Sample(
        "government",
        page(
            meta(**{"dc.title": TITLE, "dc.date.issued": "20260203", "dc.creator": "Ferry Office"}),
            lang="en-GB",
        ),
        language="en-gb",
        author="Ferry Office",
    ),
    Sample(
        "local business",
        page(
            ld({"@type": "Restaurant", "name": "The Ferryman", "url": URL}),
            title="The Ferryman | Seafood in Northwind",
            inside="<h1>The Ferryman</h1>",
        ),
        title="The Ferryman",
        date=None,
        author=None,
    ),
    Sample(
        "microdata",
        page(
            inside=f'<div itemscope itemtype="https://schema.org/Article"><h1 itemprop="headline">'
            f'{TITLE}</h1><meta itemprop="datePublished" content="2026-02-03"><meta itemprop='
            '"dateModified" content="2026-02-20"><span itemprop="author" itemscope><span itemprop='
            '"name">Jane Roe</span></span></div>',
            before="<header><h1>Northwind Travel</h1></header>",
        ),
    ),
    # --- faults ---------------------------------------------------------------------------------
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
