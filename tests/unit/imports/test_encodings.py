"""Encodings are found without a person's help."""

from io import BytesIO

import pytest

from serpline.domain.errors import UserError
from serpline.imports.encodings import (
    BLOCK_BYTES,
    Encoding,
    decoded_lines,
    find_encoding,
    named_encoding,
)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Suchbegriff;Land\r\nküche;DE\r\nschöne grüße;DE\r\n"),
        ("cp1252", "mot-clé;pays\r\ncafetière électrique;FR\r\nrecette crêpe;FR\r\n"),
        ("cp1252", "palabra clave;país\r\nzapatos niño;ES\r\nbaño pequeño;ES\r\n"),
        ("cp1252", "sökord;land\r\nbilförsäkring jämför;SE\r\nmöbler på nätet;SE\r\n"),
        ("cp1252", "keyword,market\r\nlevi’s jeans,US\r\n€ 100 gift – cheap,US\r\n"),
        ("cp1250", "slowo;kraj\r\nłóżko;PL\r\n"),
        ("cp1250", "klíčové slovo;země\r\nlevné letenky;CZ\r\nžidle do kuchyně;CZ\r\n"),
        ("cp1250", "kulcsszó;ország\r\nolcsó repülőjegy;HU\r\nfűnyíró akció;HU\r\n"),
        ("cp1251", "ключевое слово;страна\r\nкупить диван;RU\r\n"),
        ("cp1253", "λέξη;χώρα\r\nφθηνά εισιτήρια;GR\r\n"),
        (
            "cp1254",
            "anahtar kelime;ülke\r\nuçak bileti;TR\r\nkış lastiği;TR\r\nyağlı saç şampuanı;TR\r\n",
        ),
        ("cp1255", "מילה;מדינה\r\nמכונת קפה;IL\r\n"),
        ("cp1256", "كلمة;بلد\r\nرحلات رخيصة;EG\r\n"),
        ("cp932", "keyword,market\r\n東京 ホテル,JP\r\n"),
        ("gb18030", "关键词,国家\r\n咖啡机 推荐,CN\r\n北京 酒店,CN\r\n"),
        ("big5", "關鍵字,國家\r\n咖啡機 推薦,TW\r\n台北 飯店,TW\r\n"),
        ("cp949", "키워드,국가\r\n커피머신 추천,KR\r\n서울 호텔,KR\r\n"),
        ("iso8859-2", "słowo;kraj\r\nświeże pączki;PL\r\nłóżko;PL\r\n"),
    ],
)
def test_a_short_list_of_a_country_is_read(encoding: str, text: str) -> None:
    """Each character is right, and the encoding is called a guess."""
    stream = BytesIO(text.encode(encoding))
    found = find_encoding(stream)
    assert "\r\n".join([line for _, line in decoded_lines(stream, found)] + [""]) == text
    assert found.guessed


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("tea\nthé".encode(), "utf-8"),
        ("thé".encode("utf-8-sig"), "utf-8-sig"),
        ("tea".encode("utf-16"), "utf-16"),
        ("keyword\tmarket".encode("utf-16-le"), "utf-16-le"),
        ("keyword\tmarket".encode("utf-16-be"), "utf-16-be"),
        ("tea".encode("utf-32"), "utf-32"),
        (b"a" * (BLOCK_BYTES - 1) + "é".encode(), "utf-8"),
    ],
)
def test_what_is_known_is_no_guess(data: bytes, name: str) -> None:
    """A byte order mark, zero bytes, and UTF-8 across the end of a block."""
    assert find_encoding(BytesIO(data)) == Encoding(name)


def test_utf_8_with_a_broken_line_is_refused() -> None:
    """Its line is named, because a guess would change the lines that are right."""
    lines = ["łódź"] * 40
    data = "\n".join(lines).encode() + b"\ncaf\xe9\n" + "\n".join(lines).encode()
    with pytest.raises(UserError, match=r"line 41: the file is UTF-8 except near 'caf.udce9': "):
        find_encoding(BytesIO(data))
    assert named_encoding("latin1") == Encoding("iso8859-1")
