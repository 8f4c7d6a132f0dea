"""The parts of one worker in this process, without a queue or a timer."""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from serpline.config.run import PipelineConfig
from serpline.core.clock import Clock
from serpline.core.ids import new_id
from serpline.core.settings import load
from serpline.domain.names import PhaseName, PipelineMode
from serpline.domain.phases import LaneKey
from serpline.domain.states import LaneStatus
from serpline.phases.base import Phase
from serpline.pipeline.lifeline import Lifeline
from serpline.pipeline.orchestrator import PhaseOrchestrator
from serpline.pipeline.settler import BeforeSettle, nothing_to_flush
from serpline.pipeline.state_tracker import StateTracker
from serpline.pipeline.worker import ChunkWorker
from serpline.robustness.retry import RetryManager
from serpline.store.database import Database
from serpline.store.runs import runs


@dataclass(frozen=True)
class WorkerParts:
    """A worker that works while its ``lifeline.running()`` is entered."""

    database: Database
    clock: Clock
    phases: Mapping[PhaseName, Phase]
    tracker: StateTracker
    orchestrator: PhaseOrchestrator
    lifeline: Lifeline
    worker: ChunkWorker

    @classmethod
    def make(
        cls,
        database: Database,
        clock: Clock,
        phases: Mapping[PhaseName, Phase],
        *,
        lease_clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
        before_settle: BeforeSettle = nothing_to_flush,
        heartbeat_seconds: float | None = None,
        dead_after_seconds: float | None = None,
    ) -> Self:
        """Compose the parts as a worker process does, by the settings of the environment.

        ``lease_clock`` is the lifeline's clock if ``clock`` runs ahead. ``chance`` draws the jitter
        of retries. ``heartbeat_seconds`` and ``dead_after_seconds`` replace the settings.
        """
        settings = load()
        tracker = StateTracker(database, clock)
        lifeline = Lifeline(
            database,
            lease_clock or clock,
            heartbeat_seconds=heartbeat_seconds or settings.worker_heartbeat_seconds,
            dead_after_seconds=dead_after_seconds or settings.worker_dead_after_seconds,
        )
        worker = ChunkWorker(
            database,
            clock,
            phases,
            tracker,
            lifeline,
            silence_seconds=settings.chunk_silence_seconds,
            retries=RetryManager(chance=chance, clock=clock),
            before_settle=before_settle,
        )
        orchestrator = PhaseOrchestrator(
            database, clock, phases, check_again_seconds=settings.look_again_seconds
        )
        return cls(database, clock, phases, tracker, orchestrator, lifeline, worker)


async def create_run(
    database: Database,
    lanes: Iterable[LaneKey],
    config: PipelineConfig | None = None,
    *,
    run_id: UUID | None = None,
    mode: PipelineMode = PipelineMode.MANUAL,
    is_due: bool = True,
) -> UUID:
    """Create a run of pending lanes; returns its id. Unless ``is_due``, no timer starts it."""
    run_id, config = run_id or new_id(), config or PipelineConfig()
    async with database.transaction() as conn:
        await runs.create(
            conn,
            run_id,
            mode=mode,
            config=config.to_json(),
            lanes=[(lane, LaneStatus.PENDING) for lane in lanes],
            priorities=config.job_priorities(),
            is_due=is_due,
        )
    return run_id
