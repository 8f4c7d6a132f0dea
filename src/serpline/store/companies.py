"""A team's own word on companies: merged domains and names.

A merge holds for figures that are computed later. When a lane of ``dsi_calculation`` is planned, it
stores the merges that it uses (``run_company_aliases``), so past figures can be computed again.
"""

from collections import defaultdict
from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import text

from serpline.domain.errors import UserError
from serpline.store.database import Connection

# Every merged domain with each company that it leads to.
_LEADS_TO = """
    WITH RECURSIVE leads_to (domain, company) AS (
        SELECT domain, merged_into FROM companies WHERE merged_into IS NOT NULL
        UNION SELECT l.domain, c.merged_into FROM leads_to l JOIN companies c
            ON c.domain = l.company AND c.merged_into IS NOT NULL)
"""
_WITHOUT_FACTS = "relation IS NULL AND name IS NULL AND merged_into IS NULL"


async def merge(conn: Connection, domain: str, into: str) -> None:
    """Count ``domain`` as the company ``into`` in figures computed from now on.

    The company that ``into`` counts as gets the mark of the merged domain, if it has none. Raises
    ``UserError`` if the two are the same company already, or are marked differently.
    """
    # Two merges at once could make a circle.
    await conn.execute(text("LOCK TABLE companies IN SHARE ROW EXCLUSIVE MODE"))
    circle = await conn.execute(
        text(
            f"{_LEADS_TO} SELECT FROM leads_to WHERE domain = :into AND company = :domain"
            " UNION ALL SELECT WHERE CAST(:into AS text) = CAST(:domain AS text)"
        ),
        {"domain": domain, "into": into},
    )
    if circle.first() is not None:
        raise UserError(f"{domain}: {into} is the same company already")
    company = await counts_as(conn, into)
    marks = await conn.execute(
        text("SELECT domain, relation FROM companies WHERE domain IN (:domain, :company)"),
        {"domain": domain, "company": company},
    )
    relations = {row.domain: row.relation for row in marks}
    own, other = relations.get(domain), relations.get(company)
    if own and other and own != other:
        raise UserError(f"{domain} is marked {own} and {company} {other}: mark both alike first")
    await conn.execute(
        text(
            "INSERT INTO companies AS c (domain, relation, merged_into, merged_at) VALUES"
            " (:domain, NULL, :into, now()), (:company, :relation, NULL, NULL)"
            " ON CONFLICT (domain) DO UPDATE SET"
            " relation = coalesce(c.relation, excluded.relation),"
            " merged_into = coalesce(excluded.merged_into, c.merged_into),"
            " merged_at = coalesce(excluded.merged_at, c.merged_at)"
        ),
        {"domain": domain, "into": into, "company": company, "relation": own},
    )
    await _forget(conn)


async def counts_as(conn: Connection, domain: str) -> str:
    """Return the company that a domain counts as in figures computed from now on."""
    rows = await conn.execute(
        text(
            f"{_LEADS_TO} SELECT company FROM leads_to l WHERE domain = :domain AND NOT EXISTS"
            " (SELECT FROM companies c WHERE c.domain = l.company AND c.merged_into IS NOT NULL)"
        ),
        {"domain": domain},
    )
    return str(rows.scalar_one_or_none() or domain)


async def split(conn: Connection, domain: str) -> str:
    """Undo the merge of ``domain``; return the company that it was merged into.

    Raises ``UserError`` if it is not merged.
    """
    rows = await conn.execute(
        text(
            "UPDATE companies c SET merged_into = NULL, merged_at = NULL"
            " FROM (SELECT domain, merged_into FROM companies WHERE domain = :domain FOR UPDATE) o"
            " WHERE c.domain = o.domain AND o.merged_into IS NOT NULL RETURNING o.merged_into"
        ),
        {"domain": domain},
    )
    row = rows.first()
    if row is None:
        raise UserError(f"{domain} is not merged into a company (serpline companies list)")
    await _forget(conn)
    return str(row.merged_into)


async def rename(conn: Connection, domain: str, name: str | None) -> None:
    """Show a company by ``name`` everywhere; None: by the name that its source gives."""
    await conn.execute(
        text(
            "INSERT INTO companies (domain, name) VALUES (:domain, :name)"
            " ON CONFLICT (domain) DO UPDATE SET name = excluded.name"
        ),
        {"domain": domain, "name": name},
    )
    await _forget(conn)


async def mark(conn: Connection, domain: str, relation: str | None) -> None:
    """Mark a company as ours or as a competitor; None removes the mark."""
    await conn.execute(
        text(
            "INSERT INTO companies (domain, relation) VALUES (:domain, :relation)"
            " ON CONFLICT (domain) DO UPDATE SET relation = excluded.relation"
        ),
        {"domain": domain, "relation": relation},
    )
    await _forget(conn)


async def _forget(conn: Connection) -> None:
    """Delete rows that say nothing."""
    await conn.execute(text(f"DELETE FROM companies WHERE {_WITHOUT_FACTS}"))


async def take_aliases(conn: Connection, run_id: UUID, content_type: str) -> None:
    """Store the merges that a lane of figures uses, in place of those of an earlier computation."""
    values = {"run": run_id, "type": content_type}
    await conn.execute(
        text("DELETE FROM run_company_aliases WHERE run_id = :run AND content_type = :type"),
        values,
    )
    await conn.execute(
        text(
            f"{_LEADS_TO} INSERT INTO run_company_aliases (run_id, content_type, domain, company)"
            " SELECT :run, :type, domain, company FROM leads_to l WHERE NOT EXISTS"
            " (SELECT FROM companies c WHERE c.domain = l.company AND c.merged_into IS NOT NULL)"
        ),
        values,
    )


async def aliases(conn: Connection, run_id: UUID, content_type: str) -> dict[str, str]:
    """Return the merges that a run's figures of one content type used: domain → company."""
    rows = await conn.execute(
        text(
            "SELECT domain, company FROM run_company_aliases"
            " WHERE run_id = :run AND content_type = :type ORDER BY domain"
        ),
        {"run": run_id, "type": content_type},
    )
    return {row.domain: row.company for row in rows}


def merged_domains(used: Mapping[str, str]) -> dict[str, list[str]]:
    """Return, by company, the domains that count as it (``used``: from ``aliases``)."""
    found: dict[str, list[str]] = defaultdict(list)
    for domain, company in used.items():
        found[company].append(domain)
    return dict(found)
