"""Retention: how long each kind of data is kept, and which rule deletes each table's rows.

``docs/retention.md`` explains it; ``prune`` deletes. Every table is in exactly one of four places:
``items``, ``RULES`` (by age), ``OF_RUN`` (with its run, if results expire), ``KEPT``.

A rule is SQL about a row ``t`` and the time ``:cutoff``. ``prune`` checks that the row's run has
ended.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Final

from serpline.config.run import PipelineConfig
from serpline.domain.errors import UserError
from serpline.domain.names import suggestion

DAYS_MAX: Final = 36_500
# A month's budget counts the calls of 31 days, whatever the provider's zone.
CALLS_DAYS_MIN: Final = 33
SETTING: Final = "SERPLINE_RETENTION_DAYS"
_TTL_DAYS: Final = PipelineConfig().reference_ttl_days
_SUFFIX: Final = "_days"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many days data is kept after it ended: 1 to ``DAYS_MAX``.

    ``results_days`` None: for ever.
    """

    items_days: int = 90
    retries_days: int = 400
    raw_replies_days: int = 90
    events_days: int = 180
    calls_days: int = 800
    reference_days: int = 400
    webhooks_days: int = 30
    dead_letters_days: int = 90
    breaker_events_days: int = 400
    workers_days: int = 30
    slots_days: int = 800
    notifications_days: int = 90
    results_days: int | None = None

    def __post_init__(self) -> None:
        """Refuse invalid days, and too few days for other data that needs them."""
        for name, value in asdict(self).items():
            if value is None and name == "results_days":
                continue
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            if not is_whole or not 1 <= value <= DAYS_MAX:
                raise UserError(f"{name}={value}: must be 1 to {DAYS_MAX}")
        if self.calls_days < self.raw_replies_days:
            raise UserError(
                f"calls_days={self.calls_days}: must be at least raw_replies_days"
                f" ({self.raw_replies_days}), because a reply is deleted with its call"
            )
        if self.calls_days < CALLS_DAYS_MIN:
            raise UserError(
                f"calls_days={self.calls_days}: must be at least {CALLS_DAYS_MIN}, because a"
                " month's budget counts them"
            )
        self.check_reference(_TTL_DAYS)

    @classmethod
    def of(cls, days: Mapping[str, int]) -> "Retention":
        """Create it from the setting: days by name, such as ``{"items": 30, "results": 730}``."""
        known = [name.removesuffix(_SUFFIX) for name in cls.__dataclass_fields__]
        for name in days:
            if name not in known:
                raise UserError(f"{SETTING}: unknown {name!r}; {suggestion(name, known)}")
        try:
            return cls(**{f"{name}{_SUFFIX}": value for name, value in days.items()})
        except UserError as error:
            raise UserError(f"{SETTING}: {error}") from None

    def check_reference(self, ttl_days: int) -> None:
        """Refuse to delete answers that are fresh for a run with this TTL: it would rebuy them."""
        if self.reference_days < ttl_days:
            raise UserError(
                f"reference_days={self.reference_days}: must be at least the runs'"
                f" reference_ttl_days ({ttl_days}), or fresh answers are bought again"
            )


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows ``t`` of ``table`` that are ``old``. ``run``: the run that a row belongs to, if any.

    Pruning scans the table by an index over ``key`` (columns or expressions, with their types),
    which grows with ``made``. It stops at a window in which nothing was made before the cutoff.
    Without ``made`` the table is small, and is scanned to its end.
    """

    table: str
    days: str
    old: str
    run: str | None = None
    key: tuple[tuple[str, str], ...] = (("t.id", "bigint"),)
    made: str | None = None
    where: str = "true"


_BREAKERS_RUN: Final = (
    "CAST(substring(t.name FROM '@([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})/[a-z]+$') AS uuid)"
)
_PERIOD_ENDS: Final = (
    "CASE WHEN starts_with(t.scope, 'day:') THEN to_date(substr(t.scope, 5), 'YYYY-MM-DD') + 1"
    " ELSE CAST(to_date(substr(t.scope, 7), 'YYYY-MM') + interval '1 month' AS date) END"
)

RULES: Final = (
    Rule(
        "raw_replies",
        "raw_replies_days",
        "t.stored_at < :cutoff",
        "(SELECT c.run_id FROM provider_calls c WHERE c.id = t.call_id)",
        key=(("t.stored_at", "timestamptz"), ("t.call_id", "uuid")),
        made="t.stored_at",
    ),
    Rule(
        "provider_calls",
        "calls_days",
        "t.finished_at < :cutoff",
        "t.run_id",
        key=(("t.finished_at", "timestamptz"), ("t.id", "uuid")),
        made="t.finished_at",
        where="t.finished_at IS NOT NULL",
    ),
    Rule(
        "item_retries", "retries_days", "t.occurred_at < :cutoff", "t.run_id", made="t.occurred_at"
    ),
    Rule(
        "pipeline_events",
        "events_days",
        "t.occurred_at < :cutoff",
        "t.run_id",
        made="t.occurred_at",
    ),
    Rule(
        "webhook_inbox",
        "webhooks_days",
        "t.received_at < :cutoff",
        "(SELECT c.run_id FROM provider_batches b JOIN chunks c ON c.id = b.chunk_id"
        " WHERE b.provider = t.provider AND b.provider_batch_id = t.provider_batch_id LIMIT 1)",
        made="t.received_at",
    ),
    Rule(
        "dead_letters",
        "dead_letters_days",
        "t.settled_at < :cutoff AND t.status IN ('retried', 'discarded')",
        made="t.failed_at",
    ),
    Rule(
        "circuit_breaker_events",
        "breaker_events_days",
        "t.occurred_at < :cutoff",
        made="t.occurred_at",
    ),
    # The breaker of one run, which cannot be retried, because its items are deleted by then.
    Rule(
        "circuit_breakers",
        "items_days",
        f"{_BREAKERS_RUN} IS NOT NULL AND t.changed_at < :cutoff AND NOT EXISTS (SELECT FROM"
        f" pipeline_executions r WHERE r.id = {_BREAKERS_RUN} AND r.completed_at >= :cutoff)",
        _BREAKERS_RUN,
        key=(("t.name", "text"),),
    ),
    # Costs of a day's or month's calls, kept as long as the calls that explain them; a backfill's,
    # as long as the backfill.
    Rule(
        "provider_budgets",
        "calls_days",
        "t.reserved = 0 AND CASE WHEN starts_with(t.scope, 'backfill:') THEN NOT EXISTS"
        " (SELECT FROM schedule_backfills b WHERE t.scope = 'backfill:' || CAST(b.id AS text))"
        f" ELSE {_PERIOD_ENDS} < :cutoff END",
        key=(("t.scope", "text"), ("t.provider", "text")),
        where="NOT starts_with(t.scope, 'run:')",
    ),
    Rule(
        "workers",
        "workers_days",
        "t.ended_at < :cutoff AND NOT EXISTS"
        " (SELECT FROM chunks c WHERE c.owner = t.id AND c.status = 'owned')",
        made="t.started_at",
    ),
    Rule(
        "notification_deliveries",
        "notifications_days",
        "t.settled_at < :cutoff",
        key=(("t.no", "bigint"),),
        made="t.created_at",
    ),
    # Answers that were not renewed, and claims whose holder is gone. Claims of live holders stay,
    # and so do answers that are fresh for a run in progress, which would buy them again.
    Rule(
        "reference_data",
        "reference_days",
        "(t.fetched_at < least(CAST(:cutoff AS timestamptz), (SELECT min(r.created_at"
        " - make_interval(days => coalesce((r.config ->> 'reference_ttl_days')::int,"
        f" {_TTL_DAYS})))"
        " FROM pipeline_executions r WHERE r.status IN ('pending', 'running', 'paused')))"
        " OR t.fetched_at IS NULL)"
        " AND NOT EXISTS (SELECT FROM chunks c WHERE c.id = t.claimed_chunk"
        " AND c.epoch = t.claimed_epoch AND c.status = 'owned')",
        key=(
            ("coalesce(t.fetched_at, '-infinity')", "timestamptz"),
            ("t.kind", "text"),
            ("t.key", "text"),
        ),
        made="coalesce(t.fetched_at, '-infinity')",
    ),
    # Slots whose run has not ended stay, and so do those that wait for their start.
    Rule(
        "schedule_slots",
        "slots_days",
        "t.scheduled_for < :cutoff AND t.outcome <> 'due'"
        " AND (t.run_id IS NULL OR t.run_status IS NOT NULL)",
        "t.run_id",
        key=(
            ("t.scheduled_for", "timestamptz"),
            ("t.schedule_id", "text"),
            ("t.content_type", "text"),
        ),
        made="t.scheduled_for",
    ),
    Rule(
        "schedule_backfill_slots",
        "slots_days",
        "t.backfill_id IN (SELECT b.id FROM schedule_backfills b WHERE b.ended_at < :cutoff)",
        key=(
            ("t.backfill_id", "bigint"),
            ("t.scheduled_for", "timestamptz"),
            ("t.content_type", "text"),
        ),
        made="(SELECT b.created_at FROM schedule_backfills b WHERE b.id = t.backfill_id)",
    ),
    Rule("schedule_backfills", "slots_days", "t.ended_at < :cutoff", made="t.created_at"),
    Rule(
        "schedule_proposals",
        "slots_days",
        "t.decided_at < :cutoff AND t.status <> 'open'",
        made="t.made_at",
    ),
)

_LANES: Final = "SELECT id FROM pipeline_phase_status WHERE pipeline_execution_id = :run"

# Deleted with an expired run, in this order: table → the condition for the run's rows.
OF_RUN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "items": f"lane_id IN ({_LANES})",
        "item_results": f"lane_id IN ({_LANES})",
        "dsi_scores": "run_id = :run",
        "run_company_aliases": "run_id = :run",
        "content_analyses": "run_id = :run",
        "channel_owners": "run_id = :run",
        "youtube_channel_refs": "run_id = :run",
        "youtube_channels": "run_id = :run",
        "youtube_videos": "run_id = :run",
        "company_profiles": "run_id = :run",
        "keyword_metrics": "run_id = :run",
        "serp_results": "run_id = :run",
        "serps": "run_id = :run",
        "run_keywords": "run_id = :run",
        "provider_batches": "chunk_id IN (SELECT id FROM chunks WHERE run_id = :run)",
        "chunks": "run_id = :run",
        "pipeline_phase_status": "pipeline_execution_id = :run",
        "provider_budgets": "scope = 'run:' || CAST(:run AS text)",
        "pipeline_executions": "id = :run",
    }
)

# Never pruned: a person's own data, or tables that do not grow with time.
KEPT: Final = frozenset(
    {
        "markets",
        "keywords",
        "keyword_markets",
        "landscapes",
        "landscape_keywords",
        "companies",
        "schedules",
        "schedule_versions",
        "schedule_lanes",
        "notification_destinations",
        "provider_schedules",
        "provider_rates",
        "provider_retries",
        "provider_leases",
        "queued_jobs",
        "queue_schema_versions",
        "housekeeping",
    }
)
