"""Tables of the job queue: jobs with a payload, their dead letters, the queue schema's version.

Procrastinate's own tables are not here: they are its own SQL, applied beside Alembic.

A **queued job** is the truth of one ``enqueue_job``; the Procrastinate job that announces it is a
hint. ``waiting``: may be claimed from ``not_before`` on. ``running``: a worker holds it. One column
is the clock of both (all by the database's time): at ``next_look_at`` the sweep announces a waiting
job again, and takes a running one from a worker that no longer renews it; ``delay_seconds`` is how
far ahead that was when it was written. ``epoch`` counts claims, and so fences: a worker whose job
was taken settles nothing. ``attempts`` counts failures, ``deaths`` the consecutive claims that
nobody settled. The row is deleted when the job succeeds, and moved to ``dead_letters`` when its
attempts are used up.

A **dead letter** is ``dead`` until a person says otherwise: ``retried`` (enqueued anew) or
``discarded``. ``target`` is set for wake-ups, of which at most one per target is dead; ``attempts``
then counts how often it failed.
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
    sa.Column("next_look_at", Instant, nullable=False),
    sa.Column("delay_seconds", sa.Float, nullable=False, server_default="0"),
    sa.Column("created_at", Instant, nullable=False, server_default=sa.func.now()),
    sa.CheckConstraint("status IN ('waiting', 'running')", name="status"),
    sa.CheckConstraint("max_retries BETWEEN 0 AND 100 AND attempts >= 0", name="counts"),
    sa.Index("ix_queued_jobs_next_look_at", "next_look_at"),
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
