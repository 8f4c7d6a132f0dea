"""Revision 0001: initial.

Written by ``tools/make_migration.py``.
"""
# ruff: noqa: E501  generated: the text of a constraint is one literal

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward; releases never go back, a backup does."""
    op.create_table(
        "circuit_breaker_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("breaker_name", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failure_count", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("previous_state", sa.Text(), nullable=False),
        sa.Column(
            "detail",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_circuit_breaker_events")),
    )
    op.create_index(
        "ix_circuit_breaker_events_breaker_name",
        "circuit_breaker_events",
        ["breaker_name", "id"],
        unique=False,
    )
    op.create_table(
        "circuit_breakers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="closed", nullable=False),
        sa.Column("failure_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("open_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "machine",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("settings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("settings_version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("settings_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('closed', 'open', 'half_open', 'isolated')",
            name=op.f("ck_circuit_breakers_state"),
        ),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 200", name=op.f("ck_circuit_breakers_name")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_circuit_breakers")),
    )
    op.create_table(
        "companies",
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("relation", sa.Text(), nullable=False),
        sa.Column(
            "marked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint(
            "relation IN ('ours', 'competitor')", name=op.f("ck_companies_relation")
        ),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_companies")),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job_type", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("max_retries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column(
            "failed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("status", sa.Text(), server_default="dead", nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('dead', 'retried', 'discarded')", name=op.f("ck_dead_letters_status")
        ),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_dead_letters_attempts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
    )
    op.create_index("ix_dead_letters_status_id", "dead_letters", ["status", "id"], unique=False)
    op.create_index(
        "uq_dead_letters_wakeup",
        "dead_letters",
        ["job_type", "target"],
        unique=True,
        postgresql_where=sa.text("status = 'dead' AND target IS NOT NULL"),
    )
    op.create_table(
        "item_results",
        sa.Column("lane_id", sa.BigInteger(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("lane_id", "item", name=op.f("pk_item_results")),
    )
    op.create_table(
        "item_retries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("phase_name", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("error_category", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("delay_seconds", sa.Float(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_item_retries")),
    )
    op.create_index("ix_item_retries_run_id", "item_retries", ["run_id", "id"], unique=False)
    op.create_table(
        "items",
        sa.Column("lane_id", sa.BigInteger(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("chunk_no", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("deaths", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_category", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'waiting', 'retry_wait', 'completed', 'failed', 'skipped')",
            name=op.f("ck_items_status"),
        ),
        sa.CheckConstraint("length(item) BETWEEN 1 AND 2048", name=op.f("ck_items_item")),
        sa.PrimaryKeyConstraint("lane_id", "item", name=op.f("pk_items")),
        postgresql_with={"fillfactor": "60"},
    )
    op.create_index("ix_items_chunk", "items", ["lane_id", "chunk_no"], unique=False)
    op.create_table(
        "keywords",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("keyword", sa.Text(), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("length(keyword) BETWEEN 1 AND 200", name=op.f("ck_keywords_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keywords")),
        sa.UniqueConstraint("folded", name=op.f("uq_keywords_folded")),
    )
    op.create_table(
        "landscapes",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_landscapes")),
    )
    op.create_table(
        "markets",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("gl", sa.Text(), nullable=False),
        sa.Column("hl", sa.Text(), nullable=False),
        sa.Column("google_domain", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("location_code", sa.Integer(), nullable=True),
        sa.Column("language_code", sa.Text(), nullable=True),
        sa.Column("builtin", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_markets")),
    )
    op.create_table(
        "pipeline_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column(
            "occurred_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("phase_name", sa.Text(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=True),
        sa.Column(
            "detail",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipeline_events")),
    )
    op.create_index(
        "ix_pipeline_events_run_id_id", "pipeline_events", ["run_id", "id"], unique=False
    )
    op.create_table(
        "pipeline_executions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("scheduled_for", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_look_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "mode IN ('scheduled', 'testing', 'manual')", name=op.f("ck_pipeline_executions_mode")
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'paused', 'completed', 'completed_with_errors', 'failed', 'cancelled')",
            name=op.f("ck_pipeline_executions_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipeline_executions")),
    )
    op.create_index(
        "ix_pipeline_executions_created_at", "pipeline_executions", ["created_at"], unique=False
    )
    op.create_index(
        "ix_pipeline_executions_look",
        "pipeline_executions",
        ["next_look_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'running')"),
    )
    op.create_table(
        "provider_budgets",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("limit_credits", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column(
            "reserved",
            sa.Numeric(precision=18, scale=6),
            server_default=sa.text("0"),
            nullable=False,
        ),
        sa.Column(
            "spent", sa.Numeric(precision=18, scale=6), server_default=sa.text("0"), nullable=False
        ),
        sa.PrimaryKeyConstraint("provider", "scope", name=op.f("pk_provider_budgets")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "provider_calls",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("identity", sa.LargeBinary(), nullable=False),
        sa.Column("freshness", sa.Text(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("chunk_id", sa.BigInteger(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("http_status", sa.SmallInteger(), nullable=True),
        sa.Column(
            "credits",
            sa.Numeric(precision=18, scale=6),
            server_default=sa.text("0"),
            nullable=False,
        ),
        sa.Column(
            "budget_scopes",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("error_category", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('intent', 'ok', 'failed', 'unknown')", name=op.f("ck_provider_calls_status")
        ),
        sa.CheckConstraint("octet_length(key) = 32", name=op.f("ck_provider_calls_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_calls")),
    )
    op.create_index(
        "ix_provider_calls_intents",
        "provider_calls",
        ["started_at"],
        unique=False,
        postgresql_where=sa.text("status = 'intent'"),
    )
    op.create_index("ix_provider_calls_key", "provider_calls", ["key"], unique=False)
    op.create_index(
        "ix_provider_calls_run_id_provider", "provider_calls", ["run_id", "provider"], unique=False
    )
    op.create_index(
        "uq_provider_calls_single_flight",
        "provider_calls",
        ["key"],
        unique=True,
        postgresql_where=sa.text("status = 'intent' AND shared"),
    )
    op.create_table(
        "provider_leases",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("provider", "holder", name=op.f("pk_provider_leases")),
    )
    op.create_table(
        "provider_rates",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("next_slot_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("penalised_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("penalised_rate", sa.Float(), nullable=True),
        sa.Column("ceiling_rate", sa.Float(), nullable=True),
        sa.Column("retry_tokens", sa.Float(), nullable=True),
        sa.Column("tokens_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("provider", name=op.f("pk_provider_rates")),
    )
    op.create_table(
        "queue_schema_versions",
        sa.Column("version", sa.Text(collation="C"), nullable=False),
        sa.Column(
            "applied_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_queue_schema_versions")),
    )
    op.create_table(
        "queued_jobs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job_type", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("max_retries", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deaths", sa.Integer(), server_default="0", nullable=False),
        sa.Column("epoch", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "not_before",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("next_look_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("status IN ('waiting', 'running')", name=op.f("ck_queued_jobs_status")),
        sa.CheckConstraint(
            "max_retries BETWEEN 0 AND 100 AND attempts >= 0", name=op.f("ck_queued_jobs_counts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queued_jobs")),
    )
    op.create_index("ix_queued_jobs_next_look_at", "queued_jobs", ["next_look_at"], unique=False)
    op.create_table(
        "reference_data",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("found", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_chunk", sa.BigInteger(), nullable=True),
        sa.Column("claimed_epoch", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(claimed_chunk IS NULL) = (claimed_epoch IS NULL)",
            name=op.f("ck_reference_data_claim"),
        ),
        sa.CheckConstraint("length(key) BETWEEN 1 AND 2048", name=op.f("ck_reference_data_key")),
        sa.PrimaryKeyConstraint("kind", "key", name=op.f("pk_reference_data")),
    )
    op.create_table(
        "webhook_inbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("provider_batch_id", sa.Text(), nullable=False),
        sa.Column("result_set_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_inbox")),
        sa.UniqueConstraint(
            "provider",
            "provider_batch_id",
            "result_set_id",
            name=op.f("uq_webhook_inbox_provider_provider_batch_id_result_set_id"),
        ),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column(
            "application_name",
            sa.Text(),
            server_default=sa.text("current_setting('application_name')"),
            nullable=False,
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "heartbeat_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("died", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_index(
        "ix_workers_alive",
        "workers",
        ["heartbeat_at"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "channel_owners",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=True),
        sa.Column("method", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["pipeline_executions.id"],
            name=op.f("fk_channel_owners_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "channel_id", name=op.f("pk_channel_owners")),
    )
    op.create_table(
        "company_profiles",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("found", sa.Boolean(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("industry", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("employee_count", sa.BigInteger(), nullable=True),
        sa.Column("size", sa.Text(), nullable=True),
        sa.Column("founded", sa.Integer(), nullable=True),
        sa.Column("linkedin_url", sa.Text(), nullable=True),
        sa.Column("ticker", sa.Text(), nullable=True),
        sa.Column("parent", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["pipeline_executions.id"],
            name=op.f("fk_company_profiles_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "domain", name=op.f("pk_company_profiles")),
    )
    op.create_table(
        "content_analyses",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("relevance", sa.Float(), nullable=False),
        sa.Column("sentiment", sa.Text(), nullable=False),
        sa.Column("content_kind", sa.Text(), nullable=False),
        sa.Column("topics", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("brands", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("relevance BETWEEN 0 AND 1", name=op.f("ck_content_analyses_relevance")),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["pipeline_executions.id"],
            name=op.f("fk_content_analyses_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "run_id", "content_type", "subject", name=op.f("pk_content_analyses")
        ),
    )
    op.create_table(
        "dsi_scores",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("dsi", sa.Float(), nullable=True),
        sa.Column("coverage", sa.Float(), nullable=False),
        sa.Column("keywords_ranked", sa.Integer(), nullable=False),
        sa.Column("keywords_collected", sa.Integer(), nullable=False),
        sa.Column("keywords_planned", sa.Integer(), nullable=False),
        sa.Column("traffic_share", sa.Float(), nullable=True),
        sa.Column("traffic", sa.Float(), nullable=True),
        sa.Column("traffic_total", sa.Float(), nullable=True),
        sa.Column("relevance", sa.Float(), nullable=True),
        sa.Column("relevance_basis", sa.Integer(), nullable=False),
        sa.Column("results", sa.Integer(), nullable=False),
        sa.Column("unknown_volume_keywords", sa.Integer(), nullable=False),
        sa.Column("unknown_ai_overview_keywords", sa.Integer(), nullable=False),
        sa.Column("unanalysed_results", sa.Integer(), nullable=False),
        sa.Column("curve", sa.Text(), nullable=False),
        sa.Column("curve_version", sa.Integer(), nullable=False),
        sa.Column("proxy", sa.Boolean(), nullable=False),
        sa.Column(
            "sources",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "detail",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["pipeline_executions.id"],
            name=op.f("fk_dsi_scores_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "run_id", "content_type", "market", "device", "company", name=op.f("pk_dsi_scores")
        ),
    )
    op.create_index(
        "ix_dsi_scores_company", "dsi_scores", ["company", "content_type"], unique=False
    )
    op.create_table(
        "keyword_markets",
        sa.Column("keyword_id", sa.BigInteger(), nullable=False),
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.ForeignKeyConstraint(
            ["keyword_id"],
            ["keywords.id"],
            name=op.f("fk_keyword_markets_keyword_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["market"], ["markets.code"], name=op.f("fk_keyword_markets_market")
        ),
        sa.PrimaryKeyConstraint("keyword_id", "market", name=op.f("pk_keyword_markets")),
    )
    op.create_table(
        "keyword_metrics",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("keyword_id", sa.BigInteger(), nullable=False),
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("search_volume", sa.BigInteger(), nullable=True),
        sa.Column("cpc", sa.Float(), nullable=True),
        sa.Column("competition", sa.Text(), nullable=True),
        sa.Column("competition_index", sa.Integer(), nullable=True),
        sa.Column("monthly_searches", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("unknown_reason", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("search_volume >= 0", name=op.f("ck_keyword_metrics_search_volume")),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["pipeline_executions.id"],
            name=op.f("fk_keyword_metrics_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "keyword_id", "market", name=op.f("pk_keyword_metrics")),
    )
    op.create_table(
        "landscape_keywords",
        sa.Column("landscape", sa.Text(), nullable=False),
        sa.Column("keyword_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["keyword_id"],
            ["keywords.id"],
            name=op.f("fk_landscape_keywords_keyword_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["landscape"],
            ["landscapes.name"],
            name=op.f("fk_landscape_keywords_landscape"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("landscape", "keyword_id", name=op.f("pk_landscape_keywords")),
    )
    op.create_table(
        "pipeline_phase_status",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("pipeline_execution_id", sa.Uuid(), nullable=False),
        sa.Column("phase_name", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("retry_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("source_run_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "content_type IN ('organic', 'news', 'video', 'all')",
            name=op.f("ck_pipeline_phase_status_content_type"),
        ),
        sa.CheckConstraint(
            "phase_name IN ('keyword_metrics', 'serp_collection', 'company_enrichment_serp', 'youtube_enrichment', 'company_enrichment_youtube', 'content_analysis', 'dsi_calculation')",
            name=op.f("ck_pipeline_phase_status_phase_name"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'completed', 'failed', 'skipped', 'blocked')",
            name=op.f("ck_pipeline_phase_status_status"),
        ),
        sa.ForeignKeyConstraint(
            ["pipeline_execution_id"],
            ["pipeline_executions.id"],
            name=op.f("fk_pipeline_phase_status_pipeline_execution_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["source_run_id"],
            ["pipeline_executions.id"],
            name=op.f("fk_pipeline_phase_status_source_run_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipeline_phase_status")),
        sa.UniqueConstraint(
            "pipeline_execution_id",
            "phase_name",
            "content_type",
            name=op.f("uq_pipeline_phase_status_pipeline_execution_id_phase_name_content_type"),
        ),
    )
    op.create_table(
        "raw_replies",
        sa.Column("call_id", sa.Uuid(), nullable=False),
        sa.Column("http_status", sa.SmallInteger(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["call_id"],
            ["provider_calls.id"],
            name=op.f("fk_raw_replies_call_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_raw_replies")),
    )
    op.create_index("ix_raw_replies_stored_at", "raw_replies", ["stored_at"], unique=False)
    op.create_table(
        "run_keywords",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("keyword_id", sa.BigInteger(), nullable=False),
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("keyword", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["pipeline_executions.id"],
            name=op.f("fk_run_keywords_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "keyword_id", "market", name=op.f("pk_run_keywords")),
    )
    op.create_table(
        "serps",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("keyword_id", sa.BigInteger(), nullable=False),
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("collected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("results", sa.Integer(), nullable=False),
        sa.Column("total_results", sa.BigInteger(), nullable=True),
        sa.Column("ai_overview", sa.Boolean(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["pipeline_executions.id"], name=op.f("fk_serps_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "run_id", "content_type", "keyword_id", "market", "device", name=op.f("pk_serps")
        ),
    )
    op.create_table(
        "youtube_channels",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("found", sa.Boolean(), nullable=False),
        sa.Column("handle", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("subscribers", sa.BigInteger(), nullable=True),
        sa.Column("views", sa.BigInteger(), nullable=True),
        sa.Column("videos", sa.BigInteger(), nullable=True),
        sa.Column("links", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["pipeline_executions.id"],
            name=op.f("fk_youtube_channels_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "channel_id", name=op.f("pk_youtube_channels")),
    )
    op.create_table(
        "youtube_videos",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("video_id", sa.Text(), nullable=False),
        sa.Column("found", sa.Boolean(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("published_at", sa.Text(), nullable=True),
        sa.Column("duration_seconds", sa.Integer(), nullable=True),
        sa.Column("views", sa.BigInteger(), nullable=True),
        sa.Column("likes", sa.BigInteger(), nullable=True),
        sa.Column("comments", sa.BigInteger(), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["pipeline_executions.id"],
            name=op.f("fk_youtube_videos_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "video_id", name=op.f("pk_youtube_videos")),
    )
    op.create_table(
        "chunks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("lane_id", sa.BigInteger(), nullable=False),
        sa.Column("no", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), server_default="ready", nullable=False),
        sa.Column("owner", sa.BigInteger(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_look_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("waits_on", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("planned", sa.Integer(), nullable=False),
        sa.Column("completed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("skipped", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("deaths", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("crashes", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("idle_looks", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("in_flight", sa.ARRAY(sa.Text()), nullable=True),
        sa.CheckConstraint(
            "(status = 'owned') = (owner IS NOT NULL)", name=op.f("ck_chunks_owner")
        ),
        sa.CheckConstraint("status IN ('ready', 'owned', 'done')", name=op.f("ck_chunks_status")),
        sa.CheckConstraint(
            "completed + failed + skipped <= planned", name=op.f("ck_chunks_counters")
        ),
        sa.ForeignKeyConstraint(
            ["lane_id"],
            ["pipeline_phase_status.id"],
            name=op.f("fk_chunks_lane_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["owner"], ["workers.id"], name=op.f("fk_chunks_owner")),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["pipeline_executions.id"],
            name=op.f("fk_chunks_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chunks")),
        sa.UniqueConstraint("lane_id", "no", name=op.f("uq_chunks_lane_id_no")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index(
        "ix_chunks_look",
        "chunks",
        ["next_look_at"],
        unique=False,
        postgresql_where=sa.text("status = 'ready'"),
    )
    op.create_index(
        "ix_chunks_owner",
        "chunks",
        ["owner"],
        unique=False,
        postgresql_where=sa.text("status = 'owned'"),
    )
    op.create_index("ix_chunks_run_id", "chunks", ["run_id"], unique=False)
    op.create_index(
        "ix_chunks_waits_on",
        "chunks",
        ["id"],
        unique=False,
        postgresql_where=sa.text("waits_on IS NOT NULL"),
    )
    op.create_table(
        "serp_results",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("keyword_id", sa.BigInteger(), nullable=False),
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("block_position", sa.Integer(), nullable=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("canonical_url", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("snippet", sa.Text(), nullable=True),
        sa.Column("published_at", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("video_id", sa.Text(), nullable=True),
        sa.Column("channel_ref", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id", "content_type", "keyword_id", "market", "device"],
            [
                "serps.run_id",
                "serps.content_type",
                "serps.keyword_id",
                "serps.market",
                "serps.device",
            ],
            name="fk_serp_results_serps",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "run_id",
            "content_type",
            "keyword_id",
            "market",
            "device",
            "rank",
            name=op.f("pk_serp_results"),
        ),
    )
    op.create_index(
        "ix_serp_results_domain", "serp_results", ["run_id", "content_type", "domain"], unique=False
    )
    op.create_table(
        "provider_batches",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("chunk_id", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_path", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("intended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("provider_batch_id", sa.Text(), nullable=True),
        sa.Column("rung", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("items", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("results_count", sa.BigInteger(), nullable=True),
        sa.Column("next_result_set_id", sa.BigInteger(), nullable=True),
        sa.Column("result_set_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "pages_ingested", sa.ARRAY(sa.Integer()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("brought", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("errors", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "priority IN ('highest', 'high', 'normal', 'low', 'lowest')",
            name=op.f("ck_provider_batches_priority"),
        ),
        sa.CheckConstraint(
            "rung IN ('first', 'again', 'smaller', 'real_time', 'reported')",
            name=op.f("ck_provider_batches_rung"),
        ),
        sa.CheckConstraint(
            "status IN ('intended', 'created', 'filling', 'filled', 'starting', 'running', 'ready', 'ingested', 'lost')",
            name=op.f("ck_provider_batches_status"),
        ),
        sa.ForeignKeyConstraint(
            ["chunk_id"],
            ["chunks.id"],
            name=op.f("fk_provider_batches_chunk_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_batches")),
        sa.UniqueConstraint(
            "chunk_id", "generation", name=op.f("uq_provider_batches_chunk_id_generation")
        ),
        sa.UniqueConstraint("name", name=op.f("uq_provider_batches_name")),
        sa.UniqueConstraint("secret_path", name=op.f("uq_provider_batches_secret_path")),
    )
    op.create_index(
        "ix_provider_batches_provider_batch_id",
        "provider_batches",
        ["provider_batch_id"],
        unique=False,
    )
    op.execute("ALTER TABLE item_results ALTER COLUMN lane_id SET STATISTICS 0")
    op.execute("ALTER TABLE item_retries ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE items ALTER COLUMN lane_id SET STATISTICS 0")
    op.execute("ALTER TABLE pipeline_events ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE provider_calls ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE channel_owners ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE company_profiles ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE content_analyses ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE dsi_scores ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE keyword_metrics ALTER COLUMN run_id SET STATISTICS 0")
    op.execute(
        "ALTER TABLE pipeline_phase_status ALTER COLUMN pipeline_execution_id SET STATISTICS 0"
    )
    op.execute("ALTER TABLE run_keywords ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE serps ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE youtube_channels ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE youtube_videos ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE chunks ALTER COLUMN lane_id SET STATISTICS 0")
    op.execute("ALTER TABLE chunks ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE serp_results ALTER COLUMN run_id SET STATISTICS 0")
