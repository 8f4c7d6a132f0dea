"""The worker's side of page extraction: a process that may be killed at any instant.

Run as ``python -m serpline.providers.pages.extract_start MEMORY_BYTES``; speaks frames (``frames``)
on its standard input and output. Promise: one reply for one page, or death. It ends when its input
does; an alarm ends it when a page outlasts its deadline, so that it never outlives its parent by
more than that. Limits: macOS does not enforce the limit on memory; where it is enforced, the parser
may report a page that outgrew it as one without text.
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
# The parent kills at the deadline; the alarm is for a worker whose parent has died.
_ALARM_GRACE_SECONDS = 2.0
# Only dates that the page states: a search through its text finds years that mean something else.
_DATES = {"original_date": True, "extensive_search": False}


def main() -> None:
    """Extract page after page until the input ends."""
    _limit(int(sys.argv[1]))
    # Whatever a library prints must not get between the frames.
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
            send(extract(html, request["charset"], request["url"], request["asked"]))
            signal.setitimer(signal.ITIMER_REAL, 0)


def _limit(memory_bytes: int) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Where it cannot be set (macOS), the deadline is what ends a page that grows without end.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def extract(html: bytes, charset: str | None, url: str, asked: str) -> dict[str, Any]:
    """The reply to one page: its text and what it says of itself, its kind, or an error."""
    text = decode(html, charset)
    found = facts = said = None
    try:
        tree = trafilatura.load_html(text)
        if tree is not None:
            facts, said = read_facts(tree), read_metadata(tree, url)
            found = trafilatura.bare_extraction(
                tree,
                url=url,
                fast=True,
                include_comments=False,
                with_metadata=True,
                date_extraction_params=_DATES,
            )
    except Exception:  # noqa: BLE001  whatever a page does to the parser is the page's own failure
        return {"error": "malformed"}
    if facts is None or said is None:
        return {"error": "empty" if _has_markup(text) else "malformed"}
    if not isinstance(found, trafilatura.settings.Document):
        found = trafilatura.settings.Document()
    body = _clean(found.text)
    if wall := by_content(url, asked, facts, body):
        return {"kind": wall.kind, "sign": wall.sign}
    # A day that the page calls one of a later change is none of publication.
    day = said.published or (found.date if found.date not in said.modified else None)
    return {
        "text": body[:TEXT_CHARS_MAX],
        "truncated": len(body) > TEXT_CHARS_MAX,
        "title": _field(said.title or found.title),
        "author": _field(said.author or found.author),
        "date": _field(day),
        "language": _field(said.language or found.language),
        "sitename": _field(said.sitename or found.sitename),
        "canonical_url": _field(found.url),
    }


def _has_markup(text: str) -> bool:
    return re.search(r"<[A-Za-z!/]", text) is not None


def _field(value: Any) -> str | None:
    return _clean(value)[:FIELD_CHARS_MAX] or None if isinstance(value, str) else None


def _clean(value: str | None) -> str:
    """``value`` as PostgreSQL can store it: no NUL, no half of a surrogate pair."""
    text = (value or "").encode("utf-8", "replace").decode()
    return text.replace("\x00", "").strip()
