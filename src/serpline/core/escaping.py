"""Makes outside text safe for a terminal, a log, a JSON document or a spreadsheet.

Titles, names and error messages come from the web. In a terminal, control characters (C0, DEL,
C1) are commands, and bidirectional controls change the visible order of a line (CVE-2021-42574).
A spreadsheet may run a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line end as a
formula (OWASP, "CSV Injection").
"""

import json
import re
from collections.abc import Callable
from typing import Any

# Controls, line and paragraph separators, bidirectional controls, the byte order mark, interlinear
# annotations and language tags. None has a visible shape.
_BIDI = (
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\U000e0001\U000e0020-\U000e007f"
)
_CONTROLS = re.compile(f"[\x00-\x1f\x7f-\x9f{_BIDI}\ud800-\udfff]")
# The JSON encoder escapes C0. The document's own line ends stay.
_CONTROLS_IN_JSON = re.compile(f"[\x7f-\x9f{_BIDI}\ud800-\udfff]")
# Spreadsheets also accept the full-width forms. Where commas are decimal signs they separate cells
# by semicolons, and quotes within a cell do not stop them.
FORMULA_START = "'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
_FORMULA = re.compile(f"(?:^|(?<=;))(?={FORMULA_START})")


def terminal_text(text: str) -> str:
    """``text`` for a terminal: control characters, line ends and tabs become spaces."""
    return _CONTROLS.sub(" ", text)


def log_text(text: str) -> str:
    """``text`` for a log: control characters are escaped, line ends and tabs stay."""
    return _CONTROLS.sub(lambda m: m[0] if m[0] in "\n\t" else _escape(m[0]), text)


def json_text(value: Any, *, indent: int | None, default: Callable[[Any], Any]) -> str:
    """A JSON document in readable Unicode, with control characters escaped by ``\\u``."""
    return escape_in_json(json.dumps(value, ensure_ascii=False, indent=indent, default=default))


def escape_in_json(text: str) -> str:
    """``text``, a JSON document, with the control characters in its strings escaped."""
    return _CONTROLS_IN_JSON.sub(lambda m: _escape(m[0]), text)


def spreadsheet_text(text: str) -> str:
    """``text`` for a CSV cell: text that a spreadsheet might run gets an apostrophe before it.

    So does such text after a semicolon. To undo it, remove one apostrophe from those before ``=``,
    ``+``, ``-``, ``@``, a tab or a line end.
    """
    return _FORMULA.sub("'", text)


def _escape(character: str) -> str:
    return json.dumps(character)[1:-1]
