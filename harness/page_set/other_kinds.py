"""Pages of shops, forums, encyclopedias and other kinds of sites."""

from harness.page_set.parts import (
    ARTICLE,
    HOME,
    JANE,
    TITLE,
    URL,
    Sample,
    ld,
    meta,
    page,
)

OTHER_KINDS = [
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
]
