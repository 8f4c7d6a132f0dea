"""Statements of the views ``rankings`` and ``serps``."""

from typing import Final

from serpline.domain.companies import CHANNEL_ADDRESS
from serpline.domain.names import PhaseName
from serpline.store.tables.views.sources import Sources, lanes

# A result belongs to its registrable domain; a video to the owner of its channel, or to the channel
# itself if no owner is known. It is never youtube.com.
COMPANY_OF_RESULT: Final = f"""
    CASE WHEN s.video_id IS NULL AND s.channel_ref IS NULL THEN nullif(s.domain, '')
         WHEN o.domain IS NOT NULL THEN o.domain
         ELSE '{CHANNEL_ADDRESS}' || c.channel_id END
"""


def companies(run: Sources) -> str:
    """Joins of results ``s`` with their company, ``z.company``.

    A channel ``c`` is found by its video, or by the reference in the result's URL. Domains that
    were merged when the figures were computed count as one company.
    """
    return f"""
    LEFT JOIN youtube_videos v
        ON v.run_id = {run.youtube_enrichment} AND v.video_id = s.video_id
    LEFT JOIN youtube_channel_refs f
        ON f.run_id = {run.youtube_enrichment} AND f.ref = s.channel_ref
    LEFT JOIN youtube_channels c ON c.run_id = {run.youtube_enrichment} AND c.found
        AND c.channel_id = coalesce(v.channel_id, f.channel_id, s.channel_ref)
    LEFT JOIN channel_owners o ON o.run_id = {run.company_enrichment_youtube}
        AND o.channel_id = c.channel_id
    CROSS JOIN LATERAL (SELECT {COMPANY_OF_RESULT} AS company) q
    LEFT JOIN run_company_aliases a ON a.run_id = {run.dsi_calculation}
        AND a.content_type = s.content_type AND a.domain = q.company
    CROSS JOIN LATERAL (SELECT coalesce(a.company, q.company) AS company) z
    """


# A name that a person gave, or else the brand's, or else the source's.
NAME: Final = "x.name, ps.display_name, ps.name, py.display_name, py.name"


def profiles(run: Sources, company: str) -> str:
    """Joins with the two profiles that a run may have of a company, and its mark and name."""
    return f"""
    LEFT JOIN company_profiles ps
        ON ps.run_id = {run.company_enrichment_serp} AND ps.domain = {company}
    LEFT JOIN company_profiles py
        ON py.run_id = {run.company_enrichment_youtube} AND py.domain = {company}
    LEFT JOIN companies x ON x.domain = {company}
    """


def _searches(run: Sources) -> str:
    """Every planned search, with its page, volume and tags."""
    return f"""
    FROM {lanes(PhaseName.SERP_COLLECTION)} l
    JOIN run_keywords k ON k.run_id = {run.serp_collection}
    CROSS JOIN LATERAL jsonb_array_elements_text(coalesce(l.devices, '["desktop"]')) AS d(device)
    LEFT JOIN serps p ON p.run_id = {run.serp_collection} AND p.content_type = l.content_type
        AND p.keyword_id = k.keyword_id AND p.market = k.market AND p.device = d.device
    LEFT JOIN keyword_metrics m ON m.run_id = {run.keyword_metrics}
        AND m.keyword_id = k.keyword_id AND m.market = k.market
    LEFT JOIN keyword_markets t ON t.keyword_id = k.keyword_id AND t.market = k.market
    """


_SEARCH: Final = """
    l.run_id, l.collected_on, l.content_type, k.market, d.device, k.keyword_id, k.keyword,
    coalesce(t.tags, '{}') AS tags, l.landscape
"""


def rankings(run: Sources) -> str:
    """One row per result, or per search without one."""
    return f"""
    SELECT {_SEARCH}, CASE WHEN p.run_id IS NULL THEN 'not collected'
            WHEN s.run_id IS NULL THEN 'not ranked' ELSE 'ranked' END AS state,
        s.rank, s.position, s.url, s.title, s.domain, z.company, coalesce({NAME},
            CASE WHEN z.company = '{CHANNEL_ADDRESS}' || c.channel_id THEN c.title END
        ) AS company_name, x.relation, m.search_volume, m.unknown_reason AS volume_unknown_reason,
        p.collected_at, l.late_for
    {_searches(run)}
    LEFT JOIN serp_results s ON s.run_id = {run.serp_collection}
        AND s.content_type = l.content_type AND s.keyword_id = k.keyword_id
        AND s.market = k.market AND s.device = d.device
    {companies(run)}
    {profiles(run, "z.company")}
    """


def serps(run: Sources) -> str:
    """One row per planned search."""
    return f"""
    SELECT {_SEARCH}, CASE WHEN p.run_id IS NULL THEN 'not collected' ELSE 'collected' END AS state,
        p.results, p.total_results, p.ai_overview, m.search_volume,
        m.unknown_reason AS volume_unknown_reason, p.source, p.collected_at, l.late_for
    {_searches(run)}
    """
