"""Text from the web controls no terminal, breaks no JSON document, runs in no spreadsheet."""

import json
import re
import unicodedata

import pytest
import structlog

from serpline.core.escaping import json_text, log_text, spreadsheet_text, terminal_text
from serpline.core.logging import configure

_BIDI = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def _is_control(character: str) -> bool:
    """By Unicode: a control, a line separator, half a pair, or a bidirectional control."""
    category = unicodedata.category(character)
    return category in ("Cc", "Zl", "Zp", "Cs") or unicodedata.bidirectional(character) in _BIDI


def test_no_character_that_steers_a_terminal_passes() -> None:
    """Every control and bidirectional control of Unicode becomes a space or an escape."""
    controls = [chr(n) for n in range(0x110000) if _is_control(chr(n))]
    marks = ["\u200e", "\u200f", "\u061c", "\ufeff"]
    assert len(controls) > 2_000
    text = "".join((*controls, *marks))
    assert terminal_text(text) == " " * len(text)
    written = json_text({"title": text}, indent=1, default=str)
    assert not any(_is_control(c) for c in written.replace("\n", ""))
    assert not set(marks) & set(written)
    # Python's decoder joins surrogate pairs. Other text comes back unchanged.
    plain = "".join(c for c in text if unicodedata.category(c) != "Cs")
    assert json.loads(json_text(plain, indent=1, default=str)) == plain
    assert not any(_is_control(c) for c in log_text(text).replace("\n", "").replace("\t", ""))


def test_ordinary_text_is_unchanged() -> None:
    """Scripts, joiners and emoji stay readable in tables, documents and logs."""
    text = "Größe ۵ می\u200cخواهم 値段 👩\u200d🍳 ₹\u00a05"
    assert terminal_text(text) == log_text(text) == text
    assert json_text([text], indent=0, default=str) == f'[\n"{text}"\n]'


def test_a_log_line_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A value from the web is escaped in a log line, with and without JSON."""
    for json_lines in (False, True):
        configure("INFO", json_lines=json_lines)
        structlog.get_logger().info("told", title="a\x9b31m\u202eb")
        line = capsys.readouterr().err
        assert "told" in line
        assert re.search(r"\\u009b", line)
        assert not {"\x9b", "\u202e"} & set(line)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+49 30", "'+49 30"),
        ("-3", "'-3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("＝1", "'＝1"),
        ("'=1", "''=1"),
        ("'s-Hertogenbosch", "'s-Hertogenbosch"),
        ("a;=1;+2", "a;'=1;'+2"),
        ("a; b;c", "a; b;c"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_a_formula_is_text_in_a_spreadsheet(text: str, cell: str) -> None:
    """Text that a spreadsheet would run gets an apostrophe, which can be removed again."""
    assert spreadsheet_text(text) == cell
    assert re.sub("(^|;)'('*[=+\\-@\t\r\n＝＋－＠])", r"\1\2", cell) == text
