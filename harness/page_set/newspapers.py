"""Pages of newspapers."""

from harness.page_set.parts import (
    ARTICLE,
    BYLINE,
    CHANGED,
    DATED,
    HOME,
    OLD,
    SHARED,
    TITLE,
    URL,
    Sample,
    ld,
    meta,
    page,
)

NEWSPAPERS = [
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
]
