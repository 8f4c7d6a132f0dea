"""Which stored replies and purchases a run reuses."""

from datetime import datetime, timedelta

from serpline.config.run import PipelineConfig
from serpline.phases.base import Work
from serpline.robustness.calls import Replay


def run_scope(work: Work) -> str:
    """The freshness scope of one run: a stored reply serves that run only.

    A run that replaces another one shares its scope: what that run paid for is not paid again.
    """
    return f"run:{work.config.replaces or work.chunk.run_id}"


def bought_since(work: Work) -> datetime:
    """The time from which purchases are the run's own: its creation, or the replaced run's."""
    backfill = work.config.backfill
    return (backfill and backfill.started_at) or work.chunk.created_at


def replay_of(config: PipelineConfig) -> Replay | None:
    """The run whose stored replies may answer instead of a call; None if there is none."""
    given = config.backfill
    if given is None or given.run_id is None or given.ended_at is None:
        return None
    return Replay(given.run_id, given.ended_at)


def fresh_since(work: Work) -> datetime:
    """The oldest purchase of reference data that a run reuses.

    With ``force_refresh`` the run's creation: everything is bought again, once.
    """
    if work.config.force_refresh:
        return bought_since(work)
    return bought_since(work) - timedelta(days=work.config.reference_ttl_days)
