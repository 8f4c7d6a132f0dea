"""From a page's bytes to its characters, as browsers do it.

A byte order mark wins, then what the server says, then what the page says in its first kilobyte,
then UTF-8 if it is valid, and windows-1252 in the end. Undecodable bytes become U+FFFD.
"""

import codecs
import re

_PRESCAN_BYTES = 1_024
_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.I)

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# What pages mean by these names, by codec name: a superset of what the standard's name covers.
_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "tis-620": "cp874",
}

# Python's codecs that no page is written in, and some of which never end well.
_NO_CHARSETS = frozenset(
    {
        "idna",
        "mbcs",
        "oem",
        "punycode",
        "raw-unicode-escape",
        "undefined",
        "unicode-escape",
        "utf-7",
    }
)


def decode(html: bytes, charset: str | None) -> str:
    """The characters of ``html``; ``charset`` is what its server says. Never fails."""
    for mark, codec in _MARKS:
        if html.startswith(mark):
            return html[len(mark) :].decode(codec, "replace")
    declared = _META.search(html[:_PRESCAN_BYTES])
    said_by_page = declared[1].decode("ascii") if declared else None
    # A page that could be read as ASCII up to its <meta> is not UTF-16, whatever it says.
    if said_by_page and said_by_page.lower().startswith("utf-16"):
        said_by_page = "utf-8"
    for name in (charset, said_by_page):
        text = _decoded(html, name)
        if text is not None:
            return text
    try:
        return html.decode("utf-8")
    except UnicodeDecodeError:
        return html.decode("cp1252", "replace")


def _decoded(html: bytes, name: str | None) -> str | None:
    """``html`` in the named charset; None when there is no such charset."""
    if not name:
        return None
    try:
        codec = codecs.lookup(name).name
        if codec in _NO_CHARSETS:
            return None
        return html.decode(_SUPERSETS.get(codec, codec), "replace")
    except (LookupError, ValueError):
        # Also Python's codecs from bytes to bytes, such as "hex": no text comes of those.
        return None
