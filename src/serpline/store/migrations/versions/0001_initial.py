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
        sa.Column("relation", sa.Text(), nullable=False),
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
