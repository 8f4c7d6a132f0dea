"""Pages of content management systems."""

from harness.page_set.parts import (
    ARTICLE,
    BYLINE,
    CHANGED,
    DATED,
    JANE,
    SHARED,
    TITLE,
    URL,
    YOAST,
    Sample,
    ld,
    meta,
    page,
)

SYSTEMS = [
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
]
