"""Runs, the times of schedules, and what was spent."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, ClassVar
from uuid import UUID

from serpline.domain.results import columns as c
from serpline.domain.results.columns import Column, Row


@dataclass(frozen=True, slots=True)
class Run(Row):
    """One row per run of the pipeline."""

    VIEW: ClassVar[str] = "runs"
    ORDER: ClassVar[tuple[str, ...]] = ("-created_at", "run_id")

    run_id: Annotated[UUID, Column("The run.")]
    collected_on: Annotated[
        date,
        Column(
            "The day of its last search of any content type. The day on which it was created where"
            " no search came.",
            "day, UTC",
        ),
    ]
    status: Annotated[
        str,
        Column("pending, running, paused, completed, completed_with_errors, failed or cancelled."),
    ]
    mode: Annotated[str, Column("scheduled, manual or testing.")]
    schedule: Annotated[str | None, Column("The name of its schedule. Null: started by a person.")]
    scheduled_for: Annotated[datetime | None, Column("The slot's time of a scheduled run.", "UTC")]
    created_at: Annotated[datetime, Column("When it was created.", "UTC")]
    started_at: Annotated[datetime | None, Column("When its work started.", "UTC")]
    completed_at: Annotated[datetime | None, Column("When it ended.", "UTC")]
    paused_seconds: Annotated[
        float,
        Column(
            "How long it was paused between its start and its end, or had ended before a retry.",
            "seconds",
        ),
    ]
    content_types: Annotated[tuple[str, ...], Column("The content types that it covers.")]
    markets: Annotated[tuple[str, ...], Column("The markets of its keywords.")]
    devices: Annotated[tuple[str, ...], Column("The devices of its searches.")]
    landscape: Annotated[str | None, c.LANDSCAPE]
    is_tracked: Annotated[
        bool,
        Column(
            "Whether results of any of its content types are part of trends and later combined"
            " figures."
        ),
    ]
    searches_of: Annotated[
        UUID,
        Column("The run whose search results it reads: itself, or the run given by inputs_from."),
    ]
    backfill_kind: Annotated[
        str | None,
        Column("refetch, late or recompute if it stands for a past slot. Null: it does not."),
    ]
    replaces: Annotated[UUID | None, Column("The earlier run in whose place it stands.")]
    late_for: Annotated[datetime | None, c.LATE_FOR]
    error: Annotated[str | None, Column("Why it failed.")]


@dataclass(frozen=True, slots=True)
class Slot(Row):
    """One row per time of a schedule and content type, with what became of it."""

    VIEW: ClassVar[str] = "slots"
    DATED_BY: ClassVar[str | None] = "scheduled_for"
    ORDER: ClassVar[tuple[str, ...]] = ("-scheduled_for", "schedule", "content_type")

    schedule: Annotated[str, Column("The schedule's name.")]
    scheduled_for: Annotated[datetime, Column("The time as the schedule has it.", "UTC")]
    content_type: Annotated[str, c.CONTENT_TYPE]
    outcome: Annotated[str, Column("due, started, skipped, missed or backfilled.")]
    reason_code: Annotated[str, Column("Why, as one of a few codes.")]
    reason: Annotated[str, Column("Why, as a sentence.")]
    start_at: Annotated[datetime, Column("The scheduled time with the jitter.", "UTC")]
    deadline_at: Annotated[datetime | None, Column("After this time it is not started.", "UTC")]
    started_at: Annotated[datetime | None, Column("When its run was created.", "UTC")]
    caught_up: Annotated[bool, Column("Whether it was decided after a time without a scheduler.")]
    run_id: Annotated[UUID | None, Column("Its run. Null: there is none.")]
    run_status: Annotated[str | None, Column("How the run ended. Null: it has not ended.")]
    run_ended_at: Annotated[datetime | None, Column("When the run ended.", "UTC")]
    succeeded: Annotated[
        bool | None, Column("Whether figures of the content type were computed. Null: not yet.")
    ]
    backfill_id: Annotated[int | None, Column("The backfill that filled it. Null: none.")]
    version: Annotated[int, Column("The version of the schedule that decided it.")]


@dataclass(frozen=True, slots=True)
class Spending(Row):
    """Calls to providers and their credits, by day, run, phase, content type and provider."""

    VIEW: ClassVar[str] = "spend"
    DATED_BY: ClassVar[str | None] = "spent_on"
    ORDER: ClassVar[tuple[str, ...]] = ("-spent_on", "run_id", "phase", "content_type", "provider")

    spent_on: Annotated[date, Column("The day on which the calls were made.", "day, UTC")]
    run_id: Annotated[
        UUID | None, Column("The run. Null: a start by the provider itself, not yet of a run.")
    ]
    phase: Annotated[str | None, Column("The phase that made the calls.")]
    content_type: Annotated[
        str | None, Column("organic, news or video; all: for every content type.")
    ]
    provider: Annotated[str, Column("The provider that was called.")]
    calls: Annotated[int, Column("Calls that have ended.")]
    failed_calls: Annotated[int, Column("Calls that failed.")]
    unknown_calls: Annotated[
        int,
        Column("Calls whose worker died before their end was stored. Their credits count in full."),
    ]
    credits: Annotated[float, Column("What the calls cost.", "the provider's own credits")]
