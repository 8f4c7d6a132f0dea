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
        sa.Column(
            "settings", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("settings_version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("settings_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('closed', 'open', 'half_open', 'isolated')",
            name=op.f("ck_circuit_breakers_state"),
        ),
        sa.CheckConstraint(
            "(settings IS NULL) = (settings_at IS NULL)", name=op.f("ck_circuit_breakers_settings")
        ),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 200", name=op.f("ck_circuit_breakers_name")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_circuit_breakers")),
    )
    op.create_table(
        "companies",
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("relation", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("merged_into", sa.Text(), nullable=True),
        sa.Column("merged_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "relation IN ('ours', 'competitor')", name=op.f("ck_companies_relation")
        ),
        sa.CheckConstraint(
            "(merged_into IS NULL) = (merged_at IS NULL)", name=op.f("ck_companies_merged")
        ),
        sa.CheckConstraint("merged_into <> domain", name=op.f("ck_companies_merged_into")),
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
        "housekeeping",
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column(
            "looked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delay_seconds", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "state",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("task", name=op.f("pk_housekeeping")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index(
        "ix_housekeeping_next_check_at", "housekeeping", ["next_check_at"], unique=False
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
        sa.Column("delay_seconds", sa.Float(), nullable=True),
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
    op.create_index("ix_items_chunk", "items", ["lane_id", "chunk_no", "item"], unique=False)
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
        "notification_destinations",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("schedules", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("since_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "next_message_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("delay_seconds", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("rest_seconds", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claim", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_notification_destinations")),
        postgresql_with={"fillfactor": "50"},
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
        sa.Column("scheduled_for", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_seconds", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("items_pruned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expired_at", sa.DateTime(timezone=True), nullable=True),
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
        "ix_pipeline_executions_completed_at",
        "pipeline_executions",
        ["completed_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_pipeline_executions_created_at", "pipeline_executions", ["created_at"], unique=False
    )
    op.create_index(
        "ix_pipeline_executions_due",
        "pipeline_executions",
        ["next_check_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'running')"),
    )
    op.create_index(
        "ix_pipeline_executions_expired_at",
        "pipeline_executions",
        ["id"],
        unique=False,
        postgresql_where=sa.text("expired_at IS NOT NULL"),
    )
    op.create_index(
        "ix_pipeline_executions_replaced",
        "pipeline_executions",
        [sa.literal_column("(config #>> '{backfill,run_id}')")],
        unique=False,
        postgresql_where=sa.text("config #>> '{backfill,run_id}' IS NOT NULL"),
    )
    op.create_index(
        "ix_pipeline_executions_ttl",
        "pipeline_executions",
        [sa.literal_column("((config ->> 'reference_ttl_days')::int)")],
        unique=False,
    )
    op.create_index(
        "ix_pipeline_executions_unended",
        "pipeline_executions",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'running', 'paused')"),
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
        sa.Column(
            "announced_percent", sa.SmallInteger(), server_default=sa.text("0"), nullable=False
        ),
        sa.PrimaryKeyConstraint("provider", "scope", name=op.f("pk_provider_budgets")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index(
        "ix_provider_budgets_periods",
        "provider_budgets",
        ["scope", "provider"],
        unique=False,
        postgresql_where=sa.text("NOT starts_with(scope, 'run:')"),
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
        "ix_provider_calls_finished_at",
        "provider_calls",
        ["finished_at", "id"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index(
        "ix_provider_calls_intents",
        "provider_calls",
        ["started_at"],
        unique=False,
        postgresql_where=sa.text("status = 'intent'"),
    )
    op.create_index("ix_provider_calls_key", "provider_calls", ["key", "attempt"], unique=False)
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
        sa.Column("pause_seconds", sa.Float(), nullable=True),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("penalised_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("penalised_rate", sa.Float(), nullable=True),
        sa.Column("ceiling_rate", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("provider", name=op.f("pk_provider_rates")),
    )
    op.create_table(
        "provider_retries",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("tokens_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("provider", "content_type", name=op.f("pk_provider_retries")),
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
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delay_seconds", sa.Float(), server_default="0", nullable=False),
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
    op.create_index("ix_queued_jobs_next_check_at", "queued_jobs", ["next_check_at"], unique=False)
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
    op.create_index(
        "ix_reference_data_age",
        "reference_data",
        [sa.literal_column("coalesce(fetched_at, '-infinity')")],
        unique=False,
    )
    op.create_table(
        "schedules",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('active', 'paused', 'deleted')", name=op.f("ck_schedules_status")
        ),
        sa.CheckConstraint("length(id) BETWEEN 1 AND 200", name=op.f("ck_schedules_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
    )
    op.create_index(
        "ix_schedules_due",
        "schedules",
        ["next_at"],
        unique=False,
        postgresql_where=sa.text("status <> 'deleted'"),
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
        sa.Column("providers", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
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
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("industry_code", sa.Integer(), nullable=True),
        sa.Column("industry_name", sa.Text(), nullable=True),
        sa.Column("industry_group", sa.Text(), nullable=True),
        sa.Column("country_code", sa.Text(), nullable=True),
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
    op.create_index(
        "ix_company_profiles_newest", "company_profiles", ["domain", "fetched_at"], unique=False
    )
    op.create_table(
        "content_analyses",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("empty_kind", sa.Text(), nullable=True),
        sa.Column("relevance", sa.Float(), nullable=True),
        sa.Column("judged_for", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("sentiment", sa.Text(), nullable=True),
        sa.Column("content_kind", sa.Text(), nullable=True),
        sa.Column("topics", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("brands", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("prompt", sa.Text(), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "empty_kind IN ('bot_check', 'javascript_notice', 'consent_wall', 'login_wall', 'access_denied', 'not_found', 'site_error', 'no_text')",
            name=op.f("ck_content_analyses_empty_kind"),
        ),
        sa.CheckConstraint(
            "CASE WHEN empty_kind IS NULL THEN num_nulls(relevance, sentiment, content_kind, summary, model) = 0 ELSE num_nonnulls(relevance, sentiment, content_kind, summary) = 0 END",
            name=op.f("ck_content_analyses_whole_or_empty"),
        ),
        sa.CheckConstraint(
            "num_nulls(model, prompt) <> 1", name=op.f("ck_content_analyses_prompt")
        ),
        sa.CheckConstraint("relevance BETWEEN 0 AND 1", name=op.f("ck_content_analyses_relevance")),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["pipeline_executions.id"],
            name=op.f("fk_content_analyses_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "run_id", "content_type", "subject", "market", name=op.f("pk_content_analyses")
        ),
    )
    op.create_index(
        "ix_content_analyses_empty",
        "content_analyses",
        ["run_id", "content_type", "empty_kind"],
        unique=False,
        postgresql_where=sa.text("empty_kind IS NOT NULL"),
    )
    op.create_table(
        "dsi_scores",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("dsi", sa.Float(), nullable=True),
        sa.Column("completeness", sa.Text(), nullable=False),
        sa.Column("coverage", sa.Float(), nullable=False),
        sa.Column("keywords_ranked", sa.Integer(), nullable=False),
        sa.Column("keywords_collected", sa.Integer(), nullable=False),
        sa.Column("keywords_planned", sa.Integer(), nullable=False),
        sa.Column("traffic_share", sa.Float(), nullable=True),
        sa.Column("traffic", sa.Float(), nullable=True),
        sa.Column("traffic_total", sa.Float(), nullable=True),
        sa.Column("share_unweighted", sa.Float(), nullable=True),
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
    op.create_index(
        "ix_keyword_metrics_newest",
        "keyword_metrics",
        ["keyword_id", "market", "fetched_at"],
        unique=False,
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
        "notification_deliveries",
        sa.Column("no", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("incident", sa.Text(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("note", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'sent', 'failed')", name=op.f("ck_notification_deliveries_state")
        ),
        sa.ForeignKeyConstraint(
            ["destination"],
            ["notification_destinations.name"],
            name=op.f("fk_notification_deliveries_destination"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_notification_deliveries")),
        sa.UniqueConstraint("id", name=op.f("uq_notification_deliveries_id")),
    )
    op.create_index(
        "ix_notification_deliveries_message_id",
        "notification_deliveries",
        ["message_id"],
        unique=False,
    )
    op.create_index(
        "ix_notification_deliveries_pending",
        "notification_deliveries",
        ["destination", "no"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "uq_notification_deliveries_open",
        "notification_deliveries",
        ["incident", "destination"],
        unique=True,
        postgresql_where=sa.text("is_open"),
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
        sa.Column("priority", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
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
            "status IN ('pending', 'running', 'completed', 'failed', 'skipped', 'blocked', 'cancelled')",
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
    op.create_index(
        "ix_pipeline_phase_status_source",
        "pipeline_phase_status",
        ["source_run_id"],
        unique=False,
        postgresql_where=sa.text("source_run_id <> pipeline_execution_id"),
    )
    op.create_table(
        "provider_schedules",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("schedule_id", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_path", sa.Text(), nullable=False),
        sa.Column("wanted", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("filled", sa.Text(), nullable=True),
        sa.Column("provider_batch_id", sa.Text(), nullable=True),
        sa.Column("seen", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("owned_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "next_check_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("delay_seconds", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("errors", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "content_type IN ('organic', 'news', 'video', 'all')",
            name=op.f("ck_provider_schedules_content_type"),
        ),
        sa.CheckConstraint("part >= 0", name=op.f("ck_provider_schedules_part")),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["schedules.id"], name=op.f("fk_provider_schedules_schedule_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_schedules")),
        sa.UniqueConstraint("name", name=op.f("uq_provider_schedules_name")),
        sa.UniqueConstraint(
            "schedule_id",
            "content_type",
            "part",
            name=op.f("uq_provider_schedules_schedule_id_content_type_part"),
        ),
        sa.UniqueConstraint("secret_path", name=op.f("uq_provider_schedules_secret_path")),
    )
    op.create_index(
        "ix_provider_schedules_next_check_at", "provider_schedules", ["next_check_at"], unique=False
    )
    op.create_index(
        "ix_provider_schedules_provider_batch_id",
        "provider_schedules",
        ["provider_batch_id"],
        unique=False,
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
    op.create_index(
        "ix_raw_replies_stored_at", "raw_replies", ["stored_at", "call_id"], unique=False
    )
    op.create_table(
        "run_company_aliases",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["pipeline_executions.id"],
            name=op.f("fk_run_company_aliases_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "run_id", "content_type", "domain", name=op.f("pk_run_company_aliases")
        ),
    )
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
        sa.PrimaryKeyConstraint("run_id", "market", "keyword_id", name=op.f("pk_run_keywords")),
    )
    op.create_table(
        "schedule_backfills",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("schedule_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("slots_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("slots_to", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text(), server_default="planned", nullable=False),
        sa.Column("runs_at_once", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "credit_limits",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "estimate",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('refetch', 'late', 'recompute')", name=op.f("ck_schedule_backfills_kind")
        ),
        sa.CheckConstraint(
            "status IN ('planned', 'running', 'paused', 'cancelled', 'completed')",
            name=op.f("ck_schedule_backfills_status"),
        ),
        sa.CheckConstraint("runs_at_once > 0", name=op.f("ck_schedule_backfills_runs_at_once")),
        sa.CheckConstraint("slots_from <= slots_to", name=op.f("ck_schedule_backfills_slots")),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["schedules.id"], name=op.f("fk_schedule_backfills_schedule_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule_backfills")),
    )
    op.create_index(
        "ix_schedule_backfills_schedule_id",
        "schedule_backfills",
        ["schedule_id", "id"],
        unique=False,
    )
    op.create_index(
        "ix_schedule_backfills_unended",
        "schedule_backfills",
        ["id"],
        unique=False,
        postgresql_where=sa.text("status IN ('planned', 'running', 'paused')"),
    )
    op.create_table(
        "schedule_lanes",
        sa.Column("schedule_id", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("last_success_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fresh_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stale_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures_in_row", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("observed_slots", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_look_slots", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "content_type IN ('organic', 'news', 'video', 'all')",
            name=op.f("ck_schedule_lanes_content_type"),
        ),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["schedules.id"], name=op.f("fk_schedule_lanes_schedule_id")
        ),
        sa.PrimaryKeyConstraint("schedule_id", "content_type", name=op.f("pk_schedule_lanes")),
    )
    op.create_index(
        "ix_schedule_lanes_fresh_until",
        "schedule_lanes",
        ["fresh_until"],
        unique=False,
        postgresql_where=sa.text("stale_since IS NULL"),
    )
    op.create_index(
        "ix_schedule_lanes_look",
        "schedule_lanes",
        ["schedule_id"],
        unique=False,
        postgresql_where=sa.text("observed_slots >= next_look_slots"),
    )
    op.create_table(
        "schedule_proposals",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("schedule_id", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("change", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("version_before", sa.Integer(), nullable=True),
        sa.Column("version_after", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "content_type IN ('organic', 'news', 'video', 'all')",
            name=op.f("ck_schedule_proposals_content_type"),
        ),
        sa.CheckConstraint(
            "kind IN ('later_hour', 'smaller_batches', 'priority', 'spread')",
            name=op.f("ck_schedule_proposals_kind"),
        ),
        sa.CheckConstraint(
            "status IN ('open', 'accepted', 'refused', 'taken_back', 'expired')",
            name=op.f("ck_schedule_proposals_status"),
        ),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["schedules.id"], name=op.f("fk_schedule_proposals_schedule_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule_proposals")),
    )
    op.create_index(
        "ix_schedule_proposals_schedule_id",
        "schedule_proposals",
        ["schedule_id", "id"],
        unique=False,
    )
    op.create_index(
        "uq_schedule_proposals_open",
        "schedule_proposals",
        ["schedule_id", "content_type", "kind"],
        unique=True,
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_table(
        "schedule_versions",
        sa.Column("schedule_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("specs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["schedules.id"], name=op.f("fk_schedule_versions_schedule_id")
        ),
        sa.PrimaryKeyConstraint("schedule_id", "version", name=op.f("pk_schedule_versions")),
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
    op.create_index(
        "ix_serps_collected_at",
        "serps",
        [sa.literal_column("(CAST(run_id AS text) || content_type)"), "collected_at"],
        unique=False,
    )
    op.create_table(
        "youtube_channel_refs",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["pipeline_executions.id"],
            name=op.f("fk_youtube_channel_refs_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "ref", name=op.f("pk_youtube_channel_refs")),
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
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delay_seconds", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("waits_on", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("wait_cause", sa.Text(), nullable=True),
        sa.Column("wait_subject", sa.Text(), nullable=True),
        sa.Column("planned", sa.Integer(), nullable=False),
        sa.Column("completed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("skipped", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("deaths", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("crashes", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("idle_polls", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("in_flight", sa.ARRAY(sa.Text()), nullable=True),
        sa.CheckConstraint(
            "(status = 'owned') = (owner IS NOT NULL)", name=op.f("ck_chunks_owner")
        ),
        sa.CheckConstraint("status IN ('ready', 'owned', 'done')", name=op.f("ck_chunks_status")),
        sa.CheckConstraint(
            "wait_cause IN ('paused', 'no_worker', 'budget_too_small', 'budget', 'breaker', 'quota', 'incident', 'provider_queue', 'purchase', 'retry', 'rate', 'capacity')",
            name=op.f("ck_chunks_wait_cause"),
        ),
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
        "ix_chunks_due",
        "chunks",
        ["next_check_at"],
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
        "schedule_backfill_slots",
        sa.Column("backfill_id", sa.BigInteger(), nullable=False),
        sa.Column("scheduled_for", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "content_type IN ('organic', 'news', 'video', 'all')",
            name=op.f("ck_schedule_backfill_slots_content_type"),
        ),
        sa.CheckConstraint(
            "status IN ('waiting', 'running', 'completed', 'failed', 'skipped')",
            name=op.f("ck_schedule_backfill_slots_status"),
        ),
        sa.ForeignKeyConstraint(
            ["backfill_id"],
            ["schedule_backfills.id"],
            name=op.f("fk_schedule_backfill_slots_backfill_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "backfill_id", "scheduled_for", "content_type", name=op.f("pk_schedule_backfill_slots")
        ),
    )
    op.create_index(
        "ix_schedule_backfill_slots_running",
        "schedule_backfill_slots",
        ["backfill_id"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "schedule_slots",
        sa.Column("schedule_id", sa.Text(), nullable=False),
        sa.Column("scheduled_for", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("spec_no", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("outcome", sa.Text(), server_default="due", nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("run_group", sa.Text(), nullable=False),
        sa.Column("caught_up", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("overlap", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("start_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("run_status", sa.Text(), nullable=True),
        sa.Column("run_ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("succeeded", sa.Boolean(), nullable=True),
        sa.Column("backfill_id", sa.BigInteger(), nullable=True),
        sa.Column("observed", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint(
            "content_type IN ('organic', 'news', 'video', 'all')",
            name=op.f("ck_schedule_slots_content_type"),
        ),
        sa.CheckConstraint(
            "outcome IN ('due', 'started', 'skipped', 'missed', 'refused', 'backfilled')",
            name=op.f("ck_schedule_slots_outcome"),
        ),
        sa.CheckConstraint(
            "outcome NOT IN ('started', 'backfilled') OR run_id IS NOT NULL",
            name=op.f("ck_schedule_slots_run"),
        ),
        sa.CheckConstraint(
            "run_status IN ('pending', 'running', 'paused', 'completed', 'completed_with_errors', 'failed', 'cancelled')",
            name=op.f("ck_schedule_slots_run_status"),
        ),
        sa.ForeignKeyConstraint(
            ["schedule_id", "version"],
            ["schedule_versions.schedule_id", "schedule_versions.version"],
            name=op.f("fk_schedule_slots_schedule_id_version"),
        ),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["schedules.id"], name=op.f("fk_schedule_slots_schedule_id")
        ),
        sa.PrimaryKeyConstraint(
            "schedule_id", "scheduled_for", "content_type", name=op.f("pk_schedule_slots")
        ),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        "ix_schedule_slots_backfill_id",
        "schedule_slots",
        ["backfill_id"],
        unique=False,
        postgresql_where=sa.text("backfill_id IS NOT NULL"),
    )
    op.create_index(
        "ix_schedule_slots_due",
        "schedule_slots",
        [sa.literal_column("priority DESC"), "start_at"],
        unique=False,
        postgresql_where=sa.text("outcome = 'due'"),
    )
    op.create_index(
        "ix_schedule_slots_running",
        "schedule_slots",
        ["schedule_id", "content_type"],
        unique=False,
        postgresql_include=["run_id"],
        postgresql_where=sa.text("run_id IS NOT NULL AND run_status IS NULL"),
    )
    op.create_index(
        "ix_schedule_slots_scheduled_for",
        "schedule_slots",
        ["scheduled_for", "schedule_id", "content_type"],
        unique=False,
    )
    op.create_index(
        "ix_schedule_slots_start_at",
        "schedule_slots",
        ["start_at"],
        unique=False,
        postgresql_where=sa.text("outcome = 'due'"),
    )
    op.create_index(
        "ix_schedule_slots_unobserved",
        "schedule_slots",
        ["scheduled_for"],
        unique=False,
        postgresql_where=sa.text(
            "observed IS NULL AND outcome <> 'due' AND (run_id IS NULL OR run_status IS NOT NULL)"
        ),
    )
    op.create_index(
        "ix_schedule_slots_waiting",
        "schedule_slots",
        ["schedule_id", "content_type", "scheduled_for"],
        unique=False,
        postgresql_where=sa.text("outcome = 'due'"),
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
    op.create_index(
        "ix_serp_results_subject",
        "serp_results",
        [
            sa.literal_column(
                "hashtextextended(CAST(run_id AS text) || content_type || CASE WHEN video_id IS NOT NULL THEN 'v:' || video_id ELSE 'u:' || canonical_url END, 0)"
            )
        ],
        unique=False,
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
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("provider_batch_id", sa.Text(), nullable=True),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("items", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("results_count", sa.BigInteger(), nullable=True),
        sa.Column("next_result_set_id", sa.BigInteger(), nullable=True),
        sa.Column("result_set_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "pages_ingested", sa.ARRAY(sa.Integer()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("received", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("scheduled_for", sa.DateTime(timezone=True), nullable=True),
        sa.Column("unannounced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("errors", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "priority IN ('highest', 'high', 'normal', 'low', 'lowest')",
            name=op.f("ck_provider_batches_priority"),
        ),
        sa.CheckConstraint(
            "stage IN ('given', 'first', 'again', 'smaller', 'real_time', 'reported')",
            name=op.f("ck_provider_batches_stage"),
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
    op.create_index(
        "ix_provider_batches_unended",
        "provider_batches",
        ["id"],
        unique=False,
        postgresql_where=sa.text("status NOT IN ('ingested', 'lost')"),
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
    op.execute("ALTER TABLE run_company_aliases ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE run_keywords ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE serps ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE youtube_channel_refs ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE youtube_channels ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE youtube_videos ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE chunks ALTER COLUMN lane_id SET STATISTICS 0")
    op.execute("ALTER TABLE chunks ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE schedule_backfill_slots ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE schedule_slots ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("ALTER TABLE serp_results ALTER COLUMN run_id SET STATISTICS 0")
    op.execute("""
CREATE FUNCTION pace_in_time(pace provider_rates, at timestamptz) RETURNS provider_rates
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    latest timestamptz := at + make_interval(secs => coalesce(pace.pause_seconds, 0));
    spare interval := interval '5 seconds';
BEGIN
    IF pace.paused_until > latest + spare THEN
        pace.paused_until := latest;
    END IF;
    IF pace.penalised_at > latest + spare THEN
        pace.penalised_at := latest;
    END IF;
    RETURN pace;
END $$
""")
    op.execute("""
CREATE FUNCTION provider_rate_now(pace provider_rates, rate_max float8, at timestamptz)
RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    elapsed float8 := greatest(0, extract(epoch FROM at - pace.penalised_at));
    knee float8 := 0.95 * pace.ceiling_rate;
    rate float8;
BEGIN
    IF pace.penalised_at IS NULL OR pace.penalised_rate IS NULL OR pace.ceiling_rate IS NULL THEN
        RETURN rate_max;
    END IF;
    IF elapsed < 5 THEN
        rate := pace.penalised_rate + (knee - pace.penalised_rate) * elapsed / 5;
    ELSE
        rate := knee + pace.ceiling_rate * 0.002 * (elapsed - 5);
        rate := rate * 2 ^ least(greatest(0, elapsed - 35) / 5, 16);
    END IF;
    RETURN least(rate_max, rate);
END $$
""")
    op.execute("""
CREATE FUNCTION provider_first_slot(
    pace provider_rates, gap interval, horizon interval, at timestamptz
) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(
        CASE WHEN pace.next_slot_at <= greatest(at, pace.paused_until) + horizon + 64 * gap
            THEN pace.next_slot_at END,
        at - interval '100 milliseconds', pace.paused_until)
$$
""")
    op.execute("""
CREATE FUNCTION provider_retry_tokens(
    tokens float8, tokens_at timestamptz, policy jsonb, at timestamptz
) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
    SELECT least((policy ->> 'tokens_max')::float8,
        tokens + greatest(0, extract(epoch FROM at - tokens_at))
            * (policy ->> 'retry_floor')::float8 / 120)
$$
""")
    op.execute("""
CREATE FUNCTION penalise_provider(
    _provider text, rate_max float8, started_at timestamptz, pause_seconds float8,
    _at timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    pace provider_rates;
    at timestamptz;
    until timestamptz;
    rate float8;
BEGIN
    INSERT INTO provider_rates (provider) VALUES (_provider) ON CONFLICT DO NOTHING;
    SELECT * INTO pace FROM provider_rates WHERE provider = _provider FOR UPDATE;
    at := coalesce(_at, clock_timestamp());
    pace := pace_in_time(pace, at);
    until := at + make_interval(secs => pause_seconds);
    rate := provider_rate_now(pace, rate_max, at);
    IF pace.penalised_at IS NOT NULL AND started_at <= pace.penalised_at THEN
        pace.penalised_at := greatest(pace.penalised_at, until);
    ELSE
        pace.penalised_at := until;
        pace.penalised_rate := greatest(rate / 2, rate_max / 64);
        pace.ceiling_rate := rate;
    END IF;
    IF pace.paused_until IS NULL OR pace.paused_until < until THEN
        pace.paused_until := until;
        pace.pause_seconds := pause_seconds;
        pace.pause_reason := 'the provider asked to wait (429)';
    END IF;
    UPDATE provider_rates SET paused_until = pace.paused_until,
        pause_seconds = pace.pause_seconds, pause_reason = pace.pause_reason,
        penalised_at = pace.penalised_at, penalised_rate = pace.penalised_rate,
        ceiling_rate = pace.ceiling_rate
    WHERE provider = _provider;
END $$
""")
    op.execute("""
CREATE FUNCTION lease_places(
    _provider text, _holder uuid, _wanted int, _in_use int, places int, lease_seconds float8
) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    turn bigint := floor(extract(epoch FROM clock_timestamp()) / lease_seconds);
    claim record;
    remaining int := places;
    others_hold int;
    allowed int := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(7235, hashtext(_provider));
    DELETE FROM provider_leases WHERE provider = _provider
        AND (expires_at <= clock_timestamp() OR (holder = _holder AND _wanted + _in_use = 0));
    IF _wanted + _in_use = 0 THEN
        RETURN 0;
    END IF;
    FOR claim IN
        WITH claims AS (
            SELECT holder, wanted FROM provider_leases
            WHERE provider = _provider AND holder <> _holder
            UNION ALL SELECT _holder, _wanted
        ), ranked AS (
            SELECT holder, wanted, count(*) OVER () AS n,
                row_number() OVER (ORDER BY holder) + turn AS rank FROM claims
        )
        SELECT holder, wanted, n - row_number() OVER (ORDER BY wanted, rank % n) + 1 AS behind
        FROM ranked ORDER BY wanted, rank % n
    LOOP
        IF claim.holder = _holder THEN
            allowed := least(_wanted, remaining / claim.behind);
        END IF;
        remaining := remaining - least(claim.wanted, remaining / claim.behind);
    END LOOP;
    SELECT coalesce(sum(slots), 0) INTO others_hold FROM provider_leases
        WHERE provider = _provider AND holder <> _holder;
    allowed := least(allowed, greatest(0, places - others_hold));
    INSERT INTO provider_leases (provider, holder, slots, wanted, expires_at)
    VALUES (_provider, _holder, greatest(_in_use, allowed), _wanted,
        clock_timestamp() + make_interval(secs => lease_seconds))
    ON CONFLICT (provider, holder) DO UPDATE
    SET slots = excluded.slots, wanted = excluded.wanted, expires_at = excluded.expires_at;
    RETURN allowed;
END $$
""")
    op.execute("""
CREATE FUNCTION budget_shortages(wants jsonb, OUT no int, OUT scope text, OUT is_spent boolean)
RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    room jsonb;
    want record;
BEGIN
    WITH wanted AS (
        SELECT DISTINCT ON (1, 2) w ->> 'provider' AS provider, s ->> 0 AS scope,
            (s ->> 1)::numeric AS limit_credits
        FROM jsonb_array_elements(wants) AS w, jsonb_array_elements(w -> 'scopes') AS s
        ORDER BY 1, 2
    ), held AS (
        INSERT INTO provider_budgets AS b (provider, scope, limit_credits)
        SELECT * FROM wanted
        ON CONFLICT (provider, scope) DO UPDATE SET limit_credits =
            CASE WHEN starts_with(b.scope, 'run:') OR starts_with(b.scope, 'backfill:')
            THEN b.limit_credits
            ELSE excluded.limit_credits END
        RETURNING *
    )
    SELECT jsonb_object_agg(provider || ' ' || scope, jsonb_build_object(
        'free', limit_credits - reserved - spent, 'unspent', limit_credits - spent))
    INTO room FROM held;
    FOR want IN
        SELECT (w ->> 'no')::int AS no, (w ->> 'credits')::numeric AS credits,
            array(SELECT (w ->> 'provider') || ' ' || (s ->> 0)
                FROM jsonb_array_elements(w -> 'scopes') AS s) AS keys
        FROM jsonb_array_elements(wants) AS w ORDER BY 1
    LOOP
        no := want.no;
        -- A spent scope decides: waiting for the others would not help.
        SELECT split_part(key, ' ', 2), want.credits > (room #>> ARRAY[key, 'unspent'])::numeric
        INTO scope, is_spent FROM unnest(want.keys) WITH ORDINALITY AS k(key, place)
        WHERE want.credits > (room #>> ARRAY[key, 'free'])::numeric
        ORDER BY 2 DESC, place LIMIT 1;
        IF scope IS NULL THEN
            SELECT room || jsonb_object_agg(key, jsonb_set(room -> key, '{free}', coalesce(
                to_jsonb((room #>> ARRAY[key, 'free'])::numeric - want.credits), 'null')))
            INTO room FROM unnest(want.keys) AS k(key);
        ELSE
            RETURN NEXT;
        END IF;
    END LOOP;
END $$
""")
    op.execute("""
CREATE FUNCTION book_credits(moved jsonb) RETURNS void LANGUAGE sql AS $$
    WITH deltas AS (
        SELECT m.provider, s.scope, sum(m.reserved) AS reserved, sum(m.spent) AS spent
        FROM jsonb_to_recordset(moved)
            AS m(provider text, budget_scopes jsonb, reserved numeric, spent numeric),
            jsonb_array_elements_text(m.budget_scopes) AS s(scope)
        GROUP BY 1, 2 HAVING sum(m.reserved) <> 0 OR sum(m.spent) <> 0
    ), held AS MATERIALIZED (
        SELECT b.provider, b.scope, d.reserved, d.spent
        FROM provider_budgets b JOIN deltas d USING (provider, scope)
        ORDER BY b.provider, b.scope FOR UPDATE OF b
    )
    UPDATE provider_budgets b SET reserved = b.reserved + held.reserved,
        spent = b.spent + held.spent
    FROM held WHERE b.provider = held.provider AND b.scope = held.scope
$$
""")
    op.execute("""
CREATE FUNCTION call_history(requests jsonb, ids uuid[], OUT no int, OUT id uuid, OUT key bytea,
    OUT attempt int, OUT has_failed boolean, OUT is_written boolean, OUT is_in_flight boolean,
    OUT replied_at timestamptz
) RETURNS SETOF record LANGUAGE sql STABLE AS $$
    SELECT w.no, w.id, w.key, coalesce(last.attempt, 0), coalesce(last.has_failed, false),
        written.id IS NOT NULL, flying.id IS NOT NULL, reply.finished_at
    FROM (
        SELECT ordinality::int AS no, (value ->> 'id')::uuid AS id,
            (value ->> 'key')::bytea AS key,
            (value ->> 'fresh_since')::timestamptz AS fresh_since
        FROM jsonb_array_elements(requests) WITH ORDINALITY
    ) AS w LEFT JOIN LATERAL (
        SELECT c.attempt, coalesce(c.error_category, 'internal') <> 'internal' AS has_failed
        FROM provider_calls c WHERE c.key = w.key ORDER BY c.attempt DESC LIMIT 1
    ) AS last ON true LEFT JOIN LATERAL (
        SELECT c.id FROM provider_calls c WHERE c.id = w.id AND c.key = w.key LIMIT 1
    ) AS written ON true LEFT JOIN LATERAL (
        SELECT c.id FROM provider_calls c WHERE c.key = w.key AND c.status = 'intent'
        AND c.shared AND c.id <> ALL(ids) LIMIT 1
    ) AS flying ON true LEFT JOIN LATERAL (
        SELECT c.finished_at FROM provider_calls c WHERE w.fresh_since IS NOT NULL
        AND c.key = w.key AND c.status = 'ok' AND c.finished_at >= w.fresh_since
        AND EXISTS (SELECT FROM raw_replies r WHERE r.call_id = c.id)
        ORDER BY c.attempt DESC LIMIT 1
    ) AS reply ON true
$$
""")
    op.execute("""
CREATE FUNCTION reserve_slots(
    requests jsonb, policies jsonb, horizon interval, at timestamptz, ids uuid[]
) RETURNS TABLE (no int, answer text, wait float8, detail text, attempt int)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    pace provider_rates;
    stored provider_rates;
    policy jsonb;
    gap interval;
    slot timestamptz;
    -- The retry tokens of each of ``kinds``, and whether they have to be stored.
    kinds text[] := array(SELECT DISTINCT value ->> 'content_type'
        FROM jsonb_array_elements(requests) ORDER BY 1);
    tokens float8[];
    is_new boolean[];
    kind int;
    retry_share float8;
    retry_floor float8;
    tokens_max float8;
    is_paused boolean;
    is_retry boolean;
    asked int;
    later int;
    request record;
BEGIN
    FOR stored IN SELECT * FROM provider_rates WHERE policies ? provider ORDER BY provider LOOP
        pace := pace_in_time(stored, at);
        IF pace IS DISTINCT FROM stored THEN
            UPDATE provider_rates SET paused_until = pace.paused_until,
                penalised_at = pace.penalised_at
            WHERE provider = pace.provider;
        END IF;
        policy := policies -> pace.provider;
        gap := make_interval(
            secs => 1 / provider_rate_now(pace, (policy ->> 'rate')::float8, at));
        slot := provider_first_slot(pace, gap, horizon, at);
        retry_share := policy ->> 'retry_share';
        retry_floor := policy ->> 'retry_floor';
        tokens_max := policy ->> 'tokens_max';
        tokens := array(
            SELECT provider_retry_tokens(coalesce(r.tokens, retry_floor / 2),
                coalesce(r.tokens_at, at), policy, at)
            FROM unnest(kinds) WITH ORDINALITY AS k(content_type, n)
            LEFT JOIN provider_retries r
                ON r.provider = pace.provider AND r.content_type = k.content_type ORDER BY k.n);
        is_new := array_fill(false, ARRAY[cardinality(kinds)]);
        is_paused := coalesce(pace.paused_until > at, false);
        asked := 0; later := 0;
        FOR request IN
            SELECT h.*, e.value AS w FROM call_history(requests, ids) AS h
            JOIN jsonb_array_elements(requests) WITH ORDINALITY AS e(value, n) ON e.n = h.no
            WHERE e.value ->> 'provider' = pace.provider ORDER BY h.no
        LOOP
            no := request.no; attempt := request.attempt;
            answer := NULL; wait := NULL; detail := NULL;
            is_retry := request.has_failed AND NOT (request.w ->> 'third_party')::boolean;
            kind := array_position(kinds, request.w ->> 'content_type');
            IF request.is_written THEN
                answer := 'written';
            ELSIF request.replied_at >= (request.w ->> 'fresh_since')::timestamptz THEN
                answer := 'cached';
            ELSIF request.is_in_flight AND (request.w ->> 'shared')::boolean THEN
                answer := 'in_flight';
            ELSIF is_retry AND tokens[kind] < 1 THEN
                answer := 'retries';
                wait := least(60, greatest(1, (1 - tokens[kind]) * 120 / retry_floor));
                -- Tokens of a time in the future earn nothing: the clock was set back.
                is_new[kind] := true;
            ELSIF (request.w ->> 'has_slot')::boolean THEN
                IF is_paused THEN
                    answer := 'limited'; detail := pace.pause_reason;
                    wait := extract(epoch FROM pace.paused_until - at);
                END IF;
            ELSIF slot > at + horizon THEN
                answer := 'limited';
                detail := CASE WHEN is_paused THEN pace.pause_reason END;
                wait := extract(epoch FROM slot + gap * later - at
                    - CASE WHEN is_paused THEN interval '0' ELSE horizon / 2 END);
                later := later + 1;
            ELSE
                asked := asked + 1;
                IF slot > at THEN
                    answer := 'slot'; wait := extract(epoch FROM slot - at);
                END IF;
                slot := slot + gap;
            END IF;
            IF answer IS NULL THEN
                tokens[kind] := CASE WHEN is_retry THEN tokens[kind] - 1
                    ELSE least(tokens_max, tokens[kind] + retry_share) END;
                is_new[kind] := true;
            END IF;
            RETURN NEXT;
        END LOOP;
        IF asked > 0 THEN
            UPDATE provider_rates SET next_slot_at = slot WHERE provider = pace.provider;
        END IF;
        INSERT INTO provider_retries (provider, content_type, tokens, tokens_at)
            SELECT pace.provider, k.content_type, k.tokens, at
            FROM unnest(kinds, tokens, is_new) AS k(content_type, tokens, is_new) WHERE k.is_new
            ON CONFLICT (provider, content_type) DO UPDATE
            SET tokens = excluded.tokens, tokens_at = excluded.tokens_at;
    END LOOP;
END $$
""")
    op.execute("""
CREATE FUNCTION end_calls(ends jsonb) RETURNS SETOF uuid LANGUAGE sql STRICT AS $$
    WITH e AS MATERIALIZED (
        SELECT e.*, CASE WHEN c.status = 'intent' THEN c.credits ELSE 0 END AS reserved,
            CASE WHEN c.status = 'intent' THEN 0 ELSE c.credits END AS spent
        FROM jsonb_to_recordset(ends) AS e(id uuid, status text, finished_at timestamptz,
            credits numeric, http_status smallint, error_category text, error text, is_void boolean)
        JOIN provider_calls c USING (id)
        WHERE c.status IN ('intent', 'unknown') OR (e.is_void AND c.status IN ('failed', e.status))
        ORDER BY c.key, c.id FOR UPDATE OF c
    ), ended AS (
        UPDATE provider_calls c SET status = e.status, finished_at = e.finished_at,
            credits = e.credits, http_status = e.http_status, error_category = e.error_category,
            error = e.error
        FROM e WHERE c.id = e.id AND e.status IS NOT NULL
        RETURNING c.id, c.provider, c.budget_scopes, -e.reserved AS reserved,
            e.credits - e.spent AS spent
    ), cancelled AS (
        DELETE FROM provider_calls c USING e WHERE c.id = e.id AND e.status IS NULL
        RETURNING c.id, c.provider, c.budget_scopes, -e.reserved AS reserved, -e.spent AS spent
    ), moved AS (
        SELECT * FROM ended UNION ALL SELECT * FROM cancelled
    ), booked AS MATERIALIZED (
        SELECT book_credits((SELECT jsonb_agg(to_jsonb(moved)) FROM moved))
    )
    SELECT moved.id FROM moved, booked
$$
""")
    op.execute("""
CREATE FUNCTION admit_calls(
    requests jsonb, policies jsonb, horizon interval, _at timestamptz DEFAULT NULL
) RETURNS TABLE (id uuid, answer text, wait_seconds float8, detail text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    ids uuid[] := array(SELECT (value ->> 'id')::uuid FROM jsonb_array_elements(requests));
    keys bytea[] := array(SELECT DISTINCT (value ->> 'key')::bytea
        FROM jsonb_array_elements(requests) ORDER BY 1);
    given text[] := array_fill(NULL::text, ARRAY[cardinality(ids)]);
    waits float8[] := array_fill(NULL::float8, ARRAY[cardinality(ids)]);
    details text[] := given;
    numbers int[] := array_fill(0, ARRAY[cardinality(ids)]);
    at timestamptz;
    written uuid[];
    short record;
BEGIN
    INSERT INTO provider_rates (provider) SELECT * FROM jsonb_object_keys(policies) ORDER BY 1
        ON CONFLICT DO NOTHING;
    PERFORM 1 FROM provider_rates WHERE policies ? provider ORDER BY provider FOR UPDATE;
    at := coalesce(_at, clock_timestamp());
    -- Intents whose owner is gone: possibly paid.
    PERFORM end_calls((
        SELECT jsonb_agg(to_jsonb(gone)
            || jsonb_build_object('status', 'unknown', 'finished_at', at))
        FROM (SELECT c.* FROM provider_calls c WHERE c.key = ANY(keys) AND c.status = 'intent'
            AND c.shared AND c.id <> ALL(ids) AND NOT EXISTS (SELECT 1 FROM chunks
                WHERE chunks.id = c.chunk_id AND chunks.epoch = c.epoch AND chunks.status = 'owned')
            ORDER BY c.key FOR UPDATE) AS gone));
    SELECT array_agg(s.answer ORDER BY s.no), array_agg(s.wait ORDER BY s.no),
        array_agg(s.detail ORDER BY s.no), array_agg(s.attempt ORDER BY s.no)
    INTO given, waits, details, numbers
    FROM reserve_slots(requests, policies, horizon, at, ids) AS s;
    FOR short IN SELECT * FROM budget_shortages((
        SELECT coalesce(jsonb_agg(value || jsonb_build_object('no', n)), '[]')
        FROM jsonb_array_elements(requests) WITH ORDINALITY AS e(value, n)
        WHERE given[n] IS NULL AND (value ->> 'credits')::numeric > 0))
    LOOP
        given[short.no] := CASE WHEN short.is_spent THEN 'spent' ELSE 'reserved' END;
        details[short.no] := short.scope;
    END LOOP;
    WITH intents AS (
        INSERT INTO provider_calls (id, key, provider, operation, identity, freshness, shared,
            status, attempt, run_id, chunk_id, epoch, started_at, credits, budget_scopes)
        SELECT c.id, c.key, c.provider, c.operation, c.identity, c.freshness, c.shared, 'intent',
            numbers[n] + 1, c.run_id, c.chunk_id, c.epoch, c.started_at, c.credits,
            c.budget_scopes
        FROM jsonb_array_elements(requests) WITH ORDINALITY AS e(value, n),
            jsonb_populate_record(NULL::provider_calls, e.value) AS c
        WHERE given[n] IS NULL ORDER BY c.key ON CONFLICT DO NOTHING RETURNING id
    )
    SELECT coalesce(array_agg(intents.id), '{}') INTO written FROM intents;
    -- Of two requests with one shared key, the first is admitted.
    FOR n IN 1 .. cardinality(ids) LOOP
        IF given[n] IS NULL AND ids[n] <> ALL(written) THEN
            given[n] := 'in_flight';
        END IF;
    END LOOP;
    PERFORM book_credits((
        SELECT jsonb_agg(jsonb_build_object('provider', value -> 'provider', 'budget_scopes',
            value -> 'budget_scopes', 'reserved', value -> 'credits', 'spent', 0))
        FROM jsonb_array_elements(requests) WITH ORDINALITY AS e(value, n)
        WHERE given[n] IS NULL));
    RETURN QUERY SELECT g.id, coalesce(g.answer, 'admitted'), g.wait, g.detail
        FROM unnest(ids, given, waits, details) AS g(id, answer, wait, detail);
END $$
""")
    op.execute("""
CREATE FUNCTION charge_start(start jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    entry provider_calls := jsonb_populate_record(NULL::provider_calls, start);
    scopes jsonb := start -> 'scopes';
BEGIN
    INSERT INTO provider_calls SELECT entry.* ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        scopes := (SELECT coalesce(jsonb_agg(s), '[]') FROM jsonb_array_elements(scopes) AS s
            WHERE starts_with(s ->> 0, 'run:') OR starts_with(s ->> 0, 'backfill:'));
        UPDATE provider_calls c SET run_id = entry.run_id, chunk_id = entry.chunk_id,
            epoch = entry.epoch,
            budget_scopes = c.budget_scopes || jsonb_path_query_array(scopes, '$[*][0]')
        WHERE c.id = entry.id AND c.run_id IS NULL AND entry.run_id IS NOT NULL
        RETURNING c.credits INTO entry.credits;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;
    -- It makes the rows of the budgets that had no call yet.
    PERFORM budget_shortages(jsonb_build_array(jsonb_build_object('no', 1,
        'provider', entry.provider, 'credits', entry.credits, 'scopes', scopes)));
    PERFORM book_credits(jsonb_build_array(jsonb_build_object('provider', entry.provider,
        'budget_scopes', jsonb_path_query_array(scopes, '$[*][0]'),
        'reserved', 0, 'spent', entry.credits)));
END $$
""")
    op.execute("CREATE SCHEMA IF NOT EXISTS serpline_v1")
    op.execute(
        "COMMENT ON SCHEMA serpline_v1 IS 'Results of serpline, to be read. Views and columns are added, never removed or changed.'"
    )
    op.execute("""CREATE OR REPLACE VIEW serpline_v1.rankings AS SELECT v.run_id, v.collected_on, v.content_type, v.market, v.device, v.keyword_id, v.keyword, v.tags, v.landscape, v.state, v.rank, v.position, v.url, v.title, v.domain, v.company, v.company_name, v.relation, v.search_volume, v.volume_unknown_reason, v.collected_at, v.late_for FROM (
    SELECT
    l.run_id, l.collected_on, l.content_type, k.market, d.device, k.keyword_id, k.keyword,
    coalesce(t.tags, '{}') AS tags, l.landscape
, CASE WHEN p.run_id IS NULL THEN 'not collected'
            WHEN s.run_id IS NULL THEN 'not ranked' ELSE 'ranked' END AS state,
        s.rank, s.position, s.url, s.title, s.domain, z.company, coalesce(x.name, ps.display_name, ps.name, py.display_name, py.name,
            CASE WHEN z.company = 'youtube.com/channel/' || c.channel_id THEN c.title END
        ) AS company_name, x.relation, m.search_volume, m.unknown_reason AS volume_unknown_reason,
        p.collected_at, l.late_for
    FROM (
        SELECT b.*,
        CAST(coalesce((
            SELECT max(t.last_at) FROM unnest(ARRAY['organic', 'news', 'video']) AS k(kind), LATERAL (
                SELECT max(x.collected_at) AS last_at FROM serps x
                WHERE CAST(x.run_id AS text) || x.content_type
                    = CAST(b.serp_collection AS text) || k.kind
            ) t WHERE b.content_type IN (k.kind, 'all')
        ), b.created_at) AT TIME ZONE 'UTC' AS date)
            AS collected_on, o.config -> 'devices' AS devices, CASE WHEN o.config #>> '{backfill,is_late}' = 'true' OR o.config #>> '{backfill,kind}' = 'late' THEN o.scheduled_for END AS late_for
        FROM (
            SELECT s.id AS run_id, i.content_type, s.created_at,
                s.config ->> 'landscape' AS landscape,
                coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'keyword_metrics' LIMIT 1), s.id) AS keyword_metrics, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'serp_collection' LIMIT 1), s.id) AS serp_collection, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'company_enrichment_serp' LIMIT 1), s.id) AS company_enrichment_serp, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'youtube_enrichment' LIMIT 1), s.id) AS youtube_enrichment, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'company_enrichment_youtube' LIMIT 1), s.id) AS company_enrichment_youtube, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'dsi_calculation' LIMIT 1), s.id) AS dsi_calculation
            FROM pipeline_executions s JOIN pipeline_phase_status i
                ON i.pipeline_execution_id = s.id AND i.phase_name = 'serp_collection'
            WHERE s.expired_at IS NULL
            GROUP BY s.id, i.content_type
        ) b JOIN pipeline_executions o ON o.id = b.serp_collection
        GROUP BY b.run_id, b.content_type, b.created_at, b.landscape,
            b.keyword_metrics, b.serp_collection, b.company_enrichment_serp, b.youtube_enrichment, b.company_enrichment_youtube, b.dsi_calculation, o.id
    ) l
    JOIN run_keywords k ON k.run_id = l.serp_collection
    CROSS JOIN LATERAL jsonb_array_elements_text(coalesce(l.devices, '["desktop"]')) AS d(device)
    LEFT JOIN serps p ON p.run_id = l.serp_collection AND p.content_type = l.content_type
        AND p.keyword_id = k.keyword_id AND p.market = k.market AND p.device = d.device
    LEFT JOIN keyword_metrics m ON m.run_id = l.keyword_metrics
        AND m.keyword_id = k.keyword_id AND m.market = k.market
    LEFT JOIN keyword_markets t ON t.keyword_id = k.keyword_id AND t.market = k.market
    LEFT JOIN serp_results s ON s.run_id = l.serp_collection
        AND s.content_type = l.content_type AND s.keyword_id = k.keyword_id
        AND s.market = k.market AND s.device = d.device
    LEFT JOIN youtube_videos v
        ON v.run_id = l.youtube_enrichment AND v.video_id = s.video_id
    LEFT JOIN youtube_channel_refs f
        ON f.run_id = l.youtube_enrichment AND f.ref = s.channel_ref
    LEFT JOIN youtube_channels c ON c.run_id = l.youtube_enrichment AND c.found
        AND c.channel_id = coalesce(v.channel_id, f.channel_id, s.channel_ref)
    LEFT JOIN channel_owners o ON o.run_id = l.company_enrichment_youtube
        AND o.channel_id = c.channel_id
    CROSS JOIN LATERAL (SELECT
    CASE WHEN s.video_id IS NULL AND s.channel_ref IS NULL THEN nullif(s.domain, '')
         WHEN o.domain IS NOT NULL THEN o.domain
         ELSE 'youtube.com/channel/' || c.channel_id END
 AS company) q
    LEFT JOIN run_company_aliases a ON a.run_id = l.dsi_calculation
        AND a.content_type = s.content_type AND a.domain = q.company
    CROSS JOIN LATERAL (SELECT coalesce(a.company, q.company) AS company) z
    LEFT JOIN company_profiles ps
        ON ps.run_id = l.company_enrichment_serp AND ps.domain = z.company
    LEFT JOIN company_profiles py
        ON py.run_id = l.company_enrichment_youtube AND py.domain = z.company
    LEFT JOIN companies x ON x.domain = z.company
) v""")
    op.execute(
        'COMMENT ON VIEW serpline_v1.rankings IS \'One row per result of a search page. A planned search without a result has one row: "not ranked" if its page was collected, "not collected" if not.\''
    )
    op.execute("COMMENT ON COLUMN serpline_v1.rankings.run_id IS 'The run. See the view runs.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.collected_on IS 'The run''s date for the content type: the day of its last search. The day on which the run was created where no search came. Unit: day, UTC.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.rankings.content_type IS 'organic, news or video.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.market IS 'The market''s code, such as US or CH-fr.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.rankings.device IS 'desktop, mobile or tablet.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.keyword_id IS 'The keyword. See the view keywords.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.keyword IS 'The keyword as the run searched it.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.tags IS 'The tags that the keyword has in this market now.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.landscape IS 'The landscape to which the run was limited. Null: all keywords.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.state IS 'ranked, not ranked or not collected.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.rank IS 'The result''s number among the results of its type, from 1.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.position IS 'The result''s place on the whole page, from 1, on which the CTR rests.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.url IS 'The result''s address as the page had it.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.rankings.title IS 'The result''s title.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.domain IS 'The registrable domain of the address.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.company IS 'The company''s key: its registrable domain. youtube.com/channel/ID for a channel without a known owner. Merged domains have the key of the company that they were merged into.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.company_name IS 'The name that a person gave, or else the brand''s. Null: not known.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.relation IS 'ours or competitor, as marked now. Null: not marked.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.search_volume IS 'How often people search the keyword in the market. Null: not known. Unit: searches per month.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.volume_unknown_reason IS 'Why the volume is not known. Null: it is known, or was not asked for.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.collected_at IS 'When the page was collected. Null: not collected. Unit: UTC.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.rankings.late_for IS 'The time of the schedule''s slot that a late snapshot stands for. Null: not late. Unit: UTC.'"
    )
    op.execute("""CREATE OR REPLACE VIEW serpline_v1.serps AS SELECT v.run_id, v.collected_on, v.content_type, v.market, v.device, v.keyword_id, v.keyword, v.tags, v.landscape, v.state, v.results, v.total_results, v.ai_overview, v.search_volume, v.volume_unknown_reason, v.source, v.collected_at, v.late_for FROM (
    SELECT
    l.run_id, l.collected_on, l.content_type, k.market, d.device, k.keyword_id, k.keyword,
    coalesce(t.tags, '{}') AS tags, l.landscape
, CASE WHEN p.run_id IS NULL THEN 'not collected' ELSE 'collected' END AS state,
        p.results, p.total_results, p.ai_overview, m.search_volume,
        m.unknown_reason AS volume_unknown_reason, p.source, p.collected_at, l.late_for
    FROM (
        SELECT b.*,
        CAST(coalesce((
            SELECT max(t.last_at) FROM unnest(ARRAY['organic', 'news', 'video']) AS k(kind), LATERAL (
                SELECT max(x.collected_at) AS last_at FROM serps x
                WHERE CAST(x.run_id AS text) || x.content_type
                    = CAST(b.serp_collection AS text) || k.kind
            ) t WHERE b.content_type IN (k.kind, 'all')
        ), b.created_at) AT TIME ZONE 'UTC' AS date)
            AS collected_on, o.config -> 'devices' AS devices, CASE WHEN o.config #>> '{backfill,is_late}' = 'true' OR o.config #>> '{backfill,kind}' = 'late' THEN o.scheduled_for END AS late_for
        FROM (
            SELECT s.id AS run_id, i.content_type, s.created_at,
                s.config ->> 'landscape' AS landscape,
                coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'keyword_metrics' LIMIT 1), s.id) AS keyword_metrics, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'serp_collection' LIMIT 1), s.id) AS serp_collection, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'company_enrichment_serp' LIMIT 1), s.id) AS company_enrichment_serp, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'youtube_enrichment' LIMIT 1), s.id) AS youtube_enrichment, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'company_enrichment_youtube' LIMIT 1), s.id) AS company_enrichment_youtube, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'dsi_calculation' LIMIT 1), s.id) AS dsi_calculation
            FROM pipeline_executions s JOIN pipeline_phase_status i
                ON i.pipeline_execution_id = s.id AND i.phase_name = 'serp_collection'
            WHERE s.expired_at IS NULL
            GROUP BY s.id, i.content_type
        ) b JOIN pipeline_executions o ON o.id = b.serp_collection
        GROUP BY b.run_id, b.content_type, b.created_at, b.landscape,
            b.keyword_metrics, b.serp_collection, b.company_enrichment_serp, b.youtube_enrichment, b.company_enrichment_youtube, b.dsi_calculation, o.id
    ) l
    JOIN run_keywords k ON k.run_id = l.serp_collection
    CROSS JOIN LATERAL jsonb_array_elements_text(coalesce(l.devices, '["desktop"]')) AS d(device)
    LEFT JOIN serps p ON p.run_id = l.serp_collection AND p.content_type = l.content_type
        AND p.keyword_id = k.keyword_id AND p.market = k.market AND p.device = d.device
    LEFT JOIN keyword_metrics m ON m.run_id = l.keyword_metrics
        AND m.keyword_id = k.keyword_id AND m.market = k.market
    LEFT JOIN keyword_markets t ON t.keyword_id = k.keyword_id AND t.market = k.market
) v""")
    op.execute(
        "COMMENT ON VIEW serpline_v1.serps IS 'One row per planned search: keyword, market, device and content type.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.serps.run_id IS 'The run. See the view runs.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.serps.collected_on IS 'The run''s date for the content type: the day of its last search. The day on which the run was created where no search came. Unit: day, UTC.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.serps.content_type IS 'organic, news or video.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.serps.market IS 'The market''s code, such as US or CH-fr.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.serps.device IS 'desktop, mobile or tablet.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.serps.keyword_id IS 'The keyword. See the view keywords.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.serps.keyword IS 'The keyword as the run searched it.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.serps.tags IS 'The tags that the keyword has in this market now.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.serps.landscape IS 'The landscape to which the run was limited. Null: all keywords.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.serps.state IS 'collected or not collected.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.serps.results IS 'Results of the type on the page. 0: not ranked by anyone.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.serps.total_results IS 'Results that the search engine estimates. Null: it gave no number.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.serps.ai_overview IS 'Whether the page shows an AI overview. Null: the search did not ask.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.serps.search_volume IS 'How often people search the keyword in the market. Null: not known. Unit: searches per month.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.serps.volume_unknown_reason IS 'Why the volume is not known. Null: it is known, or was not asked for.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.serps.source IS 'The provider that collected the page.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.serps.collected_at IS 'When the page was collected. Null: not collected. Unit: UTC.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.serps.late_for IS 'The time of the schedule''s slot that a late snapshot stands for. Null: not late. Unit: UTC.'"
    )
    op.execute("""CREATE OR REPLACE VIEW serpline_v1.dsi AS SELECT v.run_id, v.collected_on, v.content_type, v.market, v.device, v.company, v.company_name, v.relation, v.landscape, v.rank, v.dsi, v.completeness, v.coverage, v.keywords_ranked, v.keywords_collected, v.keywords_planned, v.traffic_share, v.traffic, v.traffic_total, v.share_unweighted, v.share_of_first, v.share_of_volume, v.relevance, v.relevance_basis, v.results, v.unknown_volume_keywords, v.unknown_ai_overview_keywords, v.unanalysed_results, v.curve, v.curve_version, v.proxy, v.sources, v.stale_types, v.late_types, v.merged_domains FROM (
    SELECT
    l.run_id, l.collected_on, d.content_type, d.market, d.device, d.company,
    coalesce(x.name, ps.display_name, ps.name, py.display_name, py.name, y.title) AS company_name, x.relation, l.landscape
, CAST(d.detail ->> 'rank' AS bigint) AS rank, d.dsi, d.completeness,
        d.coverage, d.keywords_ranked, d.keywords_collected, d.keywords_planned, d.traffic_share,
        d.traffic, d.traffic_total, d.share_unweighted,
    CAST(d.detail ->> 'share_of_first' AS double precision) AS share_of_first,
    CAST(d.detail ->> 'share_of_volume' AS double precision) AS share_of_volume
, d.relevance,
        d.relevance_basis, d.results,
        d.unknown_volume_keywords, d.unknown_ai_overview_keywords, d.unanalysed_results,
        d.curve, d.curve_version, d.proxy, d.sources,
    ARRAY(SELECT e ->> 'content_type' FROM jsonb_array_elements(d.sources)
        WITH ORDINALITY AS u(e, n) WHERE CAST(e ->> 'stale' AS boolean) ORDER BY n)
 AS stale_types,
    ARRAY(SELECT e ->> 'content_type' FROM jsonb_array_elements(d.sources)
        WITH ORDINALITY AS u(e, n) WHERE e ->> 'late_for' IS NOT NULL ORDER BY n)
 AS late_types,
        ARRAY(SELECT jsonb_array_elements_text(coalesce(d.detail -> 'merged', '[]')))
            AS merged_domains
    FROM (
        SELECT b.*,
        CAST(coalesce((
            SELECT max(t.last_at) FROM unnest(ARRAY['organic', 'news', 'video']) AS k(kind), LATERAL (
                SELECT max(x.collected_at) AS last_at FROM serps x
                WHERE CAST(x.run_id AS text) || x.content_type
                    = CAST(b.serp_collection AS text) || k.kind
            ) t WHERE b.content_type IN (k.kind, 'all')
        ), b.created_at) AT TIME ZONE 'UTC' AS date)
            AS collected_on, o.config -> 'devices' AS devices, CASE WHEN o.config #>> '{backfill,is_late}' = 'true' OR o.config #>> '{backfill,kind}' = 'late' THEN o.scheduled_for END AS late_for
        FROM (
            SELECT s.id AS run_id, i.content_type, s.created_at,
                s.config ->> 'landscape' AS landscape,
                coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'keyword_metrics' LIMIT 1), s.id) AS keyword_metrics, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'serp_collection' LIMIT 1), s.id) AS serp_collection, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'company_enrichment_serp' LIMIT 1), s.id) AS company_enrichment_serp, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'youtube_enrichment' LIMIT 1), s.id) AS youtube_enrichment, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'company_enrichment_youtube' LIMIT 1), s.id) AS company_enrichment_youtube, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'dsi_calculation' LIMIT 1), s.id) AS dsi_calculation
            FROM pipeline_executions s JOIN pipeline_phase_status i
                ON i.pipeline_execution_id = s.id AND i.phase_name = 'dsi_calculation'
            WHERE s.expired_at IS NULL
            GROUP BY s.id, i.content_type
        ) b JOIN pipeline_executions o ON o.id = b.serp_collection
        GROUP BY b.run_id, b.content_type, b.created_at, b.landscape,
            b.keyword_metrics, b.serp_collection, b.company_enrichment_serp, b.youtube_enrichment, b.company_enrichment_youtube, b.dsi_calculation, o.id
    ) l
    JOIN dsi_scores d ON d.run_id = l.run_id AND d.content_type = l.content_type
    LEFT JOIN company_profiles ps
        ON ps.run_id = l.company_enrichment_serp AND ps.domain = d.company
    LEFT JOIN company_profiles py
        ON py.run_id = l.company_enrichment_youtube AND py.domain = d.company
    LEFT JOIN companies x ON x.domain = d.company
    LEFT JOIN youtube_channels y ON y.run_id = l.youtube_enrichment AND y.found
        AND y.channel_id = CASE WHEN starts_with(d.company, 'youtube.com/channel/')
            THEN substr(d.company, 21) END
) v""")
    op.execute(
        "COMMENT ON VIEW serpline_v1.dsi IS 'The Digital Share Index of each company, with every component. One row per run, content type, market, device and company that ranks. A component that is not known is null, never 0.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.dsi.run_id IS 'The run. See the view runs.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.collected_on IS 'The run''s date for the content type: the day of its last search. The day on which the run was created where no search came. Unit: day, UTC.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.content_type IS 'organic, news or video; all: the combined DSI.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.market IS 'The market''s code, such as US or CH-fr.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.dsi.device IS 'desktop, mobile or tablet.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.company IS 'The company''s key: its registrable domain. youtube.com/channel/ID for a channel without a known owner. Merged domains have the key of the company that they were merged into.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.company_name IS 'The name that a person gave, or else the brand''s. Null: not known.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.relation IS 'ours or competitor, as marked now. Null: not marked.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.landscape IS 'The landscape to which the run was limited. Null: all keywords.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.rank IS 'The place by DSI in its content type, market and device, from 1. Null: no DSI.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.dsi IS '100 · coverage · traffic share · relevance. Null: not known. Unit: 0 to 100.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.completeness IS 'complete, or partial with what is not known, as in: partial: volumes, relevance. Named are volumes, traffic, owners and relevance.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.coverage IS 'Keywords for which the company ranks, of those collected. Unit: 0 to 1.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.keywords_ranked IS 'Searches in which the company ranks.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.keywords_collected IS 'Searches that were collected: the divisor of coverage.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.keywords_planned IS 'Searches that the run planned.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.traffic_share IS 'The company''s traffic divided by the traffic of all results. Null: not known, and in the combined DSI. Unit: 0 to 1.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.traffic IS 'Sum of volume · CTR · AI overview factor over its results. Unit: estimated visits per month.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.traffic_total IS 'The same sum over the results of all companies. Unit: estimated visits per month.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.share_unweighted IS 'The share of results if every keyword counts alike: the sum of CTR · AI overview factor over its results, divided by that of all results. Known without volumes. Null: not known, and in the combined DSI. Unit: 0 to 1.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.share_of_first IS 'The traffic of its best result for each keyword, divided by the traffic of position 1 for every collected keyword. Null: not known. Unit: 0 to 1.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.share_of_volume IS 'The company''s traffic divided by the volume of all collected keywords. Null: not known. Unit: 0 to 1.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.relevance IS 'Mean relevance of the company''s analysed URLs. Null: none was analysed. Unit: 0 to 1.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.relevance_basis IS 'URLs whose relevance is known.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.dsi.results IS 'Results of the company.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.unknown_volume_keywords IS 'Its keywords whose volume is not known, imputed or left out.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.unknown_ai_overview_keywords IS 'Its keywords whose search did not ask for AI overviews.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.unanalysed_results IS 'Its results without a known relevance.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.dsi.curve IS 'The click-through curve.'")
    op.execute("COMMENT ON COLUMN serpline_v1.dsi.curve_version IS 'The version of the curve.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.proxy IS 'Whether the curve was measured on another type of results.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.sources IS 'A JSON list: for each content type in the figure the run that collected it, the day, searches planned and collected, whether it is stale, and the slot of a late snapshot.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.stale_types IS 'Content types whose searches were stale in the combined DSI.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.late_types IS 'Content types from a late snapshot.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.dsi.merged_domains IS 'Domains that were merged into the company when the figure was computed.'"
    )
    op.execute("""CREATE OR REPLACE VIEW serpline_v1.share_of_voice AS SELECT v.run_id, v.collected_on, v.content_type, v.market, v.device, v.company, v.company_name, v.relation, v.landscape, v.completeness, v.share_of_results, v.share_unweighted, v.share_of_first, v.share_of_volume, v.traffic, v.traffic_total, v.keywords_ranked, v.keywords_collected, v.keywords_planned, v.unknown_volume_keywords, v.curve, v.curve_version, v.proxy FROM (
    SELECT
    l.run_id, l.collected_on, d.content_type, d.market, d.device, d.company,
    coalesce(x.name, ps.display_name, ps.name, py.display_name, py.name, y.title) AS company_name, x.relation, l.landscape
, replace(replace(d.completeness, ', relevance', ''), 'partial: relevance', 'complete') AS completeness,
        d.traffic_share AS share_of_results, d.share_unweighted,
    CAST(d.detail ->> 'share_of_first' AS double precision) AS share_of_first,
    CAST(d.detail ->> 'share_of_volume' AS double precision) AS share_of_volume
, d.traffic, d.traffic_total, d.keywords_ranked, d.keywords_collected,
        d.keywords_planned, d.unknown_volume_keywords, d.curve, d.curve_version, d.proxy
    FROM (
        SELECT b.*,
        CAST(coalesce((
            SELECT max(t.last_at) FROM unnest(ARRAY['organic', 'news', 'video']) AS k(kind), LATERAL (
                SELECT max(x.collected_at) AS last_at FROM serps x
                WHERE CAST(x.run_id AS text) || x.content_type
                    = CAST(b.serp_collection AS text) || k.kind
            ) t WHERE b.content_type IN (k.kind, 'all')
        ), b.created_at) AT TIME ZONE 'UTC' AS date)
            AS collected_on, o.config -> 'devices' AS devices, CASE WHEN o.config #>> '{backfill,is_late}' = 'true' OR o.config #>> '{backfill,kind}' = 'late' THEN o.scheduled_for END AS late_for
        FROM (
            SELECT s.id AS run_id, i.content_type, s.created_at,
                s.config ->> 'landscape' AS landscape,
                coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'keyword_metrics' LIMIT 1), s.id) AS keyword_metrics, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'serp_collection' LIMIT 1), s.id) AS serp_collection, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'company_enrichment_serp' LIMIT 1), s.id) AS company_enrichment_serp, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'youtube_enrichment' LIMIT 1), s.id) AS youtube_enrichment, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'company_enrichment_youtube' LIMIT 1), s.id) AS company_enrichment_youtube, coalesce((SELECT x.source_run_id FROM pipeline_phase_status x WHERE x.pipeline_execution_id = s.id AND x.phase_name = 'dsi_calculation' LIMIT 1), s.id) AS dsi_calculation
            FROM pipeline_executions s JOIN pipeline_phase_status i
                ON i.pipeline_execution_id = s.id AND i.phase_name = 'dsi_calculation'
            WHERE s.expired_at IS NULL
            GROUP BY s.id, i.content_type
        ) b JOIN pipeline_executions o ON o.id = b.serp_collection
        GROUP BY b.run_id, b.content_type, b.created_at, b.landscape,
            b.keyword_metrics, b.serp_collection, b.company_enrichment_serp, b.youtube_enrichment, b.company_enrichment_youtube, b.dsi_calculation, o.id
    ) l
    JOIN dsi_scores d ON d.run_id = l.run_id AND d.content_type = l.content_type
    LEFT JOIN company_profiles ps
        ON ps.run_id = l.company_enrichment_serp AND ps.domain = d.company
    LEFT JOIN company_profiles py
        ON py.run_id = l.company_enrichment_youtube AND py.domain = d.company
    LEFT JOIN companies x ON x.domain = d.company
    LEFT JOIN youtube_channels y ON y.run_id = l.youtube_enrichment AND y.found
        AND y.channel_id = CASE WHEN starts_with(d.company, 'youtube.com/channel/')
            THEN substr(d.company, 21) END
    WHERE d.content_type <> 'all'
) v""")
    op.execute(
        "COMMENT ON VIEW serpline_v1.share_of_voice IS 'The share of voice of each company, by its three usual denominators, and unweighted. One row per run, content type, market, device and company that ranks. There is none of all content types together.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.run_id IS 'The run. See the view runs.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.collected_on IS 'The run''s date for the content type: the day of its last search. The day on which the run was created where no search came. Unit: day, UTC.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.content_type IS 'organic, news or video.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.market IS 'The market''s code, such as US or CH-fr.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.device IS 'desktop, mobile or tablet.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.company IS 'The company''s key: its registrable domain. youtube.com/channel/ID for a channel without a known owner. Merged domains have the key of the company that they were merged into.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.company_name IS 'The name that a person gave, or else the brand''s. Null: not known.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.relation IS 'ours or competitor, as marked now. Null: not marked.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.landscape IS 'The landscape to which the run was limited. Null: all keywords.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.completeness IS 'complete, or partial with what is not known, as in: partial: volumes, relevance. Named are volumes, traffic, owners and relevance.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.share_of_results IS 'The company''s traffic divided by that of all results. Null: not known. Unit: 0 to 1.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.share_unweighted IS 'The share of results if every keyword counts alike: the sum of CTR · AI overview factor over its results, divided by that of all results. Known without volumes. Null: not known, and in the combined DSI. Unit: 0 to 1.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.share_of_first IS 'The traffic of its best result for each keyword, divided by the traffic of position 1 for every collected keyword. Null: not known. Unit: 0 to 1.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.share_of_volume IS 'The company''s traffic divided by the volume of all collected keywords. Null: not known. Unit: 0 to 1.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.traffic IS 'Sum of volume · CTR · AI overview factor over its results. Unit: estimated visits per month.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.traffic_total IS 'The same sum over the results of all companies. Unit: estimated visits per month.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.keywords_ranked IS 'Searches in which the company ranks.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.keywords_collected IS 'Searches that were collected: the divisor of coverage.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.keywords_planned IS 'Searches that the run planned.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.unknown_volume_keywords IS 'Its keywords whose volume is not known, imputed or left out.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.share_of_voice.curve IS 'The click-through curve.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.curve_version IS 'The version of the curve.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.share_of_voice.proxy IS 'Whether the curve was measured on another type of results.'"
    )
    op.execute("""CREATE OR REPLACE VIEW serpline_v1.keywords AS SELECT v.keyword_id, v.keyword, v.market, v.market_name, v.language, v.tags, v.landscapes, v.search_volume, v.volume_unknown_reason, v.cpc, v.competition, v.competition_index, v.monthly_searches, v.volume_source, v.volume_fetched_at, v.created_at FROM (
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
) v""")
    op.execute(
        "COMMENT ON VIEW serpline_v1.keywords IS 'One row per keyword and market of the project, with its newest volume.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.keywords.keyword_id IS 'The keyword''s number, in order of import.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.keywords.keyword IS 'The keyword in the spelling that was imported first.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.keywords.market IS 'The market''s code, such as US or CH-fr.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.keywords.market_name IS 'The market''s name.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.keywords.language IS 'The market''s language, a BCP 47 tag.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.keywords.tags IS 'The keyword''s tags in this market.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.keywords.landscapes IS 'The landscapes that have the keyword.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.keywords.search_volume IS 'How often people search the keyword in the market. Null: not known. Unit: searches per month.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.keywords.volume_unknown_reason IS 'Why the volume is not known. Null: it is known, or was not asked for.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.keywords.cpc IS 'The cost of a click on an advertisement. Null: not known. Unit: US$.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.keywords.competition IS 'Competition among advertisers: LOW, MEDIUM or HIGH. Null: not known.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.keywords.competition_index IS 'Competition among advertisers. Null: not known. Unit: 0 to 100.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.keywords.monthly_searches IS 'A JSON list of months with their searches. Null: not known.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.keywords.volume_source IS 'The provider of the volume.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.keywords.volume_fetched_at IS 'When the volume was bought. Unit: UTC.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.keywords.created_at IS 'When the keyword was first imported. Unit: UTC.'"
    )
    op.execute("""CREATE OR REPLACE VIEW serpline_v1.companies AS SELECT v.company, v.company_name, v.relation, v.merged_into, v.merged_at, v.found, v.source_name, v.industry, v.industry_code, v.industry_name, v.industry_group, v.country, v.country_code, v.employee_count, v.size, v.founded, v.linkedin_url, v.ticker, v.parent, v.source, v.fetched_at FROM (
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
            SELECT domain, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM companies
        ) u ORDER BY u.domain, u.fetched_at DESC NULLS LAST
    ) p LEFT JOIN companies x ON x.domain = p.domain
) v""")
    op.execute(
        "COMMENT ON VIEW serpline_v1.companies IS 'One row per company with a mark, a name, a merge or a profile (the newest one).'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.company IS 'The company''s key: its registrable domain.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.company_name IS 'The name that a person gave, or else the brand''s. Null: not known.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.relation IS 'ours or competitor, as marked now. Null: not marked.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.merged_into IS 'The company that it counts as in figures from now on. Null: it is not merged.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.merged_at IS 'When it was merged. Unit: UTC.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.found IS 'Whether a source knows the domain. Null: no source was asked.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.source_name IS 'The name as the source writes it.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.industry IS 'The industry as the source writes it.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.industry_code IS 'The industry''s code in LinkedIn''s Industry Codes V2. Null: it has none there.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.industry_name IS 'The industry''s name in that scheme.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.industry_group IS 'The name of the group above it in that scheme.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.country IS 'The country as the source writes it.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.country_code IS 'The country''s code, ISO 3166-1 alpha-2.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.employee_count IS 'Employees. Null: not known.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.size IS 'A range of employees, such as 51-200 or 10001+.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.founded IS 'The year in which the company was founded. Unit: year.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.linkedin_url IS 'The address of its page at LinkedIn.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.companies.ticker IS 'The symbol of its share.'")
    op.execute("COMMENT ON COLUMN serpline_v1.companies.parent IS 'The company that owns it.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.source IS 'The source of the profile: pdl or wikidata.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.companies.fetched_at IS 'When the source was asked. Unit: UTC.'"
    )
    op.execute("""CREATE OR REPLACE VIEW serpline_v1.runs AS SELECT v.run_id, v.collected_on, v.status, v.mode, v.schedule, v.scheduled_for, v.created_at, v.started_at, v.completed_at, v.paused_seconds, v.content_types, v.markets, v.devices, v.landscape, v.is_tracked, v.searches_of, v.backfill_kind, v.replaces, v.late_for, v.error FROM (
    SELECT r.id AS run_id,
        CAST(coalesce((
            SELECT max(t.last_at) FROM unnest(ARRAY['organic', 'news', 'video']) AS k(kind), LATERAL (
                SELECT max(x.collected_at) AS last_at FROM serps x
                WHERE CAST(x.run_id AS text) || x.content_type
                    = CAST(o.id AS text) || k.kind
            ) t WHERE 'all' IN (k.kind, 'all')
        ), r.created_at) AT TIME ZONE 'UTC' AS date)
            AS collected_on, r.status, r.mode, r.config ->> 'schedule' AS schedule,
        r.scheduled_for, r.created_at, r.started_at, r.completed_at, r.paused_seconds,
        ARRAY(SELECT l.content_type FROM pipeline_phase_status l
            WHERE l.pipeline_execution_id = r.id
            AND l.phase_name = 'serp_collection' ORDER BY l.id) AS content_types,
    ARRAY(WITH RECURSIVE m(market) AS (
        (SELECT k.market FROM run_keywords k WHERE k.run_id = r.id ORDER BY 1 LIMIT 1)
        UNION ALL
        SELECT (SELECT k.market FROM run_keywords k WHERE k.run_id = r.id AND k.market > m.market
            ORDER BY 1 LIMIT 1) FROM m WHERE m.market IS NOT NULL
    ) SELECT market FROM m WHERE market IS NOT NULL)
 AS markets,
        ARRAY(SELECT jsonb_array_elements_text(coalesce(o.config -> 'devices', '["desktop"]')))
            AS devices,
        r.config ->> 'landscape' AS landscape,
        EXISTS (SELECT FROM pipeline_phase_status l
            WHERE l.pipeline_execution_id = r.id AND l.phase_name = 'serp_collection'
            AND coalesce(CAST(r.config #>> ARRAY['lanes', l.content_type,
                'enable_historical_tracking'] AS boolean),
                CAST(r.config ->> 'enable_historical_tracking' AS boolean), true)) AS is_tracked,
        o.id AS searches_of, r.config #>> '{backfill,kind}' AS backfill_kind,
        CAST(r.config #>> '{backfill,run_id}' AS uuid) AS replaces, CASE WHEN o.config #>> '{backfill,is_late}' = 'true' OR o.config #>> '{backfill,kind}' = 'late' THEN o.scheduled_for END AS late_for,
        r.error_message AS error
    FROM pipeline_executions r
    JOIN pipeline_executions o ON o.id = coalesce((SELECT l.source_run_id
        FROM pipeline_phase_status l WHERE l.pipeline_execution_id = r.id
        AND l.phase_name = 'serp_collection' LIMIT 1), r.id)
    WHERE r.expired_at IS NULL
) v""")
    op.execute("COMMENT ON VIEW serpline_v1.runs IS 'One row per run of the pipeline.'")
    op.execute("COMMENT ON COLUMN serpline_v1.runs.run_id IS 'The run.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.runs.collected_on IS 'The day of its last search of any content type. The day on which it was created where no search came. Unit: day, UTC.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.runs.status IS 'pending, running, paused, completed, completed_with_errors, failed or cancelled.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.runs.mode IS 'scheduled, manual or testing.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.runs.schedule IS 'The name of its schedule. Null: started by a person.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.runs.scheduled_for IS 'The slot''s time of a scheduled run. Unit: UTC.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.runs.created_at IS 'When it was created. Unit: UTC.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.runs.started_at IS 'When its work started. Unit: UTC.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.runs.completed_at IS 'When it ended. Unit: UTC.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.runs.paused_seconds IS 'How long it was paused between its start and its end, or had ended before a retry. Unit: seconds.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.runs.content_types IS 'The content types that it covers.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.runs.markets IS 'The markets of its keywords.'")
    op.execute("COMMENT ON COLUMN serpline_v1.runs.devices IS 'The devices of its searches.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.runs.landscape IS 'The landscape to which the run was limited. Null: all keywords.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.runs.is_tracked IS 'Whether results of any of its content types are part of trends and later combined figures.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.runs.searches_of IS 'The run whose search results it reads: itself, or the run given by inputs_from.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.runs.backfill_kind IS 'refetch, late or recompute if it stands for a past slot. Null: it does not.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.runs.replaces IS 'The earlier run in whose place it stands.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.runs.late_for IS 'The time of the schedule''s slot that a late snapshot stands for. Null: not late. Unit: UTC.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.runs.error IS 'Why it failed.'")
    op.execute("""CREATE OR REPLACE VIEW serpline_v1.slots AS SELECT v.schedule, v.scheduled_for, v.content_type, v.outcome, v.reason_code, v.reason, v.start_at, v.deadline_at, v.started_at, v.caught_up, v.run_id, v.run_status, v.run_ended_at, v.succeeded, v.backfill_id, v.version FROM (
    SELECT s.schedule_id AS schedule, s.scheduled_for, s.content_type, s.outcome, s.reason_code,
        s.reason, s.start_at, s.deadline_at, s.started_at, s.caught_up, s.run_id, s.run_status,
        s.run_ended_at, s.succeeded, s.backfill_id, s.version
    FROM schedule_slots s
) v""")
    op.execute(
        "COMMENT ON VIEW serpline_v1.slots IS 'One row per time of a schedule and content type, with what became of it.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.slots.schedule IS 'The schedule''s name.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.slots.scheduled_for IS 'The time as the schedule has it. Unit: UTC.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.slots.content_type IS 'organic, news or video.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.slots.outcome IS 'due, started, skipped, missed or backfilled.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.slots.reason_code IS 'Why, as one of a few codes.'")
    op.execute("COMMENT ON COLUMN serpline_v1.slots.reason IS 'Why, as a sentence.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.slots.start_at IS 'The scheduled time with the jitter. Unit: UTC.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.slots.deadline_at IS 'After this time it is not started. Unit: UTC.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.slots.started_at IS 'When its run was created. Unit: UTC.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.slots.caught_up IS 'Whether it was decided after a time without a scheduler.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.slots.run_id IS 'Its run. Null: there is none.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.slots.run_status IS 'How the run ended. Null: it has not ended.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.slots.run_ended_at IS 'When the run ended. Unit: UTC.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.slots.succeeded IS 'Whether figures of the content type were computed. Null: not yet.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.slots.backfill_id IS 'The backfill that filled it. Null: none.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.slots.version IS 'The version of the schedule that decided it.'"
    )
    op.execute("""CREATE OR REPLACE VIEW serpline_v1.spend AS SELECT v.spent_on, v.run_id, v.phase, v.content_type, v.provider, v.calls, v.failed_calls, v.unknown_calls, v.credits FROM (
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
) v""")
    op.execute(
        "COMMENT ON VIEW serpline_v1.spend IS 'Calls to providers and their credits, by day, run, phase, content type and provider.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.spend.spent_on IS 'The day on which the calls were made. Unit: day, UTC.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.spend.run_id IS 'The run. Null: a start by the provider itself, not yet of a run.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.spend.phase IS 'The phase that made the calls.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.spend.content_type IS 'organic, news or video; all: for every content type.'"
    )
    op.execute("COMMENT ON COLUMN serpline_v1.spend.provider IS 'The provider that was called.'")
    op.execute("COMMENT ON COLUMN serpline_v1.spend.calls IS 'Calls that have ended.'")
    op.execute("COMMENT ON COLUMN serpline_v1.spend.failed_calls IS 'Calls that failed.'")
    op.execute(
        "COMMENT ON COLUMN serpline_v1.spend.unknown_calls IS 'Calls whose worker died before their end was stored. Their credits count in full.'"
    )
    op.execute(
        "COMMENT ON COLUMN serpline_v1.spend.credits IS 'What the calls cost. Unit: the provider''s own credits.'"
    )
