"""Tables that guard paid calls: breakers, rates, budgets, the call ledger, reference data."""

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from serpline.domain.states import BreakerState
from serpline.store.tables.base import ZERO, Instant, metadata, one_of

CREDITS = Numeric(18, 6)


class CallStatus(StrEnum):
    """``INTENT``: committed before the call starts. ``OK``: a usable reply is stored.

    ``FAILED``: the call ended with a known error. ``UNKNOWN``: its worker is gone, so it may have
    been made and paid. Its credits count in full until a late outcome replaces it.
    """

    INTENT = "intent"
    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


# ``machine`` is the whole breaker; the other columns are for people and for the timer. ``settings``
# override the code's settings by name since ``settings_at``. NULL: the code's settings.
circuit_breakers = Table(
    "circuit_breakers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False, server_default=BreakerState.CLOSED),
    Column("failure_count", Integer, nullable=False, server_default=ZERO),
    Column("open_until", Instant),
    Column("machine", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("settings", JSONB(none_as_null=True)),
    Column("settings_version", Integer, nullable=False, server_default=text("1")),
    Column("settings_at", Instant),
    Column("changed_at", Instant, nullable=False),
    one_of("state", BreakerState),
    CheckConstraint("length(name) BETWEEN 1 AND 200", name="name"),
    CheckConstraint("(settings IS NULL) = (settings_at IS NULL)", name="settings"),
)

circuit_breaker_events = Table(
    "circuit_breaker_events",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("breaker_name", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("failure_count", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("previous_state", Text, nullable=False),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Index("ix_circuit_breaker_events_breaker_name", "breaker_name", "id"),
)

# The current rate is computed from the last halving and the time since, so recovery needs no write.
provider_rates = Table(
    "provider_rates",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("next_slot_at", Instant),
    Column("paused_until", Instant),
    # How long the pause was when written. A longer pause means the clock was set back.
    Column("pause_seconds", Float),
    Column("pause_reason", Text),
    Column("penalised_at", Instant),
    Column("penalised_rate", Float),
    Column("ceiling_rate", Float),
)

# Retry tokens of a provider and a content type, as they were at ``tokens_at``. Written under the
# lock of the provider's row of ``provider_rates``.
provider_retries = Table(
    "provider_retries",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("content_type", Text, primary_key=True),
    Column("tokens", Float, nullable=False),
    Column("tokens_at", Instant, nullable=False),
)

provider_leases = Table(
    "provider_leases",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("holder", Uuid, primary_key=True),
    Column("slots", Integer, nullable=False),
    Column("wanted", Integer, nullable=False),
    Column("expires_at", Instant, nullable=False),
)

# ``scope``: "run:ID", "backfill:ID", "day:2026-11-23" or "month:2026-11". ``reserved``: intents in
# flight.
# ``announced_percent``: the highest share of the limit (80, 100) whose event is written.
provider_budgets = Table(
    "provider_budgets",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("limit_credits", CREDITS),
    Column("reserved", CREDITS, nullable=False, server_default=ZERO),
    Column("spent", CREDITS, nullable=False, server_default=ZERO),
    Column("announced_percent", SmallInteger, nullable=False, server_default=ZERO),
    Index(
        "ix_provider_budgets_periods",
        "scope",
        "provider",
        postgresql_where=text("NOT starts_with(scope, 'run:')"),
    ),
    postgresql_with={"fillfactor": "50"},
)

# ``shared``: at most one intent per key at a time, because later requests reuse its reply.
# ``budget_scopes``: the rows of ``provider_budgets`` that count ``credits``.
provider_calls = Table(
    "provider_calls",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("key", LargeBinary, nullable=False),
    Column("provider", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("identity", LargeBinary, nullable=False),
    Column("freshness", Text, nullable=False),
    Column("shared", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("run_id", Uuid),
    Column("chunk_id", BigInteger),
    Column("epoch", BigInteger),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("http_status", SmallInteger),
    Column("credits", CREDITS, nullable=False, server_default=ZERO),
    Column("budget_scopes", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("error_category", Text),
    Column("error", Text),
    one_of("status", CallStatus),
    CheckConstraint("octet_length(key) = 32", name="key"),
    # The latest attempt of a key is its last entry.
    Index("ix_provider_calls_key", "key", "attempt"),
    Index(
        "uq_provider_calls_single_flight",
        "key",
        unique=True,
        postgresql_where=text("status = 'intent' AND shared"),
    ),
    Index("ix_provider_calls_run_id_provider", "run_id", "provider"),
    Index("ix_provider_calls_intents", "started_at", postgresql_where=text("status = 'intent'")),
    Index(
        "ix_provider_calls_finished_at",
        "finished_at",
        "id",
        postgresql_where=text("finished_at IS NOT NULL"),
    ),
)

# The body is zlib-compressed; secrets in it are replaced. A reply may be pruned before its call.
raw_replies = Table(
    "raw_replies",
    metadata,
    Column("call_id", Uuid, ForeignKey("provider_calls.id", ondelete="CASCADE"), primary_key=True),
    Column("http_status", SmallInteger, nullable=False),
    Column("headers", JSONB, nullable=False),
    Column("url", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("stored_at", Instant, nullable=False),
    Index("ix_raw_replies_stored_at", "stored_at", "call_id"),
)

# A row is a claim (``claimed_chunk``), an answer (``fetched_at``), or both: an old answer that is
# being renewed. ``found`` false with ``fetched_at`` set: the source has no match.
reference_data = Table(
    "reference_data",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("found", Boolean, nullable=False, server_default=text("false")),
    Column("payload", JSONB),
    Column("fetched_at", Instant),
    Column("claimed_chunk", BigInteger),
    Column("claimed_epoch", BigInteger),
    CheckConstraint("length(key) BETWEEN 1 AND 2048", name="key"),
    CheckConstraint("(claimed_chunk IS NULL) = (claimed_epoch IS NULL)", name="claim"),
    Index("ix_reference_data_age", text("coalesce(fetched_at, '-infinity')")),
)
