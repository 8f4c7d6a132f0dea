"""Statements of the views ``runs``, ``slots`` and ``spend``."""

from typing import Final

from serpline.domain.names import ContentType, PhaseName
from serpline.store.tables.views.sources import last_search_on, late_for

# An index leads from each market of a run to its next one.
_MARKETS: Final = """
    ARRAY(WITH RECURSIVE m(market) AS (
        (SELECT k.market FROM run_keywords k WHERE k.run_id = r.id ORDER BY 1 LIMIT 1)
        UNION ALL
        SELECT (SELECT k.market FROM run_keywords k WHERE k.run_id = r.id AND k.market > m.market
            ORDER BY 1 LIMIT 1) FROM m WHERE m.market IS NOT NULL
    ) SELECT market FROM m WHERE market IS NOT NULL)
"""

# A content type may have settings of its own (``PipelineConfig.of``).
_IS_TRACKED: Final = f"""EXISTS (SELECT FROM pipeline_phase_status l
            WHERE l.pipeline_execution_id = r.id AND l.phase_name = '{PhaseName.SERP_COLLECTION}'
            AND coalesce(CAST(r.config #>> ARRAY['lanes', l.content_type,
                'enable_historical_tracking'] AS boolean),
                CAST(r.config ->> 'enable_historical_tracking' AS boolean), true))"""

RUNS: Final = f"""
    SELECT r.id AS run_id, {last_search_on("o.id", f"'{ContentType.ALL}'", "r.created_at")}
            AS collected_on, r.status, r.mode, r.config ->> 'schedule' AS schedule,
        r.scheduled_for, r.created_at, r.started_at, r.completed_at, r.paused_seconds,
        ARRAY(SELECT l.content_type FROM pipeline_phase_status l
            WHERE l.pipeline_execution_id = r.id
            AND l.phase_name = '{PhaseName.SERP_COLLECTION}' ORDER BY l.id) AS content_types,
        {_MARKETS} AS markets,
        ARRAY(SELECT jsonb_array_elements_text(coalesce(o.config -> 'devices', '["desktop"]')))
            AS devices,
        r.config ->> 'landscape' AS landscape,
        {_IS_TRACKED} AS is_tracked,
        o.id AS searches_of, r.config #>> '{{backfill,kind}}' AS backfill_kind,
        CAST(r.config #>> '{{backfill,run_id}}' AS uuid) AS replaces, {late_for("o")} AS late_for,
        r.error_message AS error
    FROM pipeline_executions r
    JOIN pipeline_executions o ON o.id = coalesce((SELECT l.source_run_id
        FROM pipeline_phase_status l WHERE l.pipeline_execution_id = r.id
        AND l.phase_name = '{PhaseName.SERP_COLLECTION}' LIMIT 1), r.id)
    WHERE r.expired_at IS NULL
"""

SLOTS: Final = """
    SELECT s.schedule_id AS schedule, s.scheduled_for, s.content_type, s.outcome, s.reason_code,
        s.reason, s.start_at, s.deadline_at, s.started_at, s.caught_up, s.run_id, s.run_status,
        s.run_ended_at, s.succeeded, s.backfill_id, s.version
    FROM schedule_slots s
"""

SPEND: Final = """
    SELECT CAST(p.started_at AT TIME ZONE 'UTC' AS date) AS spent_on, p.run_id,
        l.phase_name AS phase, l.content_type, p.provider, count(*) AS calls,
        count(*) FILTER (WHERE p.status = 'failed') AS failed_calls,
        count(*) FILTER (WHERE p.status = 'unknown') AS unknown_calls,
        CAST(sum(p.credits) AS double precision) AS credits
    FROM provider_calls p
    LEFT JOIN chunks c ON c.id = p.chunk_id AND c.run_id = p.run_id
    LEFT JOIN pipeline_phase_status l ON l.id = c.lane_id AND l.pipeline_execution_id = p.run_id
    WHERE p.status <> 'intent'
    GROUP BY 1, 2, 3, 4, 5
"""
