"""Sets of keyword × market pairs by filter: count, list, remove, tag; and landscapes.

Removing a pair removes it from later runs. The keyword's row stays, so that the results of past
runs and of the same keyword imported again have one id.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from serpline.store import keyword_pairs
from serpline.store.database import Connection


@dataclass(frozen=True, slots=True)
class KeywordFilter:
    """Which pairs; empty means all. All conditions have to hold, one of each list.

    ``patterns``: LIKE patterns of folded keywords. ``pairs``: folded keyword and market; the market
    "" stands for all of the keyword's. None: any keyword.
    """

    markets: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    landscape: str | None = None
    patterns: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether every pair fits."""
        return self == KeywordFilter()

    def clause(self) -> tuple[str, dict[str, Any]]:
        """The conditions on the tables ``km`` and ``k``, which join them, and their values."""
        conditions: list[str] = []
        values: dict[str, Any] = {}
        if self.markets:
            conditions.append("km.market = ANY(:markets)")
            values["markets"] = list(self.markets)
        if self.tags:
            conditions.append(f"km.tags && ARRAY{_SAME_TAGS}")
            values["tags"] = [tag.lower() for tag in self.tags]
        if self.landscape is not None:
            conditions.append(
                "k.id IN (SELECT keyword_id FROM landscape_keywords WHERE landscape = :landscape)"
            )
            values["landscape"] = self.landscape
        if self.patterns:
            conditions.append("k.folded LIKE ANY(:patterns)")
            values["patterns"] = list(self.patterns)
        if self.pairs is not None:
            # PostgreSQL hashes arrays that it compares by = ANY, but not the rows of an IN.
            conditions.append(
                "(k.folded = ANY(CAST(:keys AS text[]))"
                " OR k.folded || chr(31) || km.market = ANY(CAST(:key_markets AS text[])))"
            )
            values["keys"] = [key for key, market in self.pairs if not market]
            values["key_markets"] = [f"{k}\x1f{market}" for k, market in self.pairs if market]
        return " AND ".join(["k.id = km.keyword_id", *conditions]), values


_PAIRS = keyword_pairs.PAIRS
# The spellings of tags that are stored, of tags given in lower case.
_SAME_TAGS = (
    "(SELECT DISTINCT t FROM keyword_markets, unnest(keyword_markets.tags) AS t"
    " WHERE lower(t) = ANY(:tags))"
)


# The given tags that a pair does not have, in any case of letters.
_ADDED = (
    "(SELECT coalesce(array_agg(g ORDER BY g), '{}') FROM unnest(CAST(:added AS text[])) AS g"
    " WHERE lower(g) NOT IN (SELECT lower(t) FROM unnest(km.tags) AS t))"
)


async def same_tags(conn: Connection, tags: Collection[str]) -> list[str]:
    """Return the stored spellings of tags, in any case of letters."""
    rows = await conn.execute(text(_SAME_TAGS), {"tags": [tag.lower() for tag in tags]})
    return sorted(rows.scalars())


async def count(conn: Connection, wanted: KeywordFilter) -> dict[str, int]:
    """Count ``pairs`` and their distinct ``keywords``."""
    clause, values = wanted.clause()
    rows = await conn.execute(
        text(
            "SELECT count(*) AS pairs, count(DISTINCT k.id) AS keywords"
            f" FROM {_PAIRS} WHERE {clause}"
        ),
        values,
    )
    row = rows.one()
    return {"pairs": row.pairs, "keywords": row.keywords}


async def list_pairs(conn: Connection, wanted: KeywordFilter, limit: int) -> list[dict[str, Any]]:
    """Return pairs with their tags, in order of import."""
    clause, values = wanted.clause()
    rows = await conn.execute(
        text(
            f"SELECT k.id, k.keyword, km.market, km.tags FROM {_PAIRS} WHERE {clause}"
            " ORDER BY k.id, km.market LIMIT :limit"
        ),
        {**values, "limit": limit},
    )
    return [dict(row) for row in rows.mappings()]


async def remove(conn: Connection, wanted: KeywordFilter) -> int:
    """Remove pairs; returns how many. A keyword without a market leaves its landscapes."""
    await keyword_pairs.lock_pairs(conn)
    clause, values = wanted.clause()
    removed = await conn.execute(
        text(f"DELETE FROM keyword_markets km USING keywords k WHERE {clause}"), values
    )
    await conn.execute(
        text(
            "DELETE FROM landscape_keywords l WHERE NOT EXISTS"
            " (SELECT FROM keyword_markets m WHERE m.keyword_id = l.keyword_id)"
        )
    )
    return removed.rowcount


async def tag(conn: Connection, wanted: KeywordFilter, tags: tuple[str, ...]) -> int:
    """Add tags to pairs; returns how many pairs changed. Case makes no other tag."""
    clause, values = wanted.clause()
    changed = await conn.execute(
        text(
            f"UPDATE keyword_markets km SET tags = km.tags || {_ADDED} FROM keywords k"
            f" WHERE {clause} AND {_ADDED} <> '{{}}'"
        ),
        {**values, "added": list(tags)},
    )
    return changed.rowcount


async def require_few_tags(conn: Connection, wanted: KeywordFilter) -> None:
    """Raise ``UserError`` if one of the pairs has more tags than are allowed."""
    await keyword_pairs.require_few_tags(conn, *wanted.clause())


async def untag(conn: Connection, wanted: KeywordFilter, tags: tuple[str, ...]) -> int:
    """Remove tags from pairs, in any case of letters; returns how many pairs changed."""
    clause, values = wanted.clause()
    changed = await conn.execute(
        text(
            "UPDATE keyword_markets km SET tags = (SELECT coalesce(array_agg(t ORDER BY o), '{}')"
            " FROM unnest(km.tags) WITH ORDINALITY AS s(t, o) WHERE lower(t) <> ALL(:dropped))"
            f" FROM keywords k WHERE {clause}"
            " AND EXISTS (SELECT FROM unnest(km.tags) AS t WHERE lower(t) = ANY(:dropped))"
        ),
        {**values, "dropped": [each.lower() for each in tags]},
    )
    return changed.rowcount


async def landscapes(conn: Connection) -> list[dict[str, Any]]:
    """Return all landscapes: name, counts of keywords and pairs, and schedules that use it."""
    rows = await conn.execute(
        text(
            "SELECT l.name, count(DISTINCT m.keyword_id) AS keywords, count(km.market) AS pairs,"
            f" ARRAY({_SCHEDULES}) AS schedules, l.created_at FROM landscapes l"
            " LEFT JOIN landscape_keywords m ON m.landscape = l.name"
            " LEFT JOIN keyword_markets km ON km.keyword_id = m.keyword_id"
            " GROUP BY l.name ORDER BY l.name"
        )
    )
    return [dict(row) for row in rows.mappings()]


_SCHEDULES = (
    "SELECT s.id FROM schedules s JOIN schedule_versions v ON v.schedule_id = s.id"
    " AND v.version = s.version WHERE s.deleted_at IS NULL AND EXISTS (SELECT FROM"
    " jsonb_array_elements(v.specs) AS e WHERE e ->> 'landscape' = l.name) ORDER BY s.id"
)


async def add_to_landscape(conn: Connection, name: str, wanted: KeywordFilter) -> int:
    """Add the keywords of pairs to a landscape, new or not; returns how many were not in it."""
    await conn.execute(
        text("INSERT INTO landscapes (name) VALUES (:name) ON CONFLICT DO NOTHING"), {"name": name}
    )
    clause, values = wanted.clause()
    added = await conn.execute(
        text(
            "INSERT INTO landscape_keywords (landscape, keyword_id)"
            f" SELECT DISTINCT :name, k.id FROM {_PAIRS} WHERE {clause} ON CONFLICT DO NOTHING"
        ),
        {**values, "name": name},
    )
    return added.rowcount


async def remove_from_landscape(conn: Connection, name: str, wanted: KeywordFilter) -> int:
    """Remove the keywords of pairs from a landscape; returns how many. They stay in the project."""
    clause, values = wanted.clause()
    removed = await conn.execute(
        text(
            "DELETE FROM landscape_keywords WHERE landscape = :name"
            f" AND keyword_id IN (SELECT k.id FROM {_PAIRS} WHERE {clause})"
        ),
        {**values, "name": name},
    )
    return removed.rowcount


async def remove_landscape(conn: Connection, name: str) -> bool:
    """Remove a landscape, not its keywords; False if there is none, or a schedule uses it."""
    removed = await conn.execute(
        text(
            "DELETE FROM landscapes l WHERE l.name = :name"
            f" AND NOT EXISTS ({_SCHEDULES}) RETURNING l.name"
        ),
        {"name": name},
    )
    return removed.first() is not None
