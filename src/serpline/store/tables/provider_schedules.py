"""Batches that a provider starts by itself, for schedules with ``driver: provider``.

A row is one batch: a part of the searches of one content type. It holds what we want at the
provider and what was seen there, so that a driver that dies leaves nothing to remember.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

from serpline.domain.names import ContentType
from serpline.store.tables.base import NOW, ZERO, Instant, metadata, one_of

# ``name``: derived, and stored before the create is sent, so that it is found before it is made.
# ``wanted``: NULL if the batch has to be deleted. ``filled``: the digest of the searches that the
# batch is known to hold; NULL: unknown. ``sent_at``: when an unanswered create or add was sent.
# ``epoch`` rises with every owner, whose lease ends at ``owned_until``.
provider_schedules = Table(
    "provider_schedules",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("schedule_id", Text, ForeignKey("schedules.id"), nullable=False),
    Column("content_type", Text, nullable=False),
    Column("part", Integer, nullable=False),
    Column("name", Text, nullable=False, unique=True),
    Column("secret_path", Text, nullable=False, unique=True),
    Column("wanted", JSONB),
    Column("filled", Text),
    Column("provider_batch_id", Text),
    Column("seen", JSONB),
    Column("seen_at", Instant),
    Column("sent_at", Instant),
    Column("epoch", BigInteger, nullable=False, server_default=ZERO),
    Column("owned_until", Instant),
    Column("next_check_at", Instant, nullable=False, server_default=NOW),
    # How far ahead the next check was when written. A longer wait means the clock was set back.
    Column("delay_seconds", Float, nullable=False, server_default=ZERO),
    Column("errors", SmallInteger, nullable=False, server_default=ZERO),
    Column("error_message", Text),
    UniqueConstraint("schedule_id", "content_type", "part"),
    one_of("content_type", ContentType),
    CheckConstraint("part >= 0", name="part"),
    Index("ix_provider_schedules_next_check_at", "next_check_at"),
    Index("ix_provider_schedules_provider_batch_id", "provider_batch_id"),
)
