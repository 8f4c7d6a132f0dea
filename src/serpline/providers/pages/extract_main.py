"""The extractor process, which may be killed at any time.

Run as ``python -m serpline.providers.pages.extract_start MEMORY_BYTES``; reads and writes frames
(``frames``) on standard input and output. Promise: one reply per page, or the process ends. It ends
with its input, and an alarm ends it when a page exceeds its deadline, so it outlives its parent by
one deadline at most. Limits: macOS does not enforce the memory limit; elsewhere the parser may
report a page that exceeded it as a page without text.
"""

import contextlib
import json
import logging
import os
import re
import resource
import signal
import sys
from typing import Any

import trafilatura

from serpline.providers.pages.decoding import decode
from serpline.providers.pages.facts import read_facts
from serpline.providers.pages.frames import as_frame, read_frame
from serpline.providers.pages.metadata import read_metadata
from serpline.providers.pages.walls import by_content

TEXT_CHARS_MAX = 20_000
FIELD_CHARS_MAX = 1_000
# The parent kills at the deadline; the alarm is for a process whose parent has died.
_ALARM_GRACE_SECONDS = 2.0
# Only stated dates: a search through the text finds years that mean something else.
_DATES = {"original_date": True, "extensive_search": False}


def main() -> None:
    """Extract page after page until the input ends."""
    _limit(int(sys.argv[1]))
    # Output of libraries must not get between the frames.
    with os.fdopen(os.dup(1), "wb") as out, os.fdopen(0, "rb") as requests:
        os.dup2(2, 1)
        logging.disable(logging.CRITICAL)

        def send(value: dict[str, Any]) -> None:
            out.write(as_frame(value))
            out.flush()

        send({"ready": True})
        while True:
            head, html = read_frame(requests), read_frame(requests)
            if head is None or html is None:
                return
            request = json.loads(head)
            signal.setitimer(signal.ITIMER_REAL, request["deadline_seconds"] + _ALARM_GRACE_SECONDS)
            send({"received": True})
            send(extract(html, request["charset"], request["url"], request["requested_url"]))
            signal.setitimer(signal.ITIMER_REAL, 0)


def _limit(memory_bytes: int) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Where it cannot be set (macOS), the deadline ends a page that grows without end.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def extract(html: bytes, charset: str | None, url: str, requested_url: str) -> dict[str, Any]:
    """The reply to one page: its text and metadata, its kind if it has no content, or an error."""
    text = decode(html, charset)
    found = facts = metadata = None
    try:
        tree = trafilatura.load_html(text)
        if tree is not None:
            facts, metadata = read_facts(tree), read_metadata(tree, url)
            found = trafilatura.bare_extraction(
                tree,
                url=url,
                fast=True,
                include_comments=False,
                with_metadata=True,
                date_extraction_params=_DATES,
            )
    except Exception:  # noqa: BLE001  any exception of the parser is the page's failure
        return {"error": "malformed"}
    if facts is None or metadata is None:
        return {"error": "empty" if _has_markup(text) else "malformed"}
    if not isinstance(found, trafilatura.settings.Document):
        found = trafilatura.settings.Document()
    body = _clean(found.text)
    if wall := by_content(url, requested_url, facts, body):
        return {"kind": wall.kind, "sign": wall.sign}
    # A stated day of modification is not the day of publication.
    day = metadata.published or (found.date if found.date not in metadata.modified else None)
    return {
        "text": body[:TEXT_CHARS_MAX],
        "truncated": len(body) > TEXT_CHARS_MAX,
        "title": _field(metadata.title or found.title),
        "author": _field(metadata.author or found.author),
        "date": _field(day),
        "language": _field(metadata.language or found.language),
        "sitename": _field(metadata.sitename or found.sitename),
        "canonical_url": _field(found.url),
    }


def _has_markup(text: str) -> bool:
    return re.search(r"<[A-Za-z!/]", text) is not None


def _field(value: Any) -> str | None:
    return _clean(value)[:FIELD_CHARS_MAX] or None if isinstance(value, str) else None


def _clean(value: str | None) -> str:
    """Remove NULs and halves of surrogate pairs, which PostgreSQL cannot store."""
    text = (value or "").encode("utf-8", "replace").decode()
    return text.replace("\x00", "").strip()
