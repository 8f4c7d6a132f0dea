"""Pure decisions: what to do with a failing batch, and with searches that a batch did not deliver.

Both depend on stored facts alone (the batch's state, its failed polls, the items' attempts). So a
worker that takes a chunk over decides the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.names import BatchPriority
from serpline.domain.states import BatchStatus

POLLS_FAILED_MAX = 8
HISTORY_MAX = 1_900
HISTORY_PART_MAX = 300
# Repair makes no batch smaller than this.
SEARCHES_MIN = 25
_SMALLER_BY = 4
_OTHER: Mapping[BatchPriority, BatchPriority] = MappingProxyType(
    {
        BatchPriority.LOWEST: BatchPriority.LOW,
        BatchPriority.LOW: BatchPriority.NORMAL,
        BatchPriority.NORMAL: BatchPriority.HIGH,
        BatchPriority.HIGH: BatchPriority.HIGHEST,
        BatchPriority.HIGHEST: BatchPriority.HIGH,
    }
)


class RepairStage(StrEnum):
    """How a search is tried next; see ``stage_of``.

    ``GIVEN`` is no attempt: a result set that the run was given, before any search of its own.
    """

    GIVEN = "given"
    FIRST = "first"
    AGAIN = "again"
    SMALLER = "smaller"
    REAL_TIME = "real_time"
    REPORTED = "reported"


def stage_of(failed: int, attempts_max: int) -> RepairStage:
    """The stage after ``failed`` attempts of the ``attempts_max`` that the run allows.

    | failed | left | stage |
    |---|---|---|
    | 0 | 1 or more | first: a batch as the run asks |
    | 1 | 2 or more | again: a batch with the same parameters |
    | 2 or more | 2 or more | smaller: smaller batches at another priority |
    | 1 or more | 1 | real time: each search by itself |
    | all | 0 | reported: the item has failed |
    """
    left = attempts_max - failed
    if left <= 0:
        return RepairStage.REPORTED
    if failed == 0:
        return RepairStage.FIRST
    if left == 1:
        return RepairStage.REAL_TIME
    return RepairStage.AGAIN if failed == 1 else RepairStage.SMALLER


@dataclass(frozen=True, slots=True)
class BatchShape:
    """The parameters of a batch that a stage varies."""

    searches_max: int
    priority: BatchPriority


def shape_of(failed: int, stage: RepairStage, searches: int, priority: BatchPriority) -> BatchShape:
    """The next batch's shape, from the run's ``searches`` per batch and ``priority``.

    | stage | searches a batch | priority |
    |---|---|---|
    | first, again | as many as the run's | the run's |
    | smaller | a quarter for each failed attempt but the first, at least 25 | one higher; below the highest, if it is that |
    """  # noqa: E501  a table's row
    if stage is not RepairStage.SMALLER:
        return BatchShape(searches, priority)
    # The exponent is bounded: beyond it the power exceeds the largest batch.
    smaller = searches // _SMALLER_BY ** min(failed - 1, 8)
    return BatchShape(min(searches, max(SEARCHES_MIN, smaller)), _OTHER[priority])


class FailureAction(StrEnum):
    """What to do with a batch after a failed call; see ``after_failure``."""

    WAIT = "wait"
    POLL_AGAIN = "poll_again"
    NEXT_STAGE = "next_stage"
    GIVE_UP = "give_up"


_NOT_STARTED = frozenset(
    {BatchStatus.INTENDED, BatchStatus.CREATED, BatchStatus.FILLING, BatchStatus.FILLED}
)


def is_started(status: BatchStatus) -> bool:
    """Whether the batch may be billed: true once its start may have been sent."""
    return status not in _NOT_STARTED


def is_incident(error: ProviderError) -> bool:
    """Whether the provider reports an incident with a time for the next try."""
    return error.category is ErrorCategory.SERVER and error.retry_after_seconds is not None


def is_waiting(error: ProviderError) -> bool:
    """Whether the provider only answers "not now". This counts as no attempt and no failure."""
    if error.category in (ErrorCategory.RATE_LIMIT, ErrorCategory.QUOTA):
        return True
    # The only such bad request is a valid one that comes while enough batches are running.
    return is_incident(error) or (
        error.category is ErrorCategory.BAD_REQUEST and not error.permanent
    )


def after_failure(
    error: ProviderError, status: BatchStatus, failures: int, *, gone: bool, overdue: bool
) -> FailureAction:
    """What to do after a failed call for a batch. ``failures`` in a row includes this one.

    ``gone``: a second poll confirmed that the batch no longer exists. ``overdue``: it has run
    longer than a batch may run.

    | failure | not started | starting, running | ready |
    |---|---|---|---|
    | "not now" (``is_waiting``) | wait | wait | wait |
    | gone | next stage | next stage | next stage |
    | wrong key | give up | poll again, then give up | poll again, then give up |
    | bad request | next stage | poll again, then next stage | poll again, then next stage |
    | else | poll again, then next stage | poll again, next stage if overdue | poll again, then next stage |

    "Then" is after ``POLLS_FAILED_MAX`` failures. Giving up fails the searches and keeps the batch.
    """  # noqa: E501  a table's row
    if is_waiting(error):
        return FailureAction.WAIT
    may_run = status in (BatchStatus.STARTING, BatchStatus.RUNNING)
    if gone or (overdue and may_run):
        return FailureAction.NEXT_STAGE
    tried = failures >= POLLS_FAILED_MAX or not is_started(status)
    if error.category is ErrorCategory.AUTH:
        return FailureAction.GIVE_UP if tried else FailureAction.POLL_AGAIN
    if error.category is ErrorCategory.BAD_REQUEST:
        return FailureAction.NEXT_STAGE if tried else FailureAction.POLL_AGAIN
    if failures >= POLLS_FAILED_MAX and not may_run:
        return FailureAction.NEXT_STAGE
    return FailureAction.POLL_AGAIN


def history(before: str | None, now: str) -> str:
    """Append ``now`` to the history of a search's attempts. Bounded; the oldest part is cut."""
    text = f"{before}; {now[:HISTORY_PART_MAX]}" if before else now[:HISTORY_PART_MAX]
    return text[-HISTORY_MAX:]
