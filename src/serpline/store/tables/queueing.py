"""Tables of the job queue: jobs with a payload, their dead letters, the queue schema's version.

Procrastinate's own tables are not here. They are its own SQL, applied beside Alembic.

A **queued job** is the record of one ``enqueue_job``. The Procrastinate job that announces it is
only a hint. ``waiting``: a worker may claim it from ``not_before`` on. ``running``: a worker holds
it. All times are the database's. At ``next_check_at`` the sweep announces a waiting job again, and
takes a running one from a worker that stopped renewing it. ``delay_seconds``: how far ahead
``next_check_at`` was when it was written. ``epoch`` counts claims: a worker with an old epoch can
settle nothing. ``attempts`` counts failures. ``deaths`` counts consecutive claims that ended
unsettled. The row is deleted when the job succeeds, and moved to ``dead_letters`` when its attempts
are used up.

A **dead letter** is ``dead`` until a person has it ``retried`` (enqueued again) or ``discarded``.
``target`` is set for wake-ups only: at most one letter per target is dead, and ``attempts`` counts
the failures.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from serpline.store.tables.base import Instant, metadata

queued_jobs = sa.Table(
    "queued_jobs",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("job_type", sa.Text, nullable=False),
    sa.Column("payload", JSONB, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("max_retries", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default="waiting"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("deaths", sa.Integer, nullable=False, server_default="0"),
    sa.Column("epoch", sa.Integer, nullable=False, server_default="0"),
    sa.Column("not_before", Instant, nullable=False, server_default=sa.func.now()),
    sa.Column("next_check_at", Instant, nullable=False),
    sa.Column("delay_seconds", sa.Float, nullable=False, server_default="0"),
    sa.Column("created_at", Instant, nullable=False, server_default=sa.func.now()),
    sa.CheckConstraint("status IN ('waiting', 'running')", name="status"),
    sa.CheckConstraint("max_retries BETWEEN 0 AND 100 AND attempts >= 0", name="counts"),
    sa.Index("ix_queued_jobs_next_check_at", "next_check_at"),
)

dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("job_type", sa.Text, nullable=False),
    sa.Column("target", sa.Text),
    sa.Column("payload", JSONB, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("max_retries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("failed_at", Instant, nullable=False, server_default=sa.func.now()),
    sa.Column("status", sa.Text, nullable=False, server_default="dead"),
    sa.Column("settled_at", Instant),
    sa.CheckConstraint("status IN ('dead', 'retried', 'discarded')", name="status"),
    sa.CheckConstraint("attempts >= 0", name="attempts"),
    sa.Index("ix_dead_letters_status_id", "status", "id"),
    sa.Index(
        "uq_dead_letters_wakeup",
        "job_type",
        "target",
        unique=True,
        postgresql_where=sa.text("status = 'dead' AND target IS NOT NULL"),
    ),
)

queue_schema_versions = sa.Table(
    "queue_schema_versions",
    metadata,
    sa.Column("version", sa.Text(collation="C"), primary_key=True),
    sa.Column("applied_at", Instant, nullable=False, server_default=sa.func.now()),
)
