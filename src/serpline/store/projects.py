"""A team's project: markets, keywords, landscapes, and marked companies."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from sqlalchemy import text

from serpline.domain.errors import UserError
from serpline.domain.keywords import TAGS_MAX, KeywordRow
from serpline.domain.markets import Market, builtin_markets
from serpline.domain.names import nearest
from serpline.store.database import Connection
from serpline.store.keyword_pairs import lock_pairs, require_few_tags
from serpline.store.rows import insert_rows
from serpline.store.tables import projects as tables

_MARKET = "code, name, language, gl, hl, google_domain, location, location_code, language_code"


async def ensure_builtin_markets(conn: Connection) -> None:
    """Insert the missing built-in markets; existing rows stay."""
    rows = await conn.execute(text("SELECT count(*) FROM markets WHERE builtin"))
    if rows.scalar_one() != len(builtin_markets()):
        made = [{**asdict(market), "builtin": True} for market in builtin_markets().values()]
        await insert_rows(conn, tables.markets, made)


async def add_market(conn: Connection, market: Market) -> bool:
    """Insert a market; False if its code is taken."""
    rows = await conn.execute(
        text(
            f"INSERT INTO markets ({_MARKET}, builtin) VALUES (:code, :name, :language, :gl, :hl,"
            " :google_domain, :location, :location_code, :language_code, false)"
            " ON CONFLICT DO NOTHING RETURNING code"
        ),
        asdict(market),
    )
    return rows.first() is not None


async def markets(conn: Connection) -> dict[str, Market]:
    """Return all markets by code."""
    rows = await conn.execute(text(f"SELECT {_MARKET} FROM markets ORDER BY code"))
    return {row["code"]: Market(**row) for row in rows.mappings()}


async def import_keywords(
    conn: Connection, rows: Sequence[KeywordRow], landscape: str | None = None
) -> int:
    """``import_pairs``, with the number of new pairs over all markets."""
    return sum((await import_pairs(conn, rows, landscape)).values())


async def import_pairs(
    conn: Connection, rows: Sequence[KeywordRow], landscape: str | None = None
) -> dict[str, int]:
    """Insert keyword × market pairs; returns how many are new, by market. Tags are added.

    Rows must not repeat a pair. The first spelling stays, of tags too. A keyword limit takes those
    imported first. Imports wait for each other until their transactions end. Raises ``UserError``
    if a pair would have too many tags.
    """
    await lock_pairs(conn)
    given = {
        "keywords": [row.keyword for row in rows],
        "keys": [row.key for row in rows],
        "markets": [row.market for row in rows],
        "tags": ["\x1f".join(row.tags) for row in rows],
    }
    await conn.execute(
        text(
            "INSERT INTO keywords (keyword, folded) SELECT first.keyword, first.k FROM ("
            "SELECT DISTINCT ON (u.k) u.keyword, u.k, u.no"
            " FROM unnest(CAST(:keywords AS text[]), CAST(:keys AS text[]))"
            " WITH ORDINALITY AS u(keyword, k, no) ORDER BY u.k, u.no) first"
            " ORDER BY first.no ON CONFLICT DO NOTHING"
        ),
        {"keywords": given["keywords"], "keys": given["keys"]},
    )
    made = await conn.execute(
        text(
            "INSERT INTO keyword_markets AS km (keyword_id, market, tags)"
            " SELECT k.id, u.market, CASE WHEN u.tags = '' THEN '{}'"
            " ELSE string_to_array(u.tags, chr(31)) END"
            " FROM unnest(CAST(:keys AS text[]), CAST(:markets AS text[]), CAST(:tags AS text[]))"
            " AS u(k, market, tags) JOIN keywords k ON k.folded = u.k"
            " ON CONFLICT (keyword_id, market) DO UPDATE SET tags = (SELECT coalesce(array_agg("
            "t ORDER BY t), '{}') FROM (SELECT DISTINCT ON (lower(u.t)) u.t FROM"
            " unnest(km.tags || excluded.tags) WITH ORDINALITY AS u(t, no)"
            " ORDER BY lower(u.t), u.no) AS first)"
            " RETURNING (xmax = 0) AS is_new, market, cardinality(tags) > :most AS is_over"
        ),
        {
            "keys": given["keys"],
            "markets": given["markets"],
            "tags": given["tags"],
            "most": TAGS_MAX,
        },
    )
    found = made.all()
    if any(row.is_over for row in found):
        tagged = [row.key for row in rows if row.tags]
        chosen = "k.id = km.keyword_id AND k.folded = ANY(CAST(:keys AS text[]))"
        await require_few_tags(conn, chosen, {"keys": tagged})
    if landscape is not None:
        await _add_to_landscape(conn, landscape, given["keys"])
    return dict(Counter(row.market for row in found if row.is_new))


async def known_pairs(conn: Connection, rows: Sequence[KeywordRow]) -> dict[str, int]:
    """Count the pairs of ``rows`` that the project has, by market."""
    found = await conn.execute(
        text(
            "SELECT km.market, count(*) AS n FROM unnest(CAST(:keys AS text[]),"
            " CAST(:markets AS text[])) AS u(k, market) JOIN keywords k ON k.folded = u.k"
            " JOIN keyword_markets km ON km.keyword_id = k.id AND km.market = u.market"
            " GROUP BY km.market"
        ),
        {"keys": [row.key for row in rows], "markets": [row.market for row in rows]},
    )
    return {row.market: row.n for row in found}


async def _add_to_landscape(conn: Connection, landscape: str, keys: list[str]) -> None:
    await conn.execute(
        text("INSERT INTO landscapes (name) VALUES (:name) ON CONFLICT DO NOTHING"),
        {"name": landscape},
    )
    await conn.execute(
        text(
            "INSERT INTO landscape_keywords (landscape, keyword_id) SELECT :name, id"
            " FROM keywords WHERE folded = ANY(:keys) ON CONFLICT DO NOTHING"
        ),
        {"name": landscape, "keys": keys},
    )


async def count_pairs(conn: Connection, landscape: str | None, limit: int | None) -> dict[str, int]:
    """Count the keyword × market pairs that a run would get, by market."""
    rows = await conn.execute(
        text(f"SELECT market, count(*) AS n FROM ({_PAIRS}) p GROUP BY market ORDER BY market"),
        {"landscape": landscape, "limit": limit},
    )
    return {row.market: row.n for row in rows}


async def count_copied(conn: Connection, run_id: UUID) -> dict[str, int]:
    """Count the keyword × market pairs of a run, by market."""
    rows = await conn.execute(
        text(
            "SELECT market, count(*) AS n FROM run_keywords WHERE run_id = :run"
            " GROUP BY market ORDER BY market"
        ),
        {"run": run_id},
    )
    return {row.market: row.n for row in rows}


_PAIRS = """
    SELECT k.id AS keyword_id, km.market, k.keyword FROM keywords k
    JOIN keyword_markets km ON km.keyword_id = k.id
    WHERE CAST(:landscape AS text) IS NULL OR k.id IN (
        SELECT keyword_id FROM landscape_keywords WHERE landscape = :landscape)
    ORDER BY k.id, km.market LIMIT :limit
"""


async def planned_searches(
    conn: Connection, landscape: str | None, devices: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the searches that a run would plan now, in the order in which it cuts batches.

    Each has ``item``, ``device``, and the fields of ``results.inputs.KeywordItem``.
    """
    rows = await conn.execute(
        text(
            "SELECT p.keyword_id || ':' || p.market || ':' || d.device AS item, d.device,"
            " p.keyword_id, p.keyword, p.market, m.language, m.gl, m.hl, m.google_domain,"
            f" m.location, m.location_code, m.language_code FROM ({_PAIRS}) p"
            " JOIN markets m ON m.code = p.market"
            " CROSS JOIN unnest(CAST(:devices AS text[])) AS d(device) ORDER BY item"
        ),
        {"landscape": landscape, "limit": None, "devices": list(devices)},
    )
    return [dict(row) for row in rows.mappings()]


async def check_landscape(conn: Connection, name: str | None) -> None:
    """Raise ``UserError`` unless the landscape exists; None is every keyword."""
    if name is None:
        return
    found = await conn.execute(text("SELECT FROM landscapes WHERE name = :n"), {"n": name})
    if found.first() is None:
        rows = await conn.execute(text("SELECT name FROM landscapes ORDER BY name"))
        near = nearest(name, list(rows.scalars()))
        hint = f"; did you mean {near!r}?" if near else ""
        raise UserError(f"landscape={name!r}: there is no such landscape{hint}")


async def snapshot_keywords(
    conn: Connection, run_id: UUID, landscape: str | None, limit: int | None
) -> int:
    """Copy the project's keywords to a run, so that later imports do not change it."""
    rows = await conn.execute(
        text(
            "INSERT INTO run_keywords (run_id, keyword_id, market, keyword)"
            f" SELECT :run, keyword_id, market, keyword FROM ({_PAIRS}) p"
            " ON CONFLICT DO NOTHING"
        ),
        {"run": run_id, "landscape": landscape, "limit": limit},
    )
    return rows.rowcount


async def copy_keywords(conn: Connection, run_id: UUID, other: UUID) -> int:
    """Copy the keywords of another run, whose results are the run's inputs."""
    rows = await conn.execute(
        text(
            "INSERT INTO run_keywords (run_id, keyword_id, market, keyword)"
            " SELECT :run, keyword_id, market, keyword FROM run_keywords WHERE run_id = :other"
            " ON CONFLICT DO NOTHING"
        ),
        {"run": run_id, "other": other},
    )
    return rows.rowcount


async def market_languages(conn: Connection, run_id: UUID) -> list[str]:
    """Return the languages of a run's markets (BCP 47), at a cost independent of its keywords."""
    rows = await conn.execute(
        text(
            # LIMIT forces an index lookup per market, whatever the statistics are.
            "SELECT DISTINCT language FROM markets m, LATERAL (SELECT FROM run_keywords k"
            " WHERE k.run_id = :run AND k.market = m.code LIMIT 1) AS one ORDER BY language"
        ),
        {"run": run_id},
    )
    return list(rows.scalars())


async def companies(conn: Connection, limit: int) -> list[dict[str, Any]]:
    """Return companies with a mark, a name, a merge or a profile, each with its latest profile."""
    rows = await conn.execute(
        text(
            "SELECT coalesce(c.domain, p.domain) AS domain, c.relation, c.merged_into, c.merged_at,"
            " p.found, coalesce(c.name, p.display_name, p.name) AS name, p.name AS source_name,"
            " p.industry,"
            " p.industry_code, p.industry_name, p.industry_group, p.country, p.country_code,"
            " p.employee_count, p.size, p.source, p.fetched_at"
            " FROM companies c"
            " FULL JOIN (SELECT DISTINCT ON (domain) * FROM company_profiles"
            " ORDER BY domain, fetched_at DESC) p ON p.domain = c.domain"
            " ORDER BY c.relation NULLS LAST, domain LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [dict(row) for row in rows.mappings()]


async def run_keywords(conn: Connection, run_id: UUID) -> dict[int, str]:
    """Return a run's keywords by id."""
    rows = await conn.execute(
        text("SELECT DISTINCT keyword_id, keyword FROM run_keywords WHERE run_id = :run"),
        {"run": run_id},
    )
    return {row.keyword_id: row.keyword for row in rows}
