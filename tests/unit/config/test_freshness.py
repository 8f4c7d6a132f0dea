"""How long a run's results stay fresh for their content type."""

from datetime import UTC, datetime, timedelta

import pytest

from serpline.config.freshness import is_stale
from serpline.config.run import PipelineConfig

BEGAN = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize(("kind", "days"), [("news", 1), ("video", 7), ("organic", 31)])
def test_without_a_schedule_a_day_a_week_and_a_month(kind: str, days: int) -> None:
    """They count from the run's start; later its figures are marked stale."""
    until = BEGAN + timedelta(days=days)
    for now, stale in ((until - timedelta(seconds=1), False), (until, True)):
        assert is_stale(PipelineConfig(), kind, BEGAN, now) is stale


def test_a_schedule_sets_its_own_freshness() -> None:
    """A quarterly schedule's organic results are fresh for a quarter, its news for a day."""
    due = BEGAN + timedelta(days=90)
    config = PipelineConfig(fresh_until={"organic": due})
    assert not is_stale(config, "organic", BEGAN, due - timedelta(seconds=1))
    assert is_stale(config, "organic", BEGAN, due)
    assert is_stale(config, "news", BEGAN, BEGAN + timedelta(days=2))
