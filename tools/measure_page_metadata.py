"""How well pages' titles, days, languages and authors are read: beside trafilatura's reading alone.

    .venv/bin/python tools/measure_page_metadata.py            the set of tests/support/page_set.py
    .venv/bin/python tools/measure_page_metadata.py FOLDER     pages in Readability's test format

FOLDER holds a folder per page with ``source.html`` and ``expected-metadata.json`` (``title``,
``publishedTime``, ``lang``, ``byline``), as mozilla/readability has under test/test-pages.
Precision: right of what was read. Recall: right of what there is. Titles and authors are compared
by their letters and digits.
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
    said = _LANGUAGE.search(text[:4_096])
    language = found.language or (said[1].lower() if said else None)
    return {"title": found.title, "date": found.date, "language": language, "author": found.author}


def present(html: bytes, url: str) -> Reading:
    """What the extractor reads."""
    return extract(html, None, url, url)


def own_set() -> Iterator[tuple[bytes, str, Reading]]:
    """Our pages, and what is right."""
    for sample in SAMPLES:
        right = {name: getattr(sample, name) for name in FIELDS}
        yield sample.html.encode(), sample.url, right


def of_folder(folder: Path) -> Iterator[tuple[bytes, str, Reading]]:
    """Pages in Readability's format, and what its people expect."""
    for path in sorted(folder.glob("*/expected-metadata.json")):
        said: dict[str, Any] = json.loads(path.read_text("utf-8"))
        right = {
            "title": said.get("title"),
            "date": (said.get("publishedTime") or "")[:10] or None,
            "language": (said.get("lang") or "").lower().replace("_", "-") or None,
            "author": said.get("byline"),
        }
        yield (path.parent / "source.html").read_bytes(), "https://page.example/x", right


def main() -> None:
    """Print precision and recall of each field for both readings."""
    pages = list(of_folder(Path(sys.argv[1])) if sys.argv[1:] else own_set())
    readings: dict[str, Callable[[bytes, str], Reading]] = {"former": former, "present": present}
    read = {
        name: [(reading(html, url), right) for html, url, right in pages]
        for name, reading in readings.items()
    }
    say(f"{len(pages)} pages")
    for field in FIELDS:
        for name, pairs in read.items():
            said = sum(1 for found, _ in pairs if found.get(field))
            there = sum(1 for _, right in pairs if right[field])
            good = sum(_same(found.get(field), right[field]) for found, right in pairs)
            say(
                f"{field:9} {name:8} precision {good}/{said} = {good / max(said, 1):.2f}"
                f"  recall {good}/{there} = {good / max(there, 1):.2f}"
            )


def say(line: str) -> None:
    """A line to standard output."""
    sys.stdout.write(f"{line}\n")


def _same(found: str | None, right: str | None) -> bool:
    return bool(found and right) and _letters(found) == _letters(right)


def _letters(text: str | None) -> str:
    return re.sub(r"\W+", "", text or "").casefold()


if __name__ == "__main__":
    main()
