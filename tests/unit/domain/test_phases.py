"""Lanes: which a run has, their dependencies, and how they and the run end."""

from collections.abc import Callable, Mapping
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.domain.names import SEARCHED_TYPES, ContentType, PhaseName
from serpline.domain.phase_inputs import PHASE_INPUTS, lack_of, needed_by
from serpline.domain.phases import (
    PHASE_DEPENDENCIES,
    LaneKey,
    LaneView,
    dependents_of,
    ending_of,
    inputs_of,
    lanes_after,
    lanes_before,
    lanes_of,
    settle,
    start_or_block,
)
from serpline.domain.providers import SET_UP
from serpline.domain.states import LANE_MACHINE, LaneStatus, RunStatus, change

SUBSETS = [kinds for n in (1, 2, 3) for kinds in combinations(SEARCHED_TYPES, n)]
METRICS = LaneKey(PhaseName.KEYWORD_METRICS, ContentType.ALL)
COMBINED = LaneKey(PhaseName.DSI_CALCULATION, ContentType.ALL)
ENRICHING = [phase for phase in PhaseName if not PHASE_INPUTS[phase].is_needed]


def view(key: LaneKey = METRICS, status: LaneStatus = LaneStatus.PENDING, **n: int) -> LaneView:
    counts = {name: n.get(name, 0) for name in ("planned", "completed", "failed", "skipped")}
    return LaneView(
        id=1,
        key=key,
        status=status,
        is_planned=True,
        retry_count=0,
        chunks=n.get("chunks", 1),
        chunks_done=n.get("chunks_done", 1),
        **counts,
    )


def end_lanes(
    lanes: list[LaneKey], ends: Callable[[LaneKey], LaneStatus]
) -> dict[LaneKey, LaneStatus]:
    """How all lanes end if each that may start ends as ``ends`` says."""
    states = dict.fromkeys(lanes, LaneStatus.PENDING)
    for _ in lanes:
        for key in lanes:
            if states[key] is LaneStatus.PENDING and (
                decision := start_or_block(view(key), states)
            ):
                after = LaneStatus(change(LANE_MACHINE, decision.event).target)
                states[key] = ends(key) if after is LaneStatus.RUNNING else after
    return states


def test_dependencies_are_the_designs() -> None:
    """PHASE_DEPENDENCIES is, word for word, what the design says."""
    assert PHASE_DEPENDENCIES == {
        "keyword_metrics": [],
        "serp_collection": ["keyword_metrics"],
        "company_enrichment_serp": ["serp_collection"],
        "youtube_enrichment": ["serp_collection"],
        "company_enrichment_youtube": ["youtube_enrichment", "company_enrichment_serp"],
        "content_analysis": ["company_enrichment_serp", "youtube_enrichment"],
        "dsi_calculation": ["content_analysis", "company_enrichment_youtube"],
    }


@pytest.mark.parametrize("kinds", SUBSETS)
def test_a_run_has_the_lanes_of_its_types(kinds: tuple[ContentType, ...]) -> None:
    """One lane for the metrics, one per further phase and type, and one for the combined DSI."""
    lanes = lanes_of(kinds)
    assert lanes[0] == METRICS
    assert lanes[-1] == COMBINED
    assert len(set(lanes)) == len(lanes) == 2 + 6 * len(kinds)
    assert {key.content_type for key in lanes[1:-1]} == set(kinds)


@pytest.mark.parametrize("kinds", SUBSETS)
def test_the_order_stays_within_a_type(kinds: tuple[ContentType, ...]) -> None:
    """A lane follows its phase's dependencies of its own type, which are listed before it."""
    lanes = lanes_of(kinds)
    for index, key in enumerate(lanes[:-1]):
        before = lanes_before(key, lanes)
        assert [each.phase for each in before] == PHASE_DEPENDENCIES[key.phase]
        for each in (*before, *inputs_of(key, lanes)):
            assert each.content_type in (key.content_type, ContentType.ALL)
            assert lanes.index(each) < index
    typed = [LaneKey(PhaseName.DSI_CALCULATION, kind) for kind in kinds]
    assert lanes_before(COMBINED, lanes) == inputs_of(COMBINED, lanes) == typed


@pytest.mark.parametrize("phase", PhaseName)
def test_a_phase_reads_only_what_the_order_puts_before_it(phase: PhaseName) -> None:
    """What a phase reads precedes it, and a needed input's own needs are among its needs."""
    before: set[str] = set()
    following = [str(phase)]
    while following:
        following = [name for each in following for name in PHASE_DEPENDENCIES[each]]
        before.update(following)
    assert before.issuperset(PHASE_INPUTS[phase].reads)
    needed = needed_by(phase)
    assert {each for need in needed for each in needed_by(need)} <= {*needed}


def test_only_searches_are_needed() -> None:
    """A figure can do without every phase but the searches."""
    needed = [phase for phase in PhaseName if PHASE_INPUTS[phase].is_needed]
    assert needed == [PhaseName.SERP_COLLECTION, PhaseName.DSI_CALCULATION]
    assert needed_by(PhaseName.DSI_CALCULATION) == [PhaseName.SERP_COLLECTION]


def test_dependents_are_found_through_others() -> None:
    """All later lanes of its type read searches. Of other types only the combined DSI does."""
    lanes = lanes_of(SEARCHED_TYPES)
    serp = LaneKey(PhaseName.SERP_COLLECTION, ContentType.NEWS)
    behind = dependents_of(serp, lanes)
    assert {str(key) for key in behind} == {
        "company_enrichment_serp/news",
        "youtube_enrichment/news",
        "company_enrichment_youtube/news",
        "content_analysis/news",
        "dsi_calculation/news",
        "dsi_calculation/all",
    }
    figures = [key for key in lanes if key.phase is PhaseName.DSI_CALCULATION]
    assert dependents_of(METRICS, lanes) == figures
    assert lanes_after(METRICS, lanes) == lanes[1:]
    assert dependents_of(COMBINED, lanes) == []


def test_a_lane_with_nothing_to_do_completes() -> None:
    """A lane without items completes with the reason "nothing to do"."""
    end = settle(view(planned=0), 1.0)
    assert (end.event, end.reason) == ("complete", "nothing to do")


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_work_that_produced_nothing_has_failed(ratio: float) -> None:
    """A lane whose items all failed fails at every ratio."""
    end = settle(view(planned=3, failed=3), ratio)
    assert (end.event, end.reason) == ("fail", "all 3 items failed")


@pytest.mark.parametrize(
    ("good", "planned", "ratio", "event"),
    [
        (1, 2, 0.5, "complete"),
        (49, 100, 0.5, "fail"),
        (1, 100, 0.0, "complete"),
        (99, 100, 1.0, "fail"),
        (100, 100, 1.0, "complete"),
    ],
)
def test_the_success_ratio_decides(good: int, planned: int, ratio: float, event: str) -> None:
    """A lane completes from the required share of good items on, and fails below it."""
    end = settle(view(planned=planned, completed=good, failed=planned - good), ratio)
    assert end.event == event


@given(st.integers(1, 500), st.data())
def test_a_ratio_that_is_met_exactly_is_met(planned: int, data: st.DataObject) -> None:
    """A share of exactly the required ratio is enough, however the ratio is rounded."""
    good = data.draw(st.integers(1, planned))
    assert settle(view(planned=planned, completed=good), good / planned).event == "complete"


def test_skipped_items_count_as_good() -> None:
    """A skipped item is not a failure of its lane."""
    assert settle(view(planned=10, skipped=9, failed=1), 0.9).event == "complete"


def test_a_lane_is_finished_when_planned_and_all_chunks_are_done() -> None:
    """Neither an unplanned lane nor one with an open chunk is finished."""
    assert view(chunks=2, chunks_done=2).is_finished
    assert not view(chunks=2, chunks_done=1).is_finished


def test_a_lane_waits_for_all_its_needs() -> None:
    """While a need is running and none is broken, a lane neither starts nor is blocked."""
    lanes = lanes_of([ContentType.NEWS])
    states = dict.fromkeys(lanes, LaneStatus.COMPLETED)
    analysis = LaneKey(PhaseName.CONTENT_ANALYSIS, ContentType.NEWS)
    states[LaneKey(PhaseName.YOUTUBE_ENRICHMENT, ContentType.NEWS)] = LaneStatus.RUNNING
    assert start_or_block(view(analysis), states) is None


def test_a_skipped_need_is_no_obstacle() -> None:
    """A lane whose needs were not requested starts."""
    lanes = lanes_of([ContentType.NEWS])
    states = dict.fromkeys(lanes, LaneStatus.SKIPPED)
    decision = start_or_block(view(LaneKey(PhaseName.DSI_CALCULATION, ContentType.NEWS)), states)
    assert decision is not None
    assert decision.event == "start"


def test_a_blocked_lane_names_its_reason() -> None:
    """A lane is blocked as soon as a need is broken, and its reason names which and how."""
    lanes = lanes_of([ContentType.NEWS])
    states = dict.fromkeys(lanes, LaneStatus.PENDING)
    states[LaneKey(PhaseName.SERP_COLLECTION, ContentType.NEWS)] = LaneStatus.FAILED
    youtube = LaneKey(PhaseName.YOUTUBE_ENRICHMENT, ContentType.NEWS)
    decision = start_or_block(view(youtube), states)
    assert decision is not None
    assert (decision.event, decision.reason) == ("block", "serp_collection/news failed")


@given(st.sets(st.sampled_from(ENRICHING), min_size=1))
def test_what_enriches_blocks_nothing(failing: set[PhaseName]) -> None:
    """Figures are computed whatever fails but searches. The run's status shows it."""
    lanes = lanes_of([ContentType.NEWS])
    states = end_lanes(
        lanes, lambda k: LaneStatus.FAILED if k.phase in failing else LaneStatus.COMPLETED
    )
    assert {key.phase for key, s in states.items() if s is not LaneStatus.COMPLETED} == failing
    assert ending_of(states) is RunStatus.COMPLETED_WITH_ERRORS


@given(st.sets(st.sampled_from(ENRICHING)))
def test_what_has_no_provider_is_skipped_and_no_error(unset: set[PhaseName]) -> None:
    """Lanes without a provider are skipped with the reason, and the run completes."""
    states = dict.fromkeys(lanes_of([ContentType.NEWS]), LaneStatus.COMPLETED)
    for key in states:
        if key.phase in unset:
            decision = start_or_block(view(key), states, lack="no key")
            assert decision is not None
            assert (decision.event, decision.reason) == ("skip", "no key")
            states[key] = LaneStatus.SKIPPED
    assert ending_of(states) is RunStatus.COMPLETED


def test_searches_without_a_provider_are_blocked() -> None:
    """Without searches there are no figures, so the run fails."""
    lanes = lanes_of([ContentType.NEWS])
    search = LaneKey(PhaseName.SERP_COLLECTION, ContentType.NEWS)
    decision = start_or_block(view(search), dict.fromkeys(lanes, LaneStatus.PENDING), lack="no key")
    assert decision is not None
    assert (decision.event, decision.reason) == ("block", "no key")
    states = end_lanes(lanes, lambda k: LaneStatus.BLOCKED if k == search else LaneStatus.COMPLETED)
    assert ending_of(states) is RunStatus.FAILED


@pytest.mark.parametrize("phase", [phase for phase in PhaseName if PHASE_INPUTS[phase].providers])
def test_a_reason_names_the_settings_and_what_is_missing(phase: PhaseName) -> None:
    """One of a phase's providers is enough. Without any, the reason names them and the loss."""
    row = PHASE_INPUTS[phase]
    assert all(lack_of(phase, [provider]) is None for provider in row.providers)
    reason = lack_of(phase, set(SET_UP).difference(row.providers))
    assert reason is not None
    assert "SERPLINE_" in reason
    assert reason.endswith(row.without)


def test_a_run_of_which_nothing_could_be_done_has_failed() -> None:
    """A run whose chosen phases were all skipped without a provider did nothing."""
    states = dict.fromkeys(lanes_of([ContentType.NEWS]), LaneStatus.SKIPPED)
    assert ending_of(states) is RunStatus.FAILED


def test_slow_volumes_delay_figures_and_briefly_searches() -> None:
    """Searches wait for volumes for five minutes. Figures wait until volumes end."""
    states = dict.fromkeys(lanes_of([ContentType.NEWS]), LaneStatus.COMPLETED)
    states[METRICS] = LaneStatus.RUNNING
    search = view(LaneKey(PhaseName.SERP_COLLECTION, ContentType.NEWS))
    assert start_or_block(search, states, 300) is None
    late = start_or_block(search, states, 301)
    assert late is not None
    assert late.event == "start"
    figures = view(LaneKey(PhaseName.DSI_CALCULATION, ContentType.NEWS))
    assert start_or_block(figures, states, 3_000) is None
    states[METRICS] = LaneStatus.FAILED
    decision = start_or_block(figures, states)
    assert decision is not None
    assert decision.event == "start"


def test_a_failed_news_lane_blocks_news_only() -> None:
    """News ends failed and blocked, organic and video complete, and the run has errors."""
    lanes = lanes_of(SEARCHED_TYPES)
    broken = LaneKey(PhaseName.SERP_COLLECTION, ContentType.NEWS)
    states = end_lanes(lanes, lambda k: LaneStatus.FAILED if k == broken else LaneStatus.COMPLETED)
    for key, status in states.items():
        if key == broken:
            assert status is LaneStatus.FAILED
        elif key.content_type is ContentType.NEWS:
            assert status is LaneStatus.BLOCKED
        else:
            assert status is LaneStatus.COMPLETED
    assert ending_of(states) is RunStatus.COMPLETED_WITH_ERRORS


def test_without_any_dsi_the_run_has_failed() -> None:
    """If no lane of the last phase completed, the run failed."""
    lanes = lanes_of(SEARCHED_TYPES)
    searches = PhaseName.SERP_COLLECTION
    states = end_lanes(
        lanes, lambda k: LaneStatus.FAILED if k.phase is searches else LaneStatus.COMPLETED
    )
    assert states[COMBINED] is LaneStatus.BLOCKED
    assert ending_of(states) is RunStatus.FAILED


def test_a_run_of_chosen_phases_ends_by_the_last_of_them() -> None:
    """The last requested phase decides. Skipped lanes do not."""
    states = dict.fromkeys(lanes_of([ContentType.NEWS]), LaneStatus.SKIPPED)
    states[METRICS] = LaneStatus.COMPLETED
    assert ending_of(states) is RunStatus.COMPLETED
    states[METRICS] = LaneStatus.FAILED
    assert ending_of(states) is RunStatus.FAILED


@pytest.mark.parametrize("status", [LaneStatus.PENDING, LaneStatus.RUNNING])
def test_a_run_goes_on_while_a_lane_does(status: LaneStatus) -> None:
    """The run does not end while a lane has not ended."""
    states = dict.fromkeys(lanes_of([ContentType.NEWS]), LaneStatus.COMPLETED)
    states[COMBINED] = status
    assert ending_of(states) is None


@given(st.sets(st.sampled_from(lanes_of(SEARCHED_TYPES)[1:-1])))
def test_content_types_are_independent(broken: set[LaneKey]) -> None:
    """A type's lanes end as if it had run alone, and the run ends, whatever fails."""

    def ends(key: LaneKey) -> LaneStatus:
        return LaneStatus.FAILED if key in broken else LaneStatus.COMPLETED

    together = end_lanes(lanes_of(SEARCHED_TYPES), ends)
    assert ending_of(together) is not None
    for kind in SEARCHED_TYPES:
        alone: Mapping[LaneKey, LaneStatus] = end_lanes(lanes_of([kind]), ends)
        assert {k: s for k, s in together.items() if k.content_type is kind} == {
            k: s for k, s in alone.items() if k.content_type is kind
        }
