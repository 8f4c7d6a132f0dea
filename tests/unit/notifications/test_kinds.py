"""The kinds of notifications."""

import re
from pathlib import Path

from serpline.notifications.kinds import KINDS
from serpline.notifications.reports import is_reported

PAGE = Path(__file__).parents[3] / "docs" / "notifications.md"
ROW = re.compile(r"^\| `(\w+\.\w+)` \| (.+?) \| (yes)? ?\|$", re.MULTILINE)


def test_the_page_lists_the_kinds() -> None:
    """The page has every kind with its words, and whether it is usual."""
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert [(name, words, usual == "yes") for name, words, usual in rows] == [
        (name, kind.words, kind.is_usual) for name, kind in KINDS.items()
    ]


def test_every_kind_has_a_report() -> None:
    """Every kind is the name of an event that makes a report, but for the breaker's level."""
    assert [name for name in KINDS if not is_reported(name)] == ["breaker.open"]
