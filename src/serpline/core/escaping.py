"""Text from outside, made safe for what shows it: a terminal, a JSON document, a spreadsheet.

Titles, names and error messages come from the web. In a terminal, control characters (C0, DEL,
C1) are commands, and bidirectional controls let a line read in another order than it has
(CVE-2021-42574). In a spreadsheet, a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a
line end may be run as a formula (OWASP, "CSV Injection").
"""

import json
import re
from collections.abc import Callable
from typing import Any

# Controls, line and paragraph separators, the bidirectional controls, the byte order mark,
# interlinear annotations and language tags: nothing here has a shape of its own.
_BIDI = (
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\U000e0001\U000e0020-\U000e007f"
)
_STEERING = re.compile(f"[\x00-\x1f\x7f-\x9f{_BIDI}\ud800-\udfff]")
# C0 is escaped by the encoder. The document's own line ends stay.
_STEERING_IN_JSON = re.compile(f"[\x7f-\x9f{_BIDI}\ud800-\udfff]")
# Spreadsheets read the full-width forms, too.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def terminal_text(text: str) -> str:
    """``text`` for a terminal: what would steer it is a space. Line ends and tabs are, too."""
    return _STEERING.sub(" ", text)


def log_text(text: str) -> str:
    """``text`` for a log: what would steer a terminal is log_text, line ends and tabs stay."""
    return _STEERING.sub(lambda m: m[0] if m[0] in "\n\t" else _escape(m[0]), text)


def json_text(value: Any, *, indent: int | None, default: Callable[[Any], Any]) -> str:
    """A JSON document in readable Unicode; what would steer a terminal is escaped with ``\\u``."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=default)
    return _STEERING_IN_JSON.sub(lambda m: _escape(m[0]), text)


def spreadsheet_text(text: str) -> str:
    """``text`` for a CSV cell: an apostrophe goes before what a spreadsheet would run.

    It can be undone: where apostrophes stand before ``=``, ``+``, ``-``, ``@``, a tab or a line
    end, take one away.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def _escape(character: str) -> str:
    return json.dumps(character)[1:-1]
