"""What the pages are made of: elements, JSON-LD, and the frame of a site."""

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
    """A page at ``url``, with its correct metadata.

    ``title``, ``date`` (of publication), ``language`` and ``author`` are None if the page does not
    state them.
    """

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
