"""Decodes pages by the Encoding Standard (encoding.spec.whatwg.org).

``webencodings`` maps the standard's labels to Python's codecs. This module corrects where Python's
codecs differ from the standard's indexes. Limits: four codes keep Python's character (Big5 A241 and
A242, EUC-JP 8FA2B7, windows-1255 CA); invalid bytes of a multi-byte encoding may become one U+FFFD
more or less than in a browser.
"""

import codecs
from collections.abc import Callable, Mapping
from importlib.resources import files

from webencodings import Encoding, lookup

# The standard decodes GBK with the decoder of GB18030.
_CODECS: Mapping[str, str] = {"gbk": "gb18030", "iso-2022-jp": "iso2022_jp_ext"}


def find_encoding(label: str | None) -> Encoding | None:
    """The encoding of a label; None if there is no label or it is unknown."""
    # Labels are ASCII. Lower-casing other characters would match encodings that browsers do not.
    return lookup(label) if label and label.isascii() else None


def decode_as(html: bytes, encoding: Encoding) -> str:
    """Decode ``html``; invalid bytes become U+FFFD."""
    name = encoding.name
    if name == "replacement":
        # Encodings used for attacks: browsers show one U+FFFD instead of the page.
        return "\ufffd" if html else ""
    codec = codecs.lookup(_CODECS[name]) if name in _CODECS else encoding.codec_info
    text, _ = codec.decode(html, _ERRORS.get(name, "replace"))
    return text.translate(_RENAMED[name]) if name in _RENAMED else text


def _handler(
    decode_code: Callable[[bytes], str | None], width: int
) -> Callable[[UnicodeError], tuple[str | bytes, int]]:
    """An error handler that decodes ``width`` bytes with ``decode_code``."""

    def handle(error: UnicodeError) -> tuple[str | bytes, int]:
        if not isinstance(error, UnicodeDecodeError):
            raise error
        found = decode_code(error.object[error.start : error.start + width])
        return ("\ufffd", error.end) if found is None else (found, error.start + width)

    return handle


def _c1(code: bytes) -> str | None:
    """Decode bytes 80 to 9F without a character to the control characters of that number."""
    return chr(code[0]) if code[0] < 0xA0 else None


def _euro(code: bytes) -> str | None:
    """Decode 80 as Windows does, like the standard."""
    return "€" if code == b"\x80" else None


def _jis(code: bytes) -> str | None:
    """Decode JIS X 0208 through Shift_JIS, the only codec with NEC's and IBM's characters.

    In EUC-JP both bytes have the high bit, in ISO-2022-JP neither has.
    """
    if len(code) < 2:
        return None
    row, cell = (code[0] & 0x7F) - 0x21, (code[1] & 0x7F) - 0x21
    if not (0 <= row < 94 and 0 <= cell < 94 and (code[0] ^ code[1]) < 0x80):
        return None
    lead = row // 2 + (0x81 if row < 62 else 0xC1)
    trail = cell + 0x9F if row % 2 else cell + (0x40 if cell < 63 else 0x41)
    try:
        return bytes((lead, trail)).decode("cp932")
    except UnicodeDecodeError:
        return None


def _big5_additions() -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    text = (files("serpline.providers.pages") / "data" / "big5.txt").read_text("utf-8")
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        code, characters = line.split(" ")
        lead, trail = bytes.fromhex(code)
        for character in characters:
            found[bytes((lead, trail))] = character
            # Trail bytes are 40 to 7E and A1 to FE; no run goes beyond.
            trail = 0xA1 if trail == 0x7E else trail + 1
    return found


codecs.register_error("serpline.c1", _handler(_c1, 1))
codecs.register_error("serpline.euro", _handler(_euro, 1))
codecs.register_error("serpline.jis", _handler(_jis, 2))
codecs.register_error("serpline.big5", _handler(_big5_additions().get, 2))
_ERRORS: Mapping[str, str] = {
    **{f"windows-125{n}": "serpline.c1" for n in range(9)},
    "windows-874": "serpline.c1",
    "gbk": "serpline.euro",
    "gb18030": "serpline.euro",
    "big5": "serpline.big5",
    "euc-jp": "serpline.jis",
    "iso-2022-jp": "serpline.jis",
}
_JIS_RENAMED = str.maketrans("〜‖−¢£¬", "～∥－￠￡￢")
# Python's characters for codes that the standard decodes to another one.
_RENAMED: Mapping[str, Mapping[int, str | int]] = {
    "koi8-u": str.maketrans("╝╬", "ўЎ"),
    "big5": str.maketrans("•､‾∼♁☉¥¢£", "‧﹑¯～⊕⊙￥￠￡"),
    "euc-jp": _JIS_RENAMED,
    "iso-2022-jp": _JIS_RENAMED,
    # GB18030-2022: characters that Unicode did not have in the year 2000.
    **dict.fromkeys(
        ("gbk", "gb18030"),
        str.maketrans(
            "\ue5e5\ue78d\ue78e\ue78f\ue790\ue791\ue792\ue793\ue794\ue795\ue796\ue7c7"
            "\ue81e\ue826\ue82b\ue82c\ue832\ue843\ue854\ue864",
            "\u3000︐︒︑︓︔︕︖︗︘︙ḿ龴龵龶龷龸龹龺龻",
        ),
    ),
}
