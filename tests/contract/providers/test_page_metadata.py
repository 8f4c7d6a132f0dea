"""The metadata of pages in the shapes that common software produces."""

import json
import time
from typing import Any

import pytest
from harness.page_set import SAMPLES
from harness.page_set.parts import ARTICLE, URL, Sample, page
from hypothesis import given, settings
from hypothesis import strategies as st
from trafilatura import load_html

from serpline.providers.pages.extraction import Extractor
from serpline.providers.pages.metadata import Metadata, day_of, read_metadata
from serpline.providers.pages.wire import PageDocument


async def test_each_shape_is_read_as_a_person_reads_it() -> None:
    """Title, day of publication, language and author of every page of the set are right."""
    assert len({sample.name for sample in SAMPLES}) == len(SAMPLES) >= 50
    wrong = []
    async with Extractor(processes=1) as extractor:
        for sample in SAMPLES:
            found = await extractor.extract(PageDocument(sample.url, sample.html.encode(), "utf-8"))
            for field in ("title", "date", "language", "author"):
                actual, expected = getattr(found, field), getattr(sample, field)
                if actual != expected:
                    wrong.append(f"{sample.name}: {field} {actual!r}, not {expected!r}")
    assert wrong == []


def read(head: str) -> Metadata:
    return read_metadata(load_html(page(head, inside="<h1>Own heading</h1>", title="Own")), URL)


DEEP = "[" * 100_000 + "]" * 100_000
NESTED = '{"@graph":' * 900 + "[]" + "}" * 900
MANY = json.dumps({"@graph": [{"@type": "WebPage", "name": str(n)} for n in range(50_000)]})


@pytest.mark.parametrize(
    "script",
    [
        "",
        "{",
        "null",
        "1",
        '"text"',
        "[[]]",
        DEEP,
        NESTED,
        MANY,
        '{"@type": ' + DEEP[:1_000] + "}",
        '{"@type": "Article", "headline": ' + "9" * 100_000 + "}",
        '{"@type": "Article", "headline": "' + "x" * 2_000_000 + '"}',
        '{"@type": "Article", "author": ' + '{"author": ' * 500 + "1" + "}" * 501,
        json.dumps({"@type": {"a": [1]}, "@id": {"b": 2}, "headline": ["x", 1], "url": 5}),
        json.dumps(
            {"@type": ["Article", 5, None], "author": {"@id": ["x"]}, "name": {"@value": 1}}
        ),
        json.dumps(
            {"@type": "Article", "author": {"name": {"name": "x"}}, "datePublished": 20260203}
        ),
        json.dumps({"@type": "Article", "datePublished": "99999-12-31", "dateModified": "-1"}),
        json.dumps({"@type": "Article", "headline": "\ud800\x00", "inLanguage": "\ud800"}),
        json.dumps({"@type": "Article", "url": "https://[", "mainEntityOfPage": {"@id": "//"}}),
        json.dumps(
            [{"@type": "Article", "headline": f"h{n}", "url": f"http://{n}"} for n in range(99)]
        ),
        ("<!--" * 100_000),
        ("," + " " * 1_000) * 1_000,
    ],
)
def test_hostile_json_ld_yields_nothing(script: str) -> None:
    """Deep, huge, broken or other JSON-LD: the page's other metadata is read, quickly."""
    began = time.process_time()
    found = read(f'<script type="application/ld+json">{script}</script>')
    assert isinstance(found.title, str)
    assert found.published in (None, "2026-02-03")
    # The bound is a number of nodes and characters; this takes some hundredths of a second.
    assert time.process_time() - began < 5


HERE = {"@type": "Article", "headline": "Right", "url": URL}
OTHER = {"@type": "WebPage", "name": "Other"}


def script(value: Any) -> str:
    return f'<script type="application/ld+json">{json.dumps(value)}</script>'


@pytest.mark.parametrize(
    ("head", "title"),
    [
        (script({"x": "y" * 500_000, **HERE}), "Right"),
        (script({"x": "y" * 2_000_000, **HERE}), "Own"),
        (script(OTHER) * 40 + script(HERE), "Right"),
        (script(OTHER) * 60 + script(HERE), "Own"),
        (script([OTHER] * 1_000 + [HERE]), "Right"),
        (script([OTHER] * 5_000 + [HERE]), "Own"),
        (script({**HERE, "headline": "x" * 5_000}), "x" * 1_000),
        ("<meta name=x content=y>" * 1_000 + '<meta property=og:title content="Right">', "Right"),
        ("<meta name=x content=y>" * 5_000 + '<meta property=og:title content="Right">', "Own"),
    ],
)
def test_metadata_is_read_up_to_a_bound(head: str, title: str) -> None:
    """Characters, scripts, nodes, texts and meta elements count up to a bound each."""
    assert read(head).title == title


def test_headings_and_names_are_read_up_to_a_bound() -> None:
    """The bounds are twenty headings, a hundred pieces of a heading, twenty authors."""
    headings = "".join(f"<h1>Heading {n}</h1>" for n in range(9))
    for times, title in ((2, "Right"), (3, "Right - Elsewhere")):
        inside = headings * times + "<h1>Right</h1>"
        tree = load_html(page(inside=inside, title="Right - Elsewhere"))
        assert read_metadata(tree, URL).title == title
    tree = load_html(page(inside=f"<h1>{'<b>a</b>' * 300}</h1>", title=""))
    assert read_metadata(tree, URL).title == " ".join("a" * 100)
    authors = [{"name": f"A{n}"} for n in range(50)]
    assert (read(script({**HERE, "author": authors})).author or "").count(";") == 19


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*ARTICLE, "@graph", "@id", "mainEntity", "name", "url"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(JSON, st.text(max_size=60))
@settings(max_examples=300)
def test_any_json_and_any_stamp(value: Any, stamp: str) -> None:
    """No metadata makes parsing raise an exception."""
    value = {"@type": "Article", **value} if isinstance(value, dict) else value
    script = json.dumps(value).replace("</", "")
    content = stamp.replace('"', "").replace("\x00", "").encode("utf-8", "ignore").decode()
    read(
        f'<script type="application/ld+json">{script}</script>'
        f'<meta property="article:published_time" content="{content}">'
        f'<meta property="og:title" content="{content}">'
        f'<meta property="og:locale" content="{content}">'
    )
    assert day_of(stamp) is None or len(day_of(stamp) or "") == 10


@pytest.mark.parametrize(
    ("stamp", "day"),
    [
        ("2026-02-03", "2026-02-03"),
        ("2026-02-03T23:59:59-11:00", "2026-02-03"),
        ("2026-02-03 08:00", "2026-02-03"),
        ("2026/2/3", "2026-02-03"),
        ("20260203", "2026-02-03"),
        ("20260203T080000Z", "2026-02-03"),
        ("Tue, 03 Feb 2026 23:00:00 -0800", "2026-02-03"),
        ("February 3, 2026", "2026-02-03"),
        ("3 Feb 2026", "2026-02-03"),
        ("03.02.2026", "2026-02-03"),
        ("2026年2月3日 8:00", "2026-02-03"),
        ("2026년 2월 3일", "2026-02-03"),
        ("1770105600", "2026-02-03"),
        ("1770105600000", "2026-02-03"),
        (None, None),
        ("", None),
        ("02/03/2026", None),
        ("yesterday", None),
        ("0000-00-00", None),
        ("0001-01-01T00:00:00", None),
        ("+99999-01-01", None),
        ("99999-01-01", None),
        ("2026-02-30", None),
        ("9999999999999", None),
        ("202602", None),
        ("9" * 5_000, None),
    ],
)
def test_a_timestamp_is_a_day_or_none(stamp: str | None, day: str | None) -> None:
    """ISO 8601, mail, Unix time and written days are read; a day that may be a month is not."""
    assert day_of(stamp) == day


def test_the_samples_are_pages() -> None:
    """Each sample is long enough to be content."""
    assert all(isinstance(sample, Sample) and len(sample.html) > 1_000 for sample in SAMPLES)
