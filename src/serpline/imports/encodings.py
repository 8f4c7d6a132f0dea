"""The encoding of a text file, and its lines.

A byte order mark decides. A file of UTF-16 without one shows it by its zero bytes. Bytes that are
UTF-8 are UTF-8. Everything else is guessed among the encodings that spreadsheets and tools write,
by the lines that are not ASCII; the guess is told to the person. A file that is UTF-8 for the most
part is not guessed: another encoding would change its correct lines.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import chardet

from serpline.domain.errors import UserError

BLOCK_BYTES = 1_000_000
LINE_CHARACTERS_MAX = 65_536
_SAMPLE_BYTES_MAX = 65_536
_SAMPLE_BLOCK_BYTES_MAX = 16_384

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# By chardet's names: what Excel writes on Windows by the country, and files of older systems.
_GUESSES = (
    *(f"Windows-125{n}" for n in range(9)),
    *("ISO-8859-2", "ISO-8859-5", "ISO-8859-7", "ISO-8859-8", "Windows-874", "KOI8-R"),
    *("CP932", "EUC-JP", "GB18030", "Big5", "CP949"),
)
# Text encodings of Python that no file has.
_NOT_OF_FILES = {"unicode_escape", "raw_unicode_escape", "idna", "punycode"}
_INVALID = re.compile("[\udc80-\udcff]")
_LINE_END = re.compile("\r\n|\r|\n")
_NEAR_CHARACTERS = 10


@dataclass(frozen=True, slots=True)
class Encoding:
    """Python's name of an encoding, and whether it is a guess."""

    name: str
    guessed: bool = False


def named_encoding(name: str) -> Encoding:
    """The encoding that a person named. Raises ``UserError`` for one that Python cannot decode."""
    try:
        found = codecs.lookup(name)
        # Codecs such as "hex" and "zlib" are none of text.
        "".encode(found.name)
        if found.name.replace("-", "_") in _NOT_OF_FILES:
            raise LookupError
    except (LookupError, ValueError, TypeError):
        raise UserError(f"encoding {name!r}: give one such as utf-8, cp1252 or shift_jis") from None
    return Encoding(found.name)


def find_encoding(stream: BinaryIO) -> Encoding:
    """The encoding of a whole file, which is read once and rewound. Memory: a few blocks.

    Raises ``UserError`` with line and byte for a file that is UTF-8 for the most part.
    """
    start = stream.read(BLOCK_BYTES)
    stream.seek(0)
    for mark, name in _MARKS:
        if start.startswith(mark):
            return Encoding(name)
    if wide := _zero_bytes(start[:4096]):
        return Encoding(wide)
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    valid, invalid, line = 0, 0, 1
    first: tuple[int, str] | None = None
    sample = bytearray()
    while block := stream.read(BLOCK_BYTES):
        text = decoder.decode(block)
        if not block.isascii():
            bad = len(_INVALID.findall(text))
            invalid += bad
            valid += len(text) - len(text.encode("ascii", "ignore")) - bad
            if bad and first is None:
                first = _first_invalid(text, line)
            if len(sample) < _SAMPLE_BYTES_MAX:
                lines = (each for each in block.splitlines(keepends=True) if not each.isascii())
                # Some of each block: the first lines of a file may be of one language.
                sample += b"".join(lines)[:_SAMPLE_BLOCK_BYTES_MAX]
        line += text.count("\n") or text.count("\r")
    text = decoder.decode(b"", final=True)
    invalid += len(text)
    stream.seek(0)
    if not invalid:
        return Encoding("utf-8")
    if valid > invalid:
        number, near = first or (line, text)
        raise UserError(
            f"line {number}: the file is UTF-8 except near {near!r}: mend this line, or give the"
            " file's encoding with --encoding"
        )
    found = chardet.detect(bytes(sample), include_encodings=_GUESSES)["encoding"]
    return Encoding(codecs.lookup(found or "cp1252").name, guessed=True)


def decoded_lines(stream: BinaryIO, encoding: Encoding) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, numbered from 1, without their ends.

    A line ends with LF, CR LF, or CR alone (files of old Macs). Bytes that the encoding lacks
    become U+FFFD. Raises ``UserError`` for a line over ``LINE_CHARACTERS_MAX``.
    """
    decoder = codecs.getincrementaldecoder(encoding.name)("replace")
    number, rest, at_end = 0, "", False
    while not at_end:
        block = stream.read(LINE_CHARACTERS_MAX)
        at_end = not block
        try:
            text = rest + decoder.decode(block, final=at_end)
        except UnicodeError as error:
            raise UserError(f"line {number + 1}: not {encoding.name}: {error}") from None
        # A CR at the end may be the first half of a CR LF.
        held = "\r" if text.endswith("\r") and not at_end else ""
        *whole, rest = _LINE_END.split(text[: len(text) - len(held)])
        rest += held
        for line in whole:
            number += 1
            yield from _numbered(number, line)
        if len(rest) > LINE_CHARACTERS_MAX:
            yield from _numbered(number + 1, rest)
    yield from _numbered(number + 1, rest)


def _numbered(number: int, line: str) -> Iterator[tuple[int, str]]:
    if len(line) > LINE_CHARACTERS_MAX:
        raise UserError(
            f"line {number}: longer than {LINE_CHARACTERS_MAX} characters; is this a table?"
        )
    if number == 1:
        line = line.removeprefix("\ufeff")
    if line.strip(" \t"):
        yield number, line


def _zero_bytes(start: bytes) -> str | None:
    """UTF-16 of mostly ASCII has a zero in every other byte."""
    pairs = len(start) // 2
    if pairs and start[1::2].count(0) > 0.4 * pairs and start[::2].count(0) < 0.1 * pairs:
        return "utf-16-le"
    if pairs and start[::2].count(0) > 0.4 * pairs and start[1::2].count(0) < 0.1 * pairs:
        return "utf-16-be"
    return None


def _first_invalid(text: str, line: int) -> tuple[int, str]:
    """The line of the first byte that is not UTF-8, and the text around it."""
    found = _INVALID.search(text)
    assert found is not None
    at = found.start()
    before = text[:at]
    # Of its own line only.
    near = _LINE_END.split(before[-_NEAR_CHARACTERS:])[-1]
    near += _LINE_END.split(text[at : at + _NEAR_CHARACTERS])[0]
    return line + (before.count("\n") or before.count("\r")), near
