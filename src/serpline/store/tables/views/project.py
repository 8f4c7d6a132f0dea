"""Statements of the views ``keywords`` and ``companies``."""

from typing import Final

# An index ends the lookup of the newest volume at its first row.
KEYWORDS: Final = """
    SELECT k.id AS keyword_id, k.keyword, t.market, r.name AS market_name, r.language, t.tags,
        ARRAY(SELECT i.landscape FROM landscape_keywords i WHERE i.keyword_id = k.id ORDER BY 1)
            AS landscapes,
        m.search_volume, m.unknown_reason AS volume_unknown_reason, m.cpc, m.competition,
        m.competition_index, m.monthly_searches, m.source AS volume_source,
        m.fetched_at AS volume_fetched_at, k.created_at
    FROM keywords k
    JOIN keyword_markets t ON t.keyword_id = k.id
    JOIN markets r ON r.code = t.market
    LEFT JOIN LATERAL (
        SELECT * FROM keyword_metrics n WHERE n.keyword_id = k.id AND n.market = t.market
        ORDER BY n.fetched_at DESC LIMIT 1
    ) m ON true
"""

COMPANIES: Final = f"""
    SELECT p.domain AS company, coalesce(x.name, p.display_name, p.name) AS company_name,
        x.relation, x.merged_into, x.merged_at, p.found, p.name AS source_name, p.industry,
        p.industry_code, p.industry_name, p.industry_group, p.country, p.country_code,
        p.employee_count, p.size, p.founded, p.linkedin_url, p.ticker, p.parent, p.source,
        p.fetched_at
    FROM (
        SELECT DISTINCT ON (u.domain) u.* FROM (
            SELECT domain, found, display_name, name, industry, industry_code, industry_name,
                industry_group, country, country_code, employee_count, size, founded, linkedin_url,
                ticker, parent, source, fetched_at FROM company_profiles
            UNION ALL
            SELECT domain{", NULL" * 17} FROM companies
        ) u ORDER BY u.domain, u.fetched_at DESC NULLS LAST
    ) p LEFT JOIN companies x ON x.domain = p.domain
"""
