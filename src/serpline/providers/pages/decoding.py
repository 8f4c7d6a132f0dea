"""Decodes a page as browsers do.

The encoding comes from the byte order mark, else the server's charset, else the page's ``<meta>``
anywhere (HTML 13.2.3.2 searches the first kilobyte, and the parser switches at a later one), else
the XML declaration. A page without any of these is UTF-8 if it is valid UTF-8; otherwise the
encoding is guessed from the bytes, as Firefox and Chrome do. Undecodable bytes become U+FFFD.
"""

import re

import chardet
from webencodings import Encoding

from serpline.providers.pages.charsets import decode_as, find_encoding

_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16le"), (b"\xfe\xff", "utf-16be"))
# Two bytes per character without a mark: HTML 13.2.3.2 detects them by their first bytes.
_WIDE = ((b"<\x00?\x00x\x00", "utf-16le"), (b"\x00<\x00?\x00x", "utf-16be"))
_XML = re.compile(rb"<\?xml[^>]{0,200}?\bencoding\s*=\s*(?:\"([^\">]{1,40})\"|'([^'>]{1,40})')")

# Elements that may hide or contain a <meta>. A name ends at a space, a slash or the tag's end.
_OF_INTEREST = re.compile(
    rb"<(?:(!--)|(script|style|title|textarea|xmp|iframe|noembed|noframes)(?=[\s/>])"
    rb"|meta(?=[\s/]))",
    re.IGNORECASE,
)
# Possessive quantifiers prevent catastrophic backtracking.
_ATTRIBUTES = re.compile(rb"(?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+>")
_ATTRIBUTE = re.compile(
    rb"([^\s/>=][^\s/>=]*+)(?:\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s>]++)))?+"
)
_IN_CONTENT = re.compile(rb"charset\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s;\"']++))", re.I)
_LABEL_BYTES_MAX = 40


def decode(html: bytes, charset: str | None) -> str:
    """Decode ``html``; ``charset`` is the server's. Never fails."""
    for mark, label in _MARKS:
        if html.startswith(mark):
            return decode_as(html[len(mark) :], _known(label))
    encoding = find_encoding(charset) or _wide(html) or _of_meta(html) or _of_xml(html)
    if encoding is not None:
        return decode_as(html, encoding)
    try:
        return html.decode("utf-8")
    except UnicodeDecodeError:
        return decode_as(html, _guessed(html))


def _known(label: str) -> Encoding:
    encoding = find_encoding(label)
    assert encoding is not None, label
    return encoding


def _wide(html: bytes) -> Encoding | None:
    return next((_known(label) for start, label in _WIDE if html.startswith(start)), None)


def _of_meta(html: bytes) -> Encoding | None:
    """The encoding of the first ``<meta>`` with a known charset, outside comments and scripts."""
    at = 0
    while found := _OF_INTEREST.search(html, at):
        at = found.end()
        if found[1]:
            # "<!-->" and "<!--->" are whole comments.
            at = html.find(b"-->", at - 2)
            if at < 0:
                return None
        elif found[2]:
            end = re.compile(rb"</" + found[2] + rb"(?=[\s/>])", re.IGNORECASE).search(html, at)
            if end is None:
                return None
            at = end.end()
        else:
            whole = _ATTRIBUTES.match(html, at)
            if whole is None:
                return None
            if encoding := _of_attributes(html[at : whole.end() - 1]):
                return encoding
            at = whole.end()
    return None


def _of_attributes(tag: bytes) -> Encoding | None:
    """The encoding in a ``<meta>``'s ``charset`` or in its pragma's ``content``."""
    given: dict[bytes, bytes] = {}
    for name, *values in _ATTRIBUTE.findall(tag):
        given.setdefault(name.lower(), b"".join(values))
    label = given.get(b"charset")
    if label is None and given.get(b"http-equiv", b"").strip().lower() == b"content-type":
        in_content = _IN_CONTENT.search(given.get(b"content", b""))
        label = b"".join(filter(None, in_content.groups())) if in_content else None
    return _declared(label)


def _of_xml(html: bytes) -> Encoding | None:
    found = _XML.match(html)
    return _declared(found[1] or found[2]) if found else None


def _declared(label: bytes | None) -> Encoding | None:
    """The encoding of a label in the page. The label is readable as ASCII, so it is not UTF-16."""
    if not label or len(label.strip()) > _LABEL_BYTES_MAX:
        return None
    encoding = find_encoding(label.decode("latin-1"))
    if encoding is None:
        return None
    read_as = {"utf-16le": "utf-8", "utf-16be": "utf-8", "x-user-defined": "windows-1252"}
    return _known(read_as.get(encoding.name, encoding.name))


def _guessed(html: bytes) -> Encoding:
    """Guess from the bytes, with windows-1252 as the default. chardet bounds the work."""
    found = chardet.detect(html, include_encodings=_GUESSES)
    label = (found["encoding"] or "").lower()
    return find_encoding(_LABELS.get(label, label)) or _known("windows-1252")


# The encodings that Firefox guesses (hsivonen/chardetng), by chardet's names; _LABELS maps Python's
# own names to the standard's labels. UTF-8 was tried before.
_LABELS = {
    "cp932": "shift_jis",
    "cp949": "euc-kr",
    "cp874": "windows-874",
    "big5hkscs": "big5",
    "euc_jis_2004": "euc-jp",
    "iso2022_jp_ext": "iso-2022-jp",
}
_GUESSES = (
    *_LABELS,
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258"),
    *("gb18030", "iso8859-2", "iso8859-4", "iso8859-5", "iso8859-6", "iso8859-7", "iso8859-13"),
    *("koi8-r", "koi8-u", "cp866"),
)
