"""The whole tables of repair stages and failure actions."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.names import BatchPriority
from serpline.domain.repair import (
    BatchShape,
    FailureAction,
    RepairStage,
    after_failure,
    history,
    shape_of,
    stage_of,
)
from serpline.domain.states import BatchStatus

F, A, S, R, X = (
    RepairStage.FIRST,
    RepairStage.AGAIN,
    RepairStage.SMALLER,
    RepairStage.REAL_TIME,
    RepairStage.REPORTED,
)
NORMAL, HIGH, HIGHEST = BatchPriority.NORMAL, BatchPriority.HIGH, BatchPriority.HIGHEST
NOT_STARTED = (
    BatchStatus.INTENDED,
    BatchStatus.CREATED,
    BatchStatus.FILLING,
    BatchStatus.FILLED,
)
MAY_RUN = (BatchStatus.STARTING, BatchStatus.RUNNING)
STARTED = (*MAY_RUN, BatchStatus.READY)


@pytest.mark.parametrize(
    ("attempts_max", "stages"),
    [
        (1, [F, X]),
        (2, [F, R, X]),
        (3, [F, A, R, X]),
        (4, [F, A, S, R, X]),
        (6, [F, A, S, S, S, R, X]),
    ],
)
def test_the_ladder(attempts_max: int, stages: list[RepairStage]) -> None:
    """First, again, smaller, and the last attempt in real time, for any number of attempts."""
    assert [stage_of(failed, attempts_max) for failed in range(attempts_max + 1)] == stages


@given(st.integers(1, 100))
def test_a_search_never_goes_down_the_ladder_and_always_ends(attempts_max: int) -> None:
    """Each failure leads to the same stage or a later one, and the last is reported."""
    order = list(RepairStage)
    stages = [order.index(stage_of(failed, attempts_max)) for failed in range(attempts_max + 1)]
    assert stages == sorted(stages)
    assert order[stages[-1]] is X
    assert order[stages[0]] is F


def test_the_shape_of_a_batch() -> None:
    """Smaller means a quarter, then a quarter of that, never below 25, at another priority."""
    assert shape_of(0, F, 15_000, NORMAL) == BatchShape(15_000, NORMAL)
    assert shape_of(1, A, 15_000, NORMAL) == BatchShape(15_000, NORMAL)
    assert shape_of(2, S, 15_000, NORMAL) == BatchShape(3_750, HIGH)
    assert shape_of(3, S, 15_000, NORMAL) == BatchShape(937, HIGH)
    assert shape_of(99, S, 15_000, HIGHEST) == BatchShape(25, HIGH)
    assert shape_of(2, S, 8, NORMAL) == BatchShape(8, HIGH)
    assert all(shape_of(2, S, 9, p).priority is not p for p in BatchPriority)


def _error(
    category: ErrorCategory, *, permanent: bool = False, seconds: float | None = None
) -> ProviderError:
    return ProviderError(
        "x",
        provider="scaleserp",
        category=category,
        permanent=permanent,
        retry_after_seconds=seconds,
    )


def _after(
    error: ProviderError,
    status: BatchStatus,
    failures: int = 1,
    *,
    gone: bool = False,
    overdue: bool = False,
) -> FailureAction:
    return after_failure(error, status, failures, gone=gone, overdue=overdue)


@pytest.mark.parametrize(
    "error",
    [
        _error(ErrorCategory.RATE_LIMIT),
        _error(ErrorCategory.QUOTA, permanent=True),
        _error(ErrorCategory.SERVER, seconds=3600),
        _error(ErrorCategory.BAD_REQUEST),
    ],
    ids=["429", "402", "503 with its end", "enough runs already"],
)
def test_not_now_waits_in_every_state(error: ProviderError) -> None:
    """A "not now" changes no stage and is no failure, even the hundredth time."""
    for status, failures in itertools.product((*NOT_STARTED, *STARTED), (1, 100)):
        assert _after(error, status, failures, overdue=True) is FailureAction.WAIT


def test_a_batch_that_is_gone_is_given_up_at_once() -> None:
    """Nothing more can come of it."""
    error = _error(ErrorCategory.BAD_REQUEST, permanent=True)
    for status in (*NOT_STARTED, *STARTED):
        assert _after(error, status, gone=True) is FailureAction.NEXT_STAGE


def test_a_wrong_key_fails_at_once_before_the_start_and_not_so_soon_after() -> None:
    """One 401 does not discard a paid batch, and no 401 makes it "lost"."""
    error = _error(ErrorCategory.AUTH, permanent=True)
    assert {_after(error, status) for status in NOT_STARTED} == {FailureAction.GIVE_UP}
    assert {_after(error, status) for status in STARTED} == {FailureAction.POLL_AGAIN}
    assert {_after(error, status, 8) for status in STARTED} == {FailureAction.GIVE_UP}


def test_a_bad_request_takes_the_next_stage() -> None:
    """The same batch would be refused again. One that may be paid for is polled longer."""
    error = _error(ErrorCategory.BAD_REQUEST, permanent=True)
    assert {_after(error, status) for status in NOT_STARTED} == {FailureAction.NEXT_STAGE}
    assert {_after(error, status) for status in STARTED} == {FailureAction.POLL_AGAIN}
    assert {_after(error, status, 8) for status in STARTED} == {FailureAction.NEXT_STAGE}


def test_a_batch_that_may_run_survives_any_number_of_failed_polls_until_overdue() -> None:
    """An unreachable provider does not lose a paid batch. After a day it is overdue."""
    for category in (ErrorCategory.SERVER, ErrorCategory.NETWORK, ErrorCategory.MALFORMED):
        error = _error(category)
        for status in MAY_RUN:
            assert _after(error, status, 1_000) is FailureAction.POLL_AGAIN
            assert _after(error, status, overdue=True) is FailureAction.NEXT_STAGE
        for status in (*NOT_STARTED, BatchStatus.READY):
            assert _after(error, status, 7) is FailureAction.POLL_AGAIN
            assert _after(error, status, 8) is FailureAction.NEXT_STAGE


@given(st.lists(st.text(max_size=500), min_size=1, max_size=20))
def test_the_history_is_bounded_and_keeps_the_latest(reasons: list[str]) -> None:
    """After any number of attempts the history holds the last reason and can be stored."""
    so_far: str | None = None
    for reason in reasons:
        so_far = history(so_far, reason)
        assert len(so_far) <= 1_900
        assert so_far.endswith(reason[:300])


def test_a_long_history_fits_its_column() -> None:
    """Of twenty long reasons the history keeps the last ones."""
    so_far: str | None = None
    for number in range(20):
        so_far = history(so_far, f"{number:02}" * 1_000)
    assert so_far is not None
    assert 1_500 <= len(so_far) <= 1_900
    assert so_far.endswith("19" * 150)
