"""The batches that we make at a provider, and the webhooks that announce their results."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from serpline.domain.names import BatchPriority
from serpline.domain.repair import RepairStage
from serpline.domain.states import BatchStatus
from serpline.store.tables.base import NOW, ZERO, Instant, metadata, one_of

provider_batches = Table(
    "provider_batches",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("chunk_id", BigInteger, ForeignKey("chunks.id", ondelete="CASCADE"), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("provider", Text, nullable=False),
    Column("name", Text, nullable=False, unique=True),
    Column("secret_path", Text, nullable=False, unique=True),
    Column("status", Text, nullable=False),
    # When the unanswered create, add or start was sent. Written before it is sent. NULL again after
    # an answer, a refusal, or a change of state.
    Column("sent_at", Instant),
    Column("provider_batch_id", Text),
    Column("stage", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("items", ARRAY(Text), nullable=False),
    Column("results_count", BigInteger),
    Column("next_result_set_id", BigInteger),
    Column("result_set_id", BigInteger),
    Column("pages_ingested", ARRAY(Integer), nullable=False, server_default=text("'{}'")),
    Column("received", Integer, nullable=False, server_default=ZERO),
    Column("started_at", Instant),
    # The slot whose results it has, if the provider started the batch by its own calendar.
    Column("scheduled_for", Instant),
    # When a poll first found the result set, which no webhook had announced.
    Column("unannounced_at", Instant),
    Column("ended_at", Instant),
    Column("errors", SmallInteger, nullable=False, server_default=ZERO),
    Column("error_message", Text),
    UniqueConstraint("chunk_id", "generation"),
    one_of("status", BatchStatus),
    one_of("stage", RepairStage),
    one_of("priority", BatchPriority),
    Index("ix_provider_batches_provider_batch_id", "provider_batch_id"),
    Index(
        "ix_provider_batches_unended",
        "id",
        postgresql_where=text("status NOT IN ('ingested', 'lost')"),
    ),
)
webhook_inbox = Table(
    "webhook_inbox",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("provider", Text, nullable=False),
    Column("provider_batch_id", Text, nullable=False),
    Column("result_set_id", BigInteger, nullable=False),
    Column("received_at", Instant, nullable=False, server_default=NOW),
    Column("body", JSONB, nullable=False),
    UniqueConstraint("provider", "provider_batch_id", "result_set_id"),
)
