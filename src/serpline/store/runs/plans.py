"""The plan of each phase: a query of one text column ``item``.

Parameters: ``:run``, ``:content_type``, those of the phase, and by the name of each phase the run
whose results are its inputs (``runs.source_runs``). The item's key is enough to find its inputs
again. The DSI's plan is beside its inputs, in ``results/scores.py``.
"""

KEYWORD_METRICS = """
    SELECT keyword_id || ':' || market AS item FROM run_keywords WHERE run_id = :run
"""

SERP_COLLECTION = """
    SELECT keyword_id || ':' || market || ':' || device AS item
    FROM run_keywords, unnest(CAST(:devices AS text[])) AS d(device) WHERE run_id = :run
"""

# Videos belong to their channel's owner, so youtube.com is no company's domain.
COMPANY_ENRICHMENT_SERP = """
    SELECT DISTINCT domain AS item FROM serp_results
    WHERE run_id = :serp_collection AND content_type = :content_type
    AND domain <> '' AND domain <> 'youtube.com'
"""

# The prefixes keep the two kinds apart, so no item is in both.
YOUTUBE_ENRICHMENT = """
    SELECT DISTINCT 'v:' || video_id AS item FROM serp_results
    WHERE run_id = :serp_collection AND content_type = :content_type AND video_id IS NOT NULL
    UNION ALL
    SELECT DISTINCT 'c:' || channel_ref FROM serp_results
    WHERE run_id = :serp_collection AND content_type = :content_type AND channel_ref IS NOT NULL
"""

COMPANY_ENRICHMENT_YOUTUBE = """
    SELECT DISTINCT v.channel_id AS item FROM serp_results s
    JOIN youtube_videos v ON v.run_id = :youtube_enrichment AND v.video_id = s.video_id
    WHERE s.run_id = :serp_collection AND s.content_type = :content_type
    AND v.channel_id IS NOT NULL
    UNION
    SELECT DISTINCT r.channel_id FROM serp_results s
    JOIN youtube_channel_refs r ON r.run_id = :youtube_enrichment AND r.ref = s.channel_ref
    WHERE s.run_id = :serp_collection AND s.content_type = :content_type
"""

# A video is analysed by its text, wherever it ranks; any other result by its page. Pages without a
# company are not analysed: no figure would use their relevance.
SUBJECT = """
    CASE WHEN s.video_id IS NOT NULL THEN 'v:' || s.video_id ELSE 'u:' || s.canonical_url END
"""
# Finds the results of one subject by an indexed hash. The run is part of the expression, not a
# condition: otherwise an index that begins with the run could seem as good, and read the whole
# lane.
SUBJECT_OF_LANE = f"CAST(s.run_id AS text) || s.content_type || {SUBJECT}"

CONTENT_ANALYSIS = f"""
    SELECT DISTINCT {SUBJECT} AS item
    FROM serp_results s
    LEFT JOIN youtube_videos v ON v.run_id = :youtube_enrichment AND v.video_id = s.video_id
    WHERE s.run_id = :serp_collection AND s.content_type = :content_type
    AND s.position <= :analysis_depth AND length(s.canonical_url) <= 2000
    AND (s.video_id IS NULL OR v.found)
    AND (s.video_id IS NOT NULL OR s.domain NOT IN ('', 'youtube.com'))
"""
