"""Stored schedules, their versions, and one slot for every instant of every content type.

``schedules.decided_until`` is the cursor of a schedule: every instant up to it has its slots. So an
instant without a slot is one after the cursor, and the next tick decides it, whatever happened
before. Times of schedules are wall-clock times that people named. No change of the clock moves
them.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from serpline.domain.names import ContentType
from serpline.domain.schedules import (
    BackfillKind,
    BackfillSlotStatus,
    BackfillStatus,
    ProposalKind,
    ProposalStatus,
)
from serpline.domain.states import RunStatus, ScheduleStatus, SlotOutcome
from serpline.store.tables.base import NOW, ZERO, Instant, metadata, one_of

FALSE = text("false")
NO_KEYS = text("'{}'::jsonb")


def _schedule_id() -> Column[str]:
    return Column("schedule_id", Text, ForeignKey("schedules.id"), nullable=False)


# ``id`` is the name that a person gave. ``next_at``: when the tick has to decide the next instants;
# NULL: never.
schedules = Table(
    "schedules",
    metadata,
    Column("id", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("status", Text, nullable=False, server_default=ScheduleStatus.ACTIVE),
    Column("pause_reason", Text),
    Column("paused_at", Instant),
    Column("decided_until", Instant, nullable=False),
    Column("next_at", Instant),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    Column("changed_at", Instant, nullable=False, server_default=NOW),
    Column("deleted_at", Instant),
    one_of("status", ScheduleStatus),
    CheckConstraint("length(id) BETWEEN 1 AND 200", name="id"),
    Index("ix_schedules_due", "next_at", postgresql_where=text("status <> 'deleted'")),
)

# A version is never changed. ``specs``: the list of specifications as given.
schedule_versions = Table(
    "schedule_versions",
    metadata,
    _schedule_id(),
    Column("version", Integer, nullable=False),
    Column("specs", JSONB, nullable=False),
    Column("reason", Text),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    PrimaryKeyConstraint("schedule_id", "version"),
)

# The slots of one ``run_group`` at one instant share a run. ``run_status``: how the run ended; NULL
# until then, and while a retry of the run goes on. ``succeeded``: whether figures of the content
# type were computed, which is known before the run ends; NULL also if a cancellation came first.
# Overlap rule, priority and deadline are those of the version that decided the slot.
# ``observed``: what the search for patterns needs of the run, which is deleted before the slot: the
# providers that answered with errors, and the batches. NULL: not yet observed.
schedule_slots = Table(
    "schedule_slots",
    metadata,
    _schedule_id(),
    Column("scheduled_for", Instant, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("version", Integer, nullable=False),
    # The specification that decided it, counted from 0.
    Column("spec_no", SmallInteger, nullable=False, server_default=ZERO),
    Column("outcome", Text, nullable=False, server_default=SlotOutcome.DUE),
    Column("reason_code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("run_group", Text, nullable=False),
    # It was decided late, after a time without a tick.
    Column("caught_up", Boolean, nullable=False, server_default=FALSE),
    Column("overlap", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False, server_default=ZERO),
    # ``scheduled_for`` and the jitter.
    Column("start_at", Instant, nullable=False),
    Column("deadline_at", Instant),
    Column("decided_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("run_id", Uuid),
    Column("run_status", Text),
    Column("run_ended_at", Instant),
    Column("succeeded", Boolean),
    Column("backfill_id", BigInteger),
    Column("observed", JSONB),
    PrimaryKeyConstraint("schedule_id", "scheduled_for", "content_type"),
    ForeignKeyConstraint(
        ["schedule_id", "version"],
        ["schedule_versions.schedule_id", "schedule_versions.version"],
    ),
    one_of("outcome", SlotOutcome),
    one_of("content_type", ContentType),
    one_of("run_status", RunStatus),
    CheckConstraint("outcome NOT IN ('started', 'backfilled') OR run_id IS NOT NULL", name="run"),
    # In the order in which they start.
    Index(
        "ix_schedule_slots_due",
        text("priority DESC"),
        "start_at",
        postgresql_where=text("outcome = 'due'"),
    ),
    Index("ix_schedule_slots_start_at", "start_at", postgresql_where=text("outcome = 'due'")),
    Index(
        "ix_schedule_slots_waiting",
        "schedule_id",
        "content_type",
        "scheduled_for",
        postgresql_where=text("outcome = 'due'"),
    ),
    Index(
        "ix_schedule_slots_running",
        "schedule_id",
        "content_type",
        postgresql_include=["run_id"],
        postgresql_where=text("run_id IS NOT NULL AND run_status IS NULL"),
    ),
    Index(
        "ix_schedule_slots_unobserved",
        "scheduled_for",
        postgresql_where=text(
            "observed IS NULL AND outcome <> 'due' AND (run_id IS NULL OR run_status IS NOT NULL)"
        ),
    ),
    Index("ix_schedule_slots_scheduled_for", "scheduled_for", "schedule_id", "content_type"),
    Index(
        "ix_schedule_slots_backfill_id",
        "backfill_id",
        postgresql_where=text("backfill_id IS NOT NULL"),
    ),
    postgresql_with={"fillfactor": "80"},
)

# What is known of each content type of a schedule: for the freshness alarm, for the pause after
# failed runs, and for the search for patterns, which next looks when ``next_look_slots`` slots are
# observed.
schedule_lanes = Table(
    "schedule_lanes",
    metadata,
    _schedule_id(),
    Column("content_type", Text, nullable=False),
    # When the newest data with figures were collected: their oldest search.
    Column("last_success_at", Instant),
    # When its data become older than the target. NULL: no target, or nothing to compare with.
    Column("fresh_until", Instant),
    Column("stale_since", Instant),
    Column("failures_in_row", Integer, nullable=False, server_default=ZERO),
    # Set after too many failed runs in a row. The other content types go on.
    Column("paused_at", Instant),
    Column("pause_reason", Text),
    Column("observed_slots", Integer, nullable=False, server_default=ZERO),
    Column("next_look_slots", Integer, nullable=False, server_default=ZERO),
    PrimaryKeyConstraint("schedule_id", "content_type"),
    one_of("content_type", ContentType),
    Index(
        "ix_schedule_lanes_fresh_until", "fresh_until", postgresql_where=text("stale_since IS NULL")
    ),
    Index(
        "ix_schedule_lanes_look",
        "schedule_id",
        postgresql_where=text("observed_slots >= next_look_slots"),
    ),
)

# ``slots_from`` to ``slots_to``: the instants, both included.
schedule_backfills = Table(
    "schedule_backfills",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    _schedule_id(),
    Column("kind", Text, nullable=False),
    Column("slots_from", Instant, nullable=False),
    Column("slots_to", Instant, nullable=False),
    Column("status", Text, nullable=False, server_default=BackfillStatus.PLANNED),
    Column("runs_at_once", SmallInteger, nullable=False, server_default=text("1")),
    # Credits that all its runs together may spend, by provider.
    Column("credit_limits", JSONB, nullable=False, server_default=NO_KEYS),
    # What a dry run said before the start.
    Column("estimate", JSONB, nullable=False, server_default=NO_KEYS),
    Column("reason", Text),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    Column("ended_at", Instant),
    one_of("kind", BackfillKind),
    one_of("status", BackfillStatus),
    CheckConstraint("slots_from <= slots_to", name="slots"),
    CheckConstraint("runs_at_once > 0", name="runs_at_once"),
    Index("ix_schedule_backfills_schedule_id", "schedule_id", "id"),
    Index(
        "ix_schedule_backfills_unended",
        "id",
        postgresql_where=text("status IN ('planned', 'running', 'paused')"),
    ),
)

schedule_backfill_slots = Table(
    "schedule_backfill_slots",
    metadata,
    Column(
        "backfill_id",
        BigInteger,
        ForeignKey("schedule_backfills.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("scheduled_for", Instant, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=BackfillSlotStatus.WAITING),
    Column("run_id", Uuid),
    Column("reason", Text),
    Column("ended_at", Instant),
    PrimaryKeyConstraint("backfill_id", "scheduled_for", "content_type"),
    Index(
        "ix_schedule_backfill_slots_running",
        "backfill_id",
        postgresql_where=text("status = 'running'"),
    ),
    one_of("status", BackfillSlotStatus),
    one_of("content_type", ContentType),
)

# ``change``: the values of the kind of change. ``evidence``: the version, counts and p-value.
# ``version_before`` and ``version_after`` are those of an accepted proposal.
schedule_proposals = Table(
    "schedule_proposals",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    _schedule_id(),
    Column("content_type", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("change", JSONB, nullable=False),
    Column("evidence", JSONB, nullable=False),
    Column("status", Text, nullable=False, server_default=ProposalStatus.OPEN),
    Column("made_at", Instant, nullable=False),
    Column("decided_at", Instant),
    Column("reason", Text),
    Column("version_before", Integer),
    Column("version_after", Integer),
    one_of("kind", ProposalKind),
    one_of("status", ProposalStatus),
    one_of("content_type", ContentType),
    # One open proposal of a kind, so that the same finding is proposed once.
    Index(
        "uq_schedule_proposals_open",
        "schedule_id",
        "content_type",
        "kind",
        unique=True,
        postgresql_where=text("status = 'open'"),
    ),
    Index("ix_schedule_proposals_schedule_id", "schedule_id", "id"),
)
