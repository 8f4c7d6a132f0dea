"""Measure how well titles, dates, languages and authors are read, beside trafilatura alone.

    .venv/bin/python tools/measure_page_metadata.py            the set of harness/page_set.py
    .venv/bin/python tools/measure_page_metadata.py FOLDER     pages in Readability's test format

FOLDER holds a folder per page with ``source.html`` and ``expected-metadata.json`` (``title``,
``publishedTime``, ``lang``, ``byline``), as mozilla/readability has under test/test-pages.
Precision: correct values of those read. Recall: correct values of those that exist. Titles and
authors are compared by their letters and digits.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import trafilatura

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness.page_set import SAMPLES

from serpline.providers.pages.decoding import decode
from serpline.providers.pages.extract_main import extract

FIELDS = ("title", "date", "language", "author")
_LANGUAGE = re.compile(
    r"<html\b[^>]{0,1000}?\blang\s*=\s*[\"']?([A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,3})\b", re.I
)
Reading = Mapping[str, str | None]


def former(html: bytes, url: str) -> Reading:
    """Trafilatura's metadata, and the first ``lang`` in the page's first 4,096 characters."""
    text = decode(html, None)
    found = trafilatura.bare_extraction(
        text,
        url=url,
        fast=True,
        with_metadata=True,
        date_extraction_params={"original_date": True, "extensive_search": False},
    )
    if not isinstance(found, trafilatura.settings.Document):
        return {}
    declared = _LANGUAGE.search(text[:4_096])
    language = found.language or (declared[1].lower() if declared else None)
    return {"title": found.title, "date": found.date, "language": language, "author": found.author}


def present(html: bytes, url: str) -> Reading:
    """The extractor's reading."""
    return extract(html, None, url, url)


def our_pages() -> Iterator[tuple[bytes, str, Reading]]:
    """Our pages with their correct values."""
    for sample in SAMPLES:
        correct = {name: getattr(sample, name) for name in FIELDS}
        yield sample.html.encode(), sample.url, correct


def of_folder(folder: Path) -> Iterator[tuple[bytes, str, Reading]]:
    """Pages in Readability's format with their expected values."""
    for path in sorted(folder.glob("*/expected-metadata.json")):
        expected: dict[str, Any] = json.loads(path.read_text("utf-8"))
        correct = {
            "title": expected.get("title"),
            "date": (expected.get("publishedTime") or "")[:10] or None,
            "language": (expected.get("lang") or "").lower().replace("_", "-") or None,
            "author": expected.get("byline"),
        }
        yield (path.parent / "source.html").read_bytes(), "https://page.example/x", correct


def main() -> None:
    """Print precision and recall of each field for both readings."""
    pages = list(of_folder(Path(sys.argv[1])) if sys.argv[1:] else our_pages())
    readings: dict[str, Callable[[bytes, str], Reading]] = {"former": former, "present": present}
    read = {
        name: [(reading(html, url), correct) for html, url, correct in pages]
        for name, reading in readings.items()
    }
    print_line(f"{len(pages)} pages")
    for field in FIELDS:
        for name, pairs in read.items():
            values = sum(1 for found, _ in pairs if found.get(field))
            existing = sum(1 for _, correct in pairs if correct[field])
            hits = sum(_same(found.get(field), correct[field]) for found, correct in pairs)
            precision, recall = hits / max(values, 1), hits / max(existing, 1)
            print_line(
                f"{field:9} {name:8} precision {hits}/{values} = {precision:.2f}"
                f"  recall {hits}/{existing} = {recall:.2f}"
            )


def print_line(line: str) -> None:
    """Write a line to standard output."""
    sys.stdout.write(f"{line}\n")


def _same(found: str | None, correct: str | None) -> bool:
    return bool(found and correct) and _letters(found) == _letters(correct)


def _letters(text: str | None) -> str:
    return re.sub(r"\W+", "", text or "").casefold()


if __name__ == "__main__":
    main()
