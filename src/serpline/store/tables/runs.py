"""Runs, lanes, chunks, items and workers: the state of all work; jobs are only hints to it."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from serpline.domain.names import ContentType, PhaseName, PipelineMode
from serpline.domain.states import ChunkStatus, LaneStatus, RunStatus, StateStatus
from serpline.domain.waits import WaitCause
from serpline.store.tables.base import NOW, ZERO, Instant, metadata, one_of

SESSION_NAME = text("current_setting('application_name')")

pipeline_executions = Table(
    "pipeline_executions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("status", Text, nullable=False, server_default=RunStatus.PENDING),
    Column("mode", Text, nullable=False),
    Column("config", JSONB, nullable=False),
    Column("scheduled_for", Instant),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    Column("started_at", Instant),
    Column("completed_at", Instant),
    # Since when it is paused; and how long it was paused before, or had ended before a retry.
    Column("paused_at", Instant),
    Column("paused_seconds", Float, nullable=False, server_default=ZERO),
    Column("next_check_at", Instant),
    Column("error_message", Text),
    # When its items were pruned. NULL again after a retry, which may plan new ones.
    Column("items_pruned_at", Instant),
    # When its results expired. Nothing reads the run any more, and it is being deleted.
    Column("expired_at", Instant),
    one_of("status", RunStatus),
    one_of("mode", PipelineMode),
    Index(
        "ix_pipeline_executions_due",
        "next_check_at",
        postgresql_where=text("status IN ('pending', 'running')"),
    ),
    Index("ix_pipeline_executions_created_at", "created_at"),
    Index("ix_pipeline_executions_completed_at", "completed_at", "id"),
    Index(
        "ix_pipeline_executions_expired_at",
        "id",
        postgresql_where=text("expired_at IS NOT NULL"),
    ),
    # For the runs that have not ended, and for the longest reference TTL of any run.
    Index(
        "ix_pipeline_executions_unended",
        "created_at",
        postgresql_where=text("status IN ('pending', 'running', 'paused')"),
    ),
    # The runs that stand in the place of an earlier one.
    Index(
        "ix_pipeline_executions_replaced",
        text("(config #>> '{backfill,run_id}')"),
        postgresql_where=text("config #>> '{backfill,run_id}' IS NOT NULL"),
    ),
    Index("ix_pipeline_executions_ttl", text("((config ->> 'reference_ttl_days')::int)")),
)

pipeline_phase_status = Table(
    "pipeline_phase_status",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column(
        "pipeline_execution_id",
        Uuid,
        ForeignKey("pipeline_executions.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("phase_name", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=LaneStatus.PENDING),
    Column("started_at", Instant),
    Column("completed_at", Instant),
    Column("planned_at", Instant),
    Column("deadline_at", Instant),
    Column("error_message", Text),
    Column("note", Text),
    Column("retry_count", Integer, nullable=False, server_default=ZERO),
    # Of the wake-ups of its chunks (``JobPriority``).
    Column("priority", SmallInteger, nullable=False, server_default=ZERO),
    # The run whose results of this phase this run reads: itself, or the run it takes inputs from.
    # Set when the lane is created, and never changed.
    Column("source_run_id", Uuid, ForeignKey("pipeline_executions.id"), nullable=False),
    UniqueConstraint("pipeline_execution_id", "phase_name", "content_type"),
    one_of("status", LaneStatus),
    one_of("phase_name", PhaseName),
    one_of("content_type", ContentType),
    Index(
        "ix_pipeline_phase_status_source",
        "source_run_id",
        postgresql_where=text("source_run_id <> pipeline_execution_id"),
    ),
)

workers = Table(
    "workers",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("application_name", Text, nullable=False, server_default=SESSION_NAME),
    # The providers that it can call: which are set up in its settings.
    Column("providers", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("started_at", Instant, nullable=False, server_default=NOW),
    Column("heartbeat_at", Instant, nullable=False, server_default=NOW),
    Column("ended_at", Instant),
    Column("died", Boolean, nullable=False, server_default=text("false")),
    Index("ix_workers_alive", "heartbeat_at", postgresql_where=text("ended_at IS NULL")),
)

# A lane's progress is the sum of its chunks' counters: items are never counted. ``waits_on`` names
# the breakers that refused its items. Closing any of these breakers makes the chunk due.
chunks = Table(
    "chunks",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column(
        "lane_id",
        BigInteger,
        ForeignKey("pipeline_phase_status.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("no", Integer, nullable=False),
    Column(
        "run_id",
        Uuid,
        ForeignKey("pipeline_executions.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("status", Text, nullable=False, server_default=ChunkStatus.READY),
    Column("owner", BigInteger, ForeignKey("workers.id")),
    Column("epoch", BigInteger, nullable=False, server_default=ZERO),
    Column("next_check_at", Instant),
    # How far ahead the next check was when written. A longer wait means the clock was set back.
    Column("delay_seconds", Float, nullable=False, server_default=ZERO),
    Column("waits_on", ARRAY(Text)),
    # Why it waits, for people (``domain.waits``): until something is settled, or a release.
    Column("wait_cause", Text),
    Column("wait_subject", Text),
    Column("planned", Integer, nullable=False),
    Column("completed", Integer, nullable=False, server_default=ZERO),
    Column("failed", Integer, nullable=False, server_default=ZERO),
    Column("skipped", Integer, nullable=False, server_default=ZERO),
    Column("deaths", SmallInteger, nullable=False, server_default=ZERO),
    Column("crashes", SmallInteger, nullable=False, server_default=ZERO),
    # Consecutive claims that settled nothing.
    Column("idle_polls", SmallInteger, nullable=False, server_default=ZERO),
    Column("last_error", Text),
    # The items that a suspect chunk's owner works on: its death would count against them.
    Column("in_flight", ARRAY(Text)),
    UniqueConstraint("lane_id", "no"),
    one_of("status", ChunkStatus),
    one_of("wait_cause", WaitCause),
    CheckConstraint("completed + failed + skipped <= planned", name="counters"),
    CheckConstraint("(status = 'owned') = (owner IS NOT NULL)", name="owner"),
    Index("ix_chunks_due", "next_check_at", postgresql_where=text("status = 'ready'")),
    Index("ix_chunks_owner", "owner", postgresql_where=text("status = 'owned'")),
    Index("ix_chunks_run_id", "run_id"),
    Index("ix_chunks_waits_on", "id", postgresql_where=text("waits_on IS NOT NULL")),
    postgresql_with={"fillfactor": "50"},
)

# No index covers a column that changes, and pages keep free space, so that updates stay HOT.
items = Table(
    "items",
    metadata,
    Column("lane_id", BigInteger, primary_key=True),
    Column("item", Text, primary_key=True),
    Column("chunk_no", Integer, nullable=False),
    Column("status", Text, nullable=False, server_default=StateStatus.PENDING),
    Column("attempts", SmallInteger, nullable=False, server_default=ZERO),
    # Deaths of workers that had marked the item as in flight.
    Column("deaths", SmallInteger, nullable=False, server_default=ZERO),
    Column("next_attempt_at", Instant),
    # How far ahead the next attempt was when it was written.
    Column("delay_seconds", Float),
    Column("error_category", Text),
    Column("error", Text),
    # Includes the item, so that some items of a chunk are found without reading the others.
    Index("ix_items_chunk", "lane_id", "chunk_no", "item"),
    one_of("status", StateStatus),
    CheckConstraint("length(item) BETWEEN 1 AND 2048", name="item"),
    postgresql_with={"fillfactor": "60"},
)

# One row per failed attempt, for later analysis. ``delay_seconds``: the wait before the next
# attempt; NULL: there is none. A retry succeeded if the run has no later row of its item.
item_retries = Table(
    "item_retries",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("run_id", Uuid, nullable=False),
    Column("phase_name", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("error_category", Text, nullable=False),
    Column("error", Text),
    Column("delay_seconds", Float),
    Column("occurred_at", Instant, nullable=False),
    Index("ix_item_retries_run_id", "run_id", "id"),
)

item_results = Table(
    "item_results",
    metadata,
    Column("lane_id", BigInteger, primary_key=True),
    Column("item", Text, primary_key=True),
    Column("result", JSONB, nullable=False),
)

run_keywords = Table(
    "run_keywords",
    metadata,
    Column(
        "run_id",
        Uuid,
        ForeignKey("pipeline_executions.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("keyword_id", BigInteger, nullable=False),
    Column("market", Text, nullable=False),
    Column("keyword", Text, nullable=False),
    # In this order the index also finds a run's markets.
    PrimaryKeyConstraint("run_id", "market", "keyword_id"),
)

# Appended last in a transaction, under a transaction-level advisory lock: ids are in commit order.
pipeline_events = Table(
    "pipeline_events",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("occurred_at", Instant, nullable=False, server_default=NOW),
    Column("run_id", Uuid),
    Column("event_type", Text, nullable=False),
    Column("phase_name", Text),
    Column("content_type", Text),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Index("ix_pipeline_events_run_id_id", "run_id", "id"),
)
