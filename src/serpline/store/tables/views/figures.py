"""Statements of the views ``dsi`` and ``share_of_voice``."""

from typing import Final

from serpline.domain.companies import CHANNEL_ADDRESS
from serpline.domain.names import ContentType, PhaseName
from serpline.store.tables.views.searches import NAME, profiles
from serpline.store.tables.views.sources import Sources, lanes

# Relevance is no part of a share of voice. Where it is named, it is the last.
_COMPLETENESS_OF_SHARES: Final = (
    "replace(replace(d.completeness, ', relevance', ''), 'partial: relevance', 'complete')"
)
_SHARES: Final = """
    CAST(d.detail ->> 'share_of_first' AS double precision) AS share_of_first,
    CAST(d.detail ->> 'share_of_volume' AS double precision) AS share_of_volume
"""
# The type of each source that has a mark.
_MARKED: Final = """
    ARRAY(SELECT e ->> 'content_type' FROM jsonb_array_elements(d.sources)
        WITH ORDINALITY AS u(e, n) WHERE {mark} ORDER BY n)
"""
_COMPANY: Final = f"""
    l.run_id, l.collected_on, d.content_type, d.market, d.device, d.company,
    coalesce({NAME}, y.title) AS company_name, x.relation, l.landscape
"""


def _scores(run: Sources) -> str:
    channel = len(CHANNEL_ADDRESS) + 1
    return f"""
    FROM {lanes(PhaseName.DSI_CALCULATION)} l
    JOIN dsi_scores d ON d.run_id = l.run_id AND d.content_type = l.content_type
    {profiles(run, "d.company")}
    LEFT JOIN youtube_channels y ON y.run_id = {run.youtube_enrichment} AND y.found
        AND y.channel_id = CASE WHEN starts_with(d.company, '{CHANNEL_ADDRESS}')
            THEN substr(d.company, {channel}) END
    """


def dsi(run: Sources) -> str:
    """One row per figure."""
    return f"""
    SELECT {_COMPANY}, CAST(d.detail ->> 'rank' AS bigint) AS rank, d.dsi, d.completeness,
        d.coverage, d.keywords_ranked, d.keywords_collected, d.keywords_planned, d.traffic_share,
        d.traffic, d.traffic_total, d.share_unweighted, {_SHARES}, d.relevance,
        d.relevance_basis, d.results,
        d.unknown_volume_keywords, d.unknown_ai_overview_keywords, d.unanalysed_results,
        d.curve, d.curve_version, d.proxy, d.sources,
        {_MARKED.format(mark="CAST(e ->> 'stale' AS boolean)")} AS stale_types,
        {_MARKED.format(mark="e ->> 'late_for' IS NOT NULL")} AS late_types,
        ARRAY(SELECT jsonb_array_elements_text(coalesce(d.detail -> 'merged', '[]')))
            AS merged_domains
    {_scores(run)}
    """


def share_of_voice(run: Sources) -> str:
    """One row per figure of one content type."""
    return f"""
    SELECT {_COMPANY}, {_COMPLETENESS_OF_SHARES} AS completeness,
        d.traffic_share AS share_of_results, d.share_unweighted,
        {_SHARES}, d.traffic, d.traffic_total, d.keywords_ranked, d.keywords_collected,
        d.keywords_planned, d.unknown_volume_keywords, d.curve, d.curve_version, d.proxy
    {_scores(run)}
    WHERE d.content_type <> '{ContentType.ALL}'
    """
