"""What the runs of a backfill cost together."""

from datetime import UTC, datetime

from serpline.config.run import PipelineConfig
from serpline.domain.names import PhaseName
from serpline.pipeline.things import Line
from serpline.scheduling.backfill_runs import _of_any_slot, _sum


def test_runs_that_differ_only_by_their_slot_cost_the_same() -> None:
    """A specification that changed between two slots makes another cost."""
    first = PipelineConfig(schedule="s")
    day = datetime(2026, 11, 1, tzinfo=UTC)
    later = first.model_copy(update={"scheduled_for": day, "fresh_until": {"news": day}})
    assert _of_any_slot(first) == _of_any_slot(later)
    for changed in ({"include_ai_overview": True}, {"analysis_depth": 3}, {"keyword_limit": 5}):
        assert _of_any_slot(first.model_copy(update=changed)) != _of_any_slot(first)


def test_what_is_not_called_stays_out_of_the_sum() -> None:
    """A provider that is not set up costs nothing in several runs either."""
    line = Line(PhaseName.CONTENT_ANALYSIS, "llm", 5, 1_000, "x", is_called=False)
    (total,) = _sum([line, line])
    assert (total.calls, total.credits, total.is_called) == (10, 2_000, False)
