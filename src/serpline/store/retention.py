"""What is kept for how many days, and which rows of which table that makes old.

``docs/retention.md`` tells people; ``prune`` does it. A rule is SQL about a row ``t`` and the time
``:cutoff``; whether the row's run has ended is not the rule's business, ``prune`` sees to that.
"""

from dataclasses import asdict, dataclass
from typing import Final

from serpline.domain.config import PipelineConfig
from serpline.domain.errors import UserError

DAYS_MAX: Final = 36_500
_TTL_DAYS: Final = PipelineConfig().reference_ttl_days


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many days things are kept: 1 to ``DAYS_MAX``. Counted from when a thing ended."""

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

    def __post_init__(self) -> None:
        """Refuse days that are none, or too few for what counts on what is kept."""
        for name, value in asdict(self).items():
            if not 1 <= value <= DAYS_MAX:
                raise UserError(f"{name}={value}: must be 1 to {DAYS_MAX}")
        if self.calls_days < self.raw_replies_days:
            raise UserError(
                f"calls_days={self.calls_days}: must be at least raw_replies_days"
                f" ({self.raw_replies_days}), for a reply goes with its call"
            )
        self.check_reference(_TTL_DAYS)

    def check_reference(self, ttl_days: int) -> None:
        """Refuse to let go of answers that a run with this TTL finds fresh: it buys them again."""
        if self.reference_days < ttl_days:
            raise UserError(
                f"reference_days={self.reference_days}: must be at least the runs'"
                f" reference_ttl_days ({ttl_days}), or what is still fresh is bought again"
            )


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows ``t`` of ``table`` that are ``old``; ``run`` is the run a row belongs to, if any."""

    table: str
    days: str
    old: str
    run: str | None = None


RULES: Final = (
    Rule(
        "raw_replies",
        "raw_replies_days",
        "t.stored_at < :cutoff",
        "(SELECT c.run_id FROM provider_calls c WHERE c.id = t.call_id)",
    ),
    Rule("provider_calls", "calls_days", "t.finished_at < :cutoff", "t.run_id"),
    Rule("item_retries", "retries_days", "t.occurred_at < :cutoff", "t.run_id"),
    Rule("pipeline_events", "events_days", "t.occurred_at < :cutoff", "t.run_id"),
    Rule(
        "webhook_inbox",
        "webhooks_days",
        "t.received_at < :cutoff",
        "(SELECT c.run_id FROM provider_batches b JOIN chunks c ON c.id = b.chunk_id"
        " WHERE b.provider = t.provider AND b.provider_batch_id = t.provider_batch_id LIMIT 1)",
    ),
    Rule(
        "dead_letters",
        "dead_letters_days",
        "t.settled_at < :cutoff AND t.status IN ('retried', 'discarded')",
    ),
    Rule("circuit_breaker_events", "breaker_events_days", "t.occurred_at < :cutoff"),
    Rule(
        "workers",
        "workers_days",
        "t.ended_at < :cutoff AND NOT EXISTS"
        " (SELECT FROM chunks c WHERE c.owner = t.id AND c.status = 'owned')",
    ),
    # An answer that was not renewed, or a claim whose holder is gone. What somebody alive holds is
    # being bought; what a run in progress may still find fresh is not bought a second time.
    Rule(
        "reference_data",
        "reference_days",
        "(t.fetched_at < least(CAST(:cutoff AS timestamptz), (SELECT min(r.created_at"
        " - make_interval(days => coalesce((r.config ->> 'reference_ttl_days')::int,"
        f" {_TTL_DAYS})))"
        " FROM pipeline_executions r WHERE r.status <> ALL(:ended)))"
        " OR t.fetched_at IS NULL)"
        " AND NOT EXISTS (SELECT FROM chunks c WHERE c.id = t.claimed_chunk"
        " AND c.epoch = t.claimed_epoch AND c.status = 'owned')",
    ),
)
