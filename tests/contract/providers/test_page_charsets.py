"""The encoding of a page, and its decoding by the Encoding Standard.

``tests/data/encodings.txt`` is the standard's own table.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serpline.providers.pages.charsets import decode_as, find_encoding
from serpline.providers.pages.decoding import decode

TABLE: dict[str, dict[str, Any]] = {
    name: json.loads(rest)
    for name, rest in (
        line.split(" ", 1)
        for line in (Path(__file__).parents[2] / "data" / "encodings.txt").read_text().split("\n")
        if line and not line.startswith("#")
    )
}
LABELS = [(label, name) for name, row in TABLE.items() for label in row["labels"]]
# By code points: byte, what the standard has, what we have.
KNOWN_DIFFERENCES = {"windows-1255": {0xCA: ("\u05ba", "\ufffd")}}


def codes_of(name: str) -> list[tuple[bytes, str]]:
    """Bytes and the characters that the standard reads there."""
    row = TABLE[name]
    if "upper" not in row:
        return [(bytes.fromhex(code), characters) for code, characters in row["codes"].items()]
    different = KNOWN_DIFFERENCES.get(name, {})
    return [
        (bytes([at]), different.get(at, (right, right))[1])
        for at, right in enumerate(row["upper"], 0x80)
    ]


def test_the_table_is_whole() -> None:
    """All 228 labels of the standard's 40 encodings are tested below."""
    assert (len(TABLE), len(LABELS)) == (40, 228)


@pytest.mark.parametrize(("label", "name"), LABELS)
def test_every_label_of_the_standard(label: str, name: str) -> None:
    """In a header, a ``<meta>`` and an XML declaration, each label means its encoding."""
    codes = codes_of(name)
    for written in (label, label.upper(), f" {label}\t"):
        assert [decode(code, written) for code, _ in codes] == [right for _, right in codes]
    # A page with a readable declaration has no two-byte encoding.
    inside = {"utf-16le": "utf-8", "utf-16be": "utf-8", "x-user-defined": "windows-1252"}
    codes = codes_of(inside.get(name, name))
    for declaration in (f'<meta charset="{label}">', f'<?xml version="1.0" encoding="{label}"?>'):
        for code, right in codes:
            whole = declaration if name != "replacement" else ""
            assert decode(declaration.encode() + code, None) == whole + right


@pytest.mark.parametrize(
    "label", ["", " ", "latin-1", "utf-7", "hex", "idna", "x", "utf-8\x00", "ﬀ"]
)
def test_unknown_labels_are_ignored(label: str) -> None:
    """Python's own names and names that become labels by case folding are unknown."""
    assert find_encoding(label) is None
    assert find_encoding("\u212aoi8-r") is None
    assert decode("é".encode(), label) == "é"


META = '<meta charset="windows-1251">'
PRAGMA = "<meta http-equiv=Content-Type content='text/html; charset=windows-1251'>"
SCRIPT = f"<script>document.write('{META}')</script>"
RIVER = "Река"


@pytest.mark.parametrize(
    "head",
    [
        META,
        META.upper(),
        "<meta charset=windows-1251/>",
        "<meta\n  name=x\n  charset\n=\n'windows-1251'>",
        PRAGMA,
        '<meta content="text/html;charset=&quot;x" charset=cp1251>',
        '<meta http-equiv="content-type" content=\'text/html; charset="windows-1251"\'>',
        "<META HTTP-EQUIV=CONTENT-TYPE CONTENT='text/html; CHARSET = windows-1251 ; x'>",
        "<?xml version='1.0' encoding='windows-1251' ?><html>",
        # Beyond the first kilobyte, where the parser meets it.
        f"<style>{'a{}' * 2_000}</style>{META}",
        f"<!--{' x' * 3_000}-->{PRAGMA}",
        f"<script>{'var a;' * 90_000}</script>{META}",
        f"<html><body><p>{'text ' * 2_000}</p>{META}",
        # What is not there, or not a charset, is passed over.
        f"<!-- <meta charset=koi8-r> -->{META}",
        f"<script>'<meta charset=koi8-r>'</script>{META}",
        f"<title><meta charset=koi8-r></title>{META}",
        f"<meta charset=none>{META}",
        f"<meta name=d content='charset=koi8-r'>{META}",
        f"<metadata charset=koi8-r>{META}",
        f"<meta data-charset=koi8-r>{META}",
        f"<!-->{META}",
        f"<!--->{META}",
        "<meta charset=windows-1251 charset=koi8-r>",
        "<meta title='>' charset=windows-1251>",
        f"<?xml version='1.0' encoding='koi8-r'?>{META}",
    ],
)
def test_a_declaration_in_the_page_is_found(head: str) -> None:
    """An attribute, pragma or XML declaration names the charset, early or late; a comment or a
    script does not."""
    html = head.encode() + RIVER.encode("cp1251")
    assert decode(html, None) == head + RIVER
    assert decode(html, "no-such-charset") == head + RIVER


@pytest.mark.parametrize(
    ("html", "charset", "text"),
    [
        # A mark before everything.
        (b"\xef\xbb\xbf" + RIVER.encode(), "windows-1252", RIVER),
        (b"\xff\xfe" + RIVER.encode("utf-16-le"), "utf-8", RIVER),
        (b"\xfe\xff" + RIVER.encode("utf-16-be"), None, RIVER),
        # The server before the page.
        (META.encode() + RIVER.encode("koi8-r"), "koi8-r", META + RIVER),
        # Two bytes a character, without a mark.
        ("<?xml ?>é".encode("utf-16-le"), None, "<?xml ?>é"),
        ("<?xml ?>é".encode("utf-16-be"), None, "<?xml ?>é"),
        # A page that can be read so far is not UTF-16; user-defined means windows-1252 there.
        (b'<meta charset="utf-16">' + "é".encode(), None, '<meta charset="utf-16">é'),
        (b"<meta charset=x-user-defined>\x80", None, "<meta charset=x-user-defined>€"),
        # Nothing declared.
        ("Wisła 三川河".encode(), None, "Wisła 三川河"),
        ("café".encode("cp1252"), None, "café"),
        (b"a\xff\xfeb", "utf-8", "a\ufffd\ufffdb"),
        (b"", None, ""),
        (b"", "iso-2022-kr", ""),
    ],
)
def test_the_order_of_sources(html: bytes, charset: str | None, text: str) -> None:
    """A mark, then the server, then the page, then UTF-8, then a guess."""
    assert decode(html, charset) == text


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("Les élèves étaient là, déjà près de la forêt; ça coûte très peu à l'école.", "cp1252"),
        ("Die Straßen führen über Brücken; schöne Häuser und Gärten für alle.", "cp1252"),
        ("Сегодня в городе состоялась встреча жителей с представителями района.", "cp1251"),
        ("Сегодня в городе состоялась встреча жителей с представителями района.", "koi8-r"),
        ("Wisła jest najdłuższą rzeką w Polsce, źródła są w Beskidzie Śląskim.", "cp1250"),
        ("Wisła jest najdłuższą rzeką w Polsce, źródła są w Beskidzie Śląskim.", "iso8859-2"),
        ("Η Αθήνα είναι η πρωτεύουσα της Ελλάδας και η μεγαλύτερη πόλη της χώρας.", "cp1253"),
        ("ירושלים היא בירת ישראל והעיר הגדולה ביותר בה.", "cp1255"),
        ("القاهرة هي عاصمة جمهورية مصر العربية وأكبر مدنها.", "cp1256"),
        ("กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย", "cp874"),
        ("東京は日本の首都です。今日は天気がいいですね。", "cp932"),
        ("東京は日本の首都です。今日は天気がいいですね。", "euc-jp"),
        ("今天天气很好,我们一起去公园散步吧。北京是中国的首都。", "gbk"),
        ("今天天氣很好,我們一起去公園散步吧。臺北是臺灣的首都。", "big5"),
        ("오늘 날씨가 매우 좋습니다. 서울은 대한민국의 수도입니다.", "euc-kr"),
    ],
)
def test_without_a_declaration_the_encoding_is_guessed(text: str, codec: str) -> None:
    """A page without a declaration is decoded in the encoding of its language."""
    page = f"<html><head><title>x</title></head><body><p>{text * 4}</p></body></html>"
    assert decode(page.encode(codec), None) == page


@pytest.mark.parametrize("code", [b"\xad\xff", b"\xff\xad", b"\xad", b"\xa0\xa1", b"\x8f\xad\xff"])
def test_codes_outside_the_index_are_undecodable(code: bytes) -> None:
    """Bytes beyond the rows and cells of JIS X 0208 do not become another row's character."""
    encoding = find_encoding("euc-jp")
    assert encoding is not None
    assert set(decode_as(code, encoding)) == {"\ufffd"}


@given(html=st.binary(max_size=300), charset=st.none() | st.text(max_size=20))
@settings(max_examples=200)
def test_decoding_never_fails(html: bytes, charset: str | None) -> None:
    """Any bytes with any charset decode to some text."""
    assert isinstance(decode(html, charset), str)


@given(html=st.binary(max_size=40), name=st.sampled_from(list(TABLE)))
@settings(max_examples=400)
def test_no_encoding_fails(html: bytes, name: str) -> None:
    """Any bytes decode in every encoding of the standard."""
    encoding = find_encoding(name)
    assert encoding is not None
    assert isinstance(decode_as(html, encoding), str)


@given(
    st.lists(
        st.sampled_from(
            [*b"<>!-/='\" \t".hex(" ").split(), "6d657461", "63686172736574", "736372697074", "41"]
        ),
        max_size=60,
    )
)
@settings(max_examples=300)
def test_any_markup_is_searched(pieces: list[str]) -> None:
    """Broken tags, attributes, comments and scripts end the search without an exception."""
    assert isinstance(decode(bytes.fromhex("".join(pieces)) + b"\xe9", None), str)
