"""Who is notified, of what, and what became of each notification.

The tail's position in ``pipeline_events`` is in the ``housekeeping`` row of its task.
"""

from enum import StrEnum

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from serpline.store.tables.base import NOW, ZERO, Instant, metadata, one_of


class DeliveryState(StrEnum):
    """``PENDING``: in no message that a destination accepted. ``SENT``: in one.

    ``FAILED``: its message was given up after ``MESSAGE_ATTEMPTS_MAX`` attempts.
    """

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


# ``url`` is a secret. It has no check: PostgreSQL's message about a failed one shows the whole row.
# ``events`` and ``schedules`` NULL: the usual kinds, of everything. Events up to ``since_id`` are
# older than the destination. ``next_message_at``: before it no message is sent, because one is
# being sent, the last one failed, or the destination rests. ``claim`` rises with every sender;
# writes of an old one are refused. ``message_id``: the message that has begun and has no end.
notification_destinations = Table(
    "notification_destinations",
    metadata,
    Column("name", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("events", ARRAY(Text)),
    Column("schedules", ARRAY(Text)),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    Column("since_id", BigInteger, nullable=False),
    Column("next_message_at", Instant, nullable=False, server_default=NOW),
    # How far ahead it was when written. A longer wait means the clock was set back.
    Column("delay_seconds", Float, nullable=False, server_default=ZERO),
    # How long it rested after its last message.
    Column("rest_seconds", Float, nullable=False, server_default=ZERO),
    Column("last_sent_at", Instant),
    Column("claim", BigInteger, nullable=False, server_default=ZERO),
    Column("message_id", Uuid),
    Column("attempts", Integer, nullable=False, server_default=ZERO),
    Column("failing_since", Instant),
    Column("last_error", Text),
    postgresql_with={"fillfactor": "50"},
)

# ``id`` derives from the destination and the event. ``note`` is what a message says about it.
# ``is_open``: its incident has not ended; a repetition of an open incident is not told again.
notification_deliveries = Table(
    "notification_deliveries",
    metadata,
    Column("no", BigInteger, Identity(), primary_key=True),
    Column("id", Uuid, nullable=False, unique=True),
    Column(
        "destination",
        Text,
        ForeignKey("notification_destinations.name", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("kind", Text, nullable=False),
    Column("incident", Text, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    Column("note", JSONB, nullable=False),
    Column("state", Text, nullable=False, server_default=DeliveryState.PENDING),
    Column("message_id", Uuid),
    Column("attempts", Integer, nullable=False, server_default=ZERO),
    Column("settled_at", Instant),
    one_of("state", DeliveryState),
    Index(
        "uq_notification_deliveries_open",
        "incident",
        "destination",
        unique=True,
        postgresql_where=text("is_open"),
    ),
    Index(
        "ix_notification_deliveries_pending",
        "destination",
        "no",
        postgresql_where=text("state = 'pending'"),
    ),
    Index("ix_notification_deliveries_message_id", "message_id"),
)
