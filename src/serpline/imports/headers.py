"""The header of a keyword table: which line names the columns, and which columns are used.

Names are those of Google Keyword Planner, Search Console, Google Ads, Ahrefs, Semrush, Moz, Bing
Webmaster Tools and of people, in the languages of their interfaces (``tests/data/keywords``
cites the layouts). Names are compared without case, accents and punctuation.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from serpline.domain.errors import UserError
from serpline.domain.keywords import shown
from serpline.imports.delimited import BrokenLine, Record

# Tools write a title, dates and filters before the header.
PREAMBLE_LINES_MAX = 20
HEAD_LINES = 60

# Several names may be in one header: an earlier one wins. Google Ads' report of search terms has
# the advertiser's keyword beside the term that people searched.
_KEYWORD = """
search term, search terms, search query, search queries, query, queries, top queries, top query
suchbegriff, suchbegriffe, suchanfrage, suchanfragen, häufigste suchanfragen
termes de recherche, terme de recherche, requête, requêtes, requêtes les plus fréquentes
términos de búsqueda, término de búsqueda, consulta, consultas, consultas principales
termine di ricerca, termini di ricerca, query principali, query più frequenti
termo de pesquisa, termos de pesquisa, principais consultas
zoekterm, zoektermen, zoekopdracht, populairste zoekopdrachten
zapytanie, zapytania, najpopularniejsze zapytania, wyszukiwane hasło
dotaz, dotazy, nejčastější dotazy, sökfråga, vanligaste sökfrågorna, en popüler sorgular, sorgu
поисковый запрос, поисковые запросы, запрос, запросы, пошуковий запит, запит
クエリ, 上位のクエリ, 検索クエリ, 検索語句, 热门查询, 查询, 搜索词, 搜索字词, 熱門查詢, 搜尋字詞
검색어, 인기 검색어, 쿼리
keyword, keywords, search keyword, key word, kw, keyphrase
schlüsselwort, schlüsselwörter, schlüsselbegriff, begriff
mot-clé, mots-clés, mot clé, mots clés, expression clé
palabra clave, palabras clave, parola chiave, parole chiave, palavra-chave, palavras-chave
zoekwoord, zoekwoorden, trefwoord, trefwoorden, słowo kluczowe, słowa kluczowe, fraza kluczowa
klíčové slovo, klíčová slova, kľúčové slovo, kulcsszó, kulcsszavak, cuvânt cheie, cuvinte cheie
sökord, nyckelord, søgeord, nøgleord, søkeord, nøkkelord, hakusana, avainsana, märksõna
anahtar kelime, anahtar kelimeler, ključna riječ, ključna beseda, ключова дума, λέξη-κλειδί
ключевое слово, ключевые слова, ключевая фраза, ключове слово, ключові слова
キーワード, 検索キーワード, 关键词, 关键字, 關鍵字, 關鍵詞, 키워드, từ khóa, kata kunci
मुख्य शब्द, कीवर्ड, คำหลัก, คีย์เวิร์ด, كلمة مفتاحية, الكلمة الرئيسية, מילת מפתח, מילות מפתח
"""
_MARKET = """
market, markets, country, country code, database, locale, market code
markt, märkte, land, länder, ländercode, marché, pays, code pays
mercado, país, mercato, paese, rynek, kraj, trh, země, krajina, piac, ország, piață, țară
marknad, marked, markkina, maa, pazar, ülke, tržište, zemlja, država, αγορά, χώρα
рынок, страна, ринок, країна, пазар, държава, 市場, マーケット, 国, 国名, 市场, 国家, 國家, 地區
시장, 국가, thị trường, quốc gia, pasar, negara, ตลาด, ประเทศ, السوق, البلد, שוק, מדינה
"""
_TAGS = """
tags, tag, keyword tags, labels, label, schlagwörter, schlagworte, etiketten
étiquettes, étiquette, libellés, libellé, etiquetas, etiqueta, etichette, rótulos, marcadores
etykiety, tagi, štítky, címkék, etichete, etiketter, taggar, tunnisteet, etiketler, теги, метки
мітки, タグ, ラベル, 标签, 標籤, 태그, 라벨
"""
_MATCH_TYPE = """
match type, keyword match type, search term match type, keyword-option, übereinstimmungstyp
type de correspondance, tipo de concordancia, tipo di corrispondenza, tipo de correspondência
zoektype, typ dopasowania, マッチタイプ, 匹配类型
"""


@dataclass(frozen=True, slots=True)
class Header:
    """Where the header is, and the index (from 0) of each column that is used.

    ``position``: how many records precede it. ``names``: all columns as written.
    """

    position: int
    line: int
    names: tuple[str, ...]
    keyword: int
    market: int | None = None
    tags: int | None = None
    match_type: int | None = None

    @property
    def ignored(self) -> tuple[str, ...]:
        """The names of the columns that are not used."""
        used = {self.keyword, self.market, self.tags}
        return tuple(name for n, name in enumerate(self.names) if n not in used and name)


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """The columns that a person named; None: by their usual names."""

    keyword: str | None = None
    market: str | None = None
    tags: str | None = None


USUAL_COLUMNS = ColumnNames()


def folded(name: str) -> str:
    """A column's name for comparison: no case, accents or punctuation."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    marks = "".join(each for each in plain if not unicodedata.combining(each))
    return " ".join(re.sub(r"[\W_]+", " ", marks).split())


def _ranks(names: str) -> dict[str, int]:
    ranks: dict[str, int] = {}
    for line in names.strip().splitlines():
        for name in line.split(","):
            ranks.setdefault(folded(name), len(ranks))
    return ranks


_RANKS = {
    "keyword": _ranks(_KEYWORD),
    "market": _ranks(_MARKET),
    "tags": _ranks(_TAGS),
    "match_type": _ranks(_MATCH_TYPE),
}


def find_header(head: Sequence[Record], chosen: ColumnNames) -> Header | None:
    """The header among a table's first records, or None. Raises ``UserError`` for its faults.

    A header after the first record has at least two columns, as has the record after it: a list of
    keywords may contain the word "keyword".
    """
    usual = _RANKS["keyword"]
    ranks = usual if chosen.keyword is None else {folded(chosen.keyword): 0}
    for position, (line, fields) in enumerate(head[: PREAMBLE_LINES_MAX + 1]):
        if isinstance(fields, BrokenLine):
            continue
        names = [folded(field) for field in fields]
        if not any(name in ranks for name in names):
            continue
        wide = len(fields) > 1 and all(
            isinstance(following, BrokenLine) or len(following) > 1
            for _, following in head[position + 1 : position + 2]
        )
        if position and not wide:
            continue
        return _header(position, line, fields, chosen)
    return None


def _header(position: int, line: int, fields: list[str], chosen: ColumnNames) -> Header:
    names = [folded(field) for field in fields]
    found: dict[str, int | None] = {}
    for column, ranks in _RANKS.items():
        named = getattr(chosen, column, None)
        wanted = ranks if named is None else {folded(named): 0}
        fitting = [(wanted[name], n) for n, name in enumerate(names) if name in wanted]
        at = min(fitting)[1] if fitting else None
        if named is not None and at is None:
            raise UserError(f"line {line}: no column {named!r}: the header has {_listed(fields)}")
        if at is not None and column != "match_type" and names.count(names[at]) > 1:
            raise UserError(f"line {line}: the header has the column {fields[at].strip()!r} twice")
        found[column] = at
    keyword = found.pop("keyword")
    assert keyword is not None
    return Header(position, line, tuple(name.strip() for name in fields), keyword, **found)


def missing_header(head: Sequence[Record], chosen: ColumnNames) -> UserError:
    """The error for a table without a header."""
    line, fields = next(
        ((number, found) for number, found in head if not isinstance(found, BrokenLine)), (1, [""])
    )
    if chosen.keyword is not None:
        return UserError(
            f"line {line}: no column {chosen.keyword!r} in the first {PREAMBLE_LINES_MAX + 1}"
            f" lines; the first one has {_listed(list(fields))}"
        )
    return UserError(
        f"line {line}: no column of keywords among {_listed(list(fields))}: name one keyword,"
        " Suchbegriff, Top queries or the like, or say which it is with --keyword-column"
    )


def _listed(fields: Sequence[str]) -> str:
    names = [shown(field.strip()) for field in fields[:8]]
    return ", ".join(names) + (", …" if len(fields) > 8 else "")
