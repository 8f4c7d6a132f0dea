"""The encodings that pages name, decoded as the Encoding Standard says (encoding.spec.whatwg.org).

``webencodings`` knows the standard's labels and decodes with Python's codecs. Where those differ
from the standard's indexes, the difference is made up for here. Limits: four codes stay Python's
(Big5 A241 and A242, EUC-JP 8FA2B7, windows-1255 CA); what is invalid in a multi-byte encoding may
become one U+FFFD more or less than in a browser.
"""

import codecs
from collections.abc import Callable, Mapping
from importlib.resources import files

from webencodings import Encoding, lookup

# The standard decodes GBK with the decoder of GB18030.
_CODECS: Mapping[str, str] = {"gbk": "gb18030", "iso-2022-jp": "iso2022_jp_ext"}


def find(label: str | None) -> Encoding | None:
    """The encoding that a label stands for; None without one, and for an unknown one."""
    # A label is ASCII: beyond it, lower-casing would find encodings that no browser finds.
    return lookup(label) if label and label.isascii() else None


def decode_as(html: bytes, encoding: Encoding) -> str:
    """The characters of ``html``; what is not of the encoding becomes U+FFFD."""
    name = encoding.name
    if name == "replacement":
        # Encodings that were used for attacks: browsers show one sign in place of the page.
        return "\ufffd" if html else ""
    codec = codecs.lookup(_CODECS[name]) if name in _CODECS else encoding.codec_info
    text, _ = codec.decode(html, _ERRORS.get(name, "replace"))
    return text.translate(_RENAMED[name]) if name in _RENAMED else text


def _handler(
    decode_code: Callable[[bytes], str | None], width: int
) -> Callable[[UnicodeError], tuple[str | bytes, int]]:
    """An error handler that tries ``width`` bytes by ``decode_code``."""

    def handle(error: UnicodeError) -> tuple[str | bytes, int]:
        if not isinstance(error, UnicodeDecodeError):
            raise error
        found = decode_code(error.object[error.start : error.start + width])
        return ("\ufffd", error.end) if found is None else (found, error.start + width)

    return handle


def _c1(code: bytes) -> str | None:
    """Bytes 80 to 9F without a character are the control characters of that number."""
    return chr(code[0]) if code[0] < 0xA0 else None


def _euro(code: bytes) -> str | None:
    """The standard reads 80 as Windows does."""
    return "€" if code == b"\x80" else None


def _jis(code: bytes) -> str | None:
    """A code of JIS X 0208 by way of Shift_JIS: Python has NEC's and IBM's characters only there.

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
# Characters that Python reads for a code of which the standard reads another.
_RENAMED: Mapping[str, Mapping[int, str | int]] = {
    "koi8-u": str.maketrans("╝╬", "ўЎ"),
    "big5": str.maketrans("•､‾∼♁☉¥¢£", "‧﹑¯～⊕⊙￥￠￡"),
    "euc-jp": _JIS_RENAMED,
    "iso-2022-jp": _JIS_RENAMED,
    # GB18030-2022: what had no place in Unicode in the year 2000 has one now.
    **dict.fromkeys(
        ("gbk", "gb18030"),
        str.maketrans(
            "\ue5e5\ue78d\ue78e\ue78f\ue790\ue791\ue792\ue793\ue794\ue795\ue796\ue7c7"
            "\ue81e\ue826\ue82b\ue82c\ue832\ue843\ue854\ue864",
            "\u3000︐︒︑︓︔︕︖︗︘︙ḿ龴龵龶龷龸龹龺龻",
        ),
    ),
}
