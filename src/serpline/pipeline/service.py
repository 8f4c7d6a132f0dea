"""Start, pause, resume, cancel and retry runs, for people and schedules.

Every method is one transaction: a state change and its wake-up commit together. No method waits for
work to finish. ``by``: the person who acts, for the run's events.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from serpline.config.run import PipelineConfig
from serpline.core.clock import Clock
from serpline.core.ids import new_id
from serpline.domain.errors import ErrorCategory, UserError
from serpline.domain.names import ContentType, JobPriority, PhaseName, PipelineMode
from serpline.domain.phases import lanes_of
from serpline.domain.states import LaneStatus
from serpline.pipeline import replaced_runs
from serpline.pipeline.repeats import refuse_repeated
from serpline.pipeline.retrying import Asked, Retried, reopen
from serpline.pipeline.source_runs import resolve
from serpline.robustness.budget import limit_run
from serpline.store import projects
from serpline.store.database import Connection, Database
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.runs import due, events, runs, webhooks
from serpline.store.runs import lanes as lane_rows
from serpline.store.runs.events import Event, acted
from serpline.store.runs.runs import RunRow


class _DryRun(Exception):  # noqa: N818  no error: it rolls back
    """Ends a transaction without a change."""


class PipelineService:
    """Start and control runs."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def start(
        self,
        config: PipelineConfig,
        mode: PipelineMode = PipelineMode.MANUAL,
        *,
        run_id: UUID | None = None,
        by: str | None = None,
        unless_repeated: bool = False,
    ) -> UUID:
        """Create a run over the project's keywords and wake it; return its id.

        An existing ``run_id`` is left as it is, so a thousand callers create one run. Raises
        ``UserError`` if the run would have nothing to do, and with ``unless_repeated``
        ``RunRepeatedError`` if it was started a moment ago.
        """
        run_id = run_id or new_id()
        async with self._database.transaction() as conn:
            if unless_repeated:
                await refuse_repeated(conn, config, mode, self._clock.now())
            await self.create(conn, run_id, config, mode, by=by)
        return run_id

    async def create(
        self,
        conn: Connection,
        run_id: UUID,
        config: PipelineConfig,
        mode: PipelineMode,
        *,
        more_events: Sequence[Event] = (),
        by: str | None = None,
    ) -> None:
        """Create and wake a run as the last statements of the caller's transaction.

        An existing ``run_id`` is left as it is. ``more_events`` are written in any case, because no
        statement may follow an event. Raises ``UserError`` as ``start`` does.
        """
        created = await self.insert(conn, run_id, config, mode, by=by)
        await events.append(conn, [*created, *more_events])

    async def insert(
        self,
        conn: Connection,
        run_id: UUID,
        config: PipelineConfig,
        mode: PipelineMode,
        *,
        by: str | None = None,
    ) -> list[Event]:
        """As ``create``; returns the events, which the caller writes last."""
        config = config.for_mode(mode)
        chosen_phases = set(config.phases or PhaseName)
        await projects.check_landscape(conn, config.landscape)
        resolved = await resolve(conn, await replaced_runs.resolve(conn, config))
        config = resolved.config
        lanes = [
            (key, LaneStatus.PENDING if key.phase in chosen_phases else LaneStatus.SKIPPED)
            for key in lanes_of(config.content_types)
        ]
        created = await runs.create(
            conn,
            run_id,
            mode=mode,
            config=config.to_json(),
            priorities=config.job_priorities(),
            lanes=lanes,
            sources=resolved.sources,
            scheduled_for=config.scheduled_for,
        )
        if not created:
            return []
        await limit_run(conn, run_id, config.credit_limits)
        keyword_count = await self._take_keywords(conn, run_id, config)
        await wake(conn, [WakeUp("run", str(run_id), JobPriority.HIGH)])
        detail = {"mode": str(mode), "keywords": keyword_count}
        return [Event("run.created", run_id, detail=detail | acted(by))]

    async def _take_keywords(self, conn: Connection, run_id: UUID, config: PipelineConfig) -> int:
        if other := config.inputs_from or config.replaces:
            return await projects.copy_keywords(conn, run_id, other)
        await projects.ensure_builtin_markets(conn)
        keyword_count = await projects.snapshot_keywords(
            conn, run_id, config.landscape, config.keyword_limit
        )
        if keyword_count == 0:
            raise UserError("no keywords: import some first (serpline keywords import FILE.csv)")
        return keyword_count

    async def pause(self, run_id: UUID, *, by: str | None = None) -> None:
        """Start no new chunk. Work in progress stops before its next call and is settled."""
        await self._change(run_id, "pause", by)

    async def resume(self, run_id: UUID, *, by: str | None = None) -> None:
        """Continue a paused run at once, with its stored configuration."""
        await self._change(run_id, "resume", by)

    async def cancel(self, run_id: UUID, *, by: str | None = None) -> None:
        """End the run. Cancel wins over completion. Work in progress stops before its next call."""
        await self._change(run_id, "cancel", by)

    async def _change(self, run_id: UUID, event: str, by: str | None) -> None:
        async with self._database.transaction() as conn:
            run = await _locked(conn, run_id)
            if not await runs.change_run(conn, run_id, event, self._clock.now()):
                raise UserError(f"run {run_id} is {run.status}: {event!r} is not possible")
            if event == "resume":
                # The pause does not count towards the lanes' deadlines.
                deadlines = PipelineConfig.from_json(run.config).deadlines(self._clock.now())
                await lane_rows.set_deadlines(conn, run_id, deadlines, replace=True)
                await due.make_all_due(conn, run_id)
            elif event == "cancel":
                await lane_rows.cancel(conn, run_id, self._clock.now())
            await wake(conn, [WakeUp("run", str(run_id), JobPriority.HIGH)])
            await events.append(conn, [Event(f"run.{event}", run_id, detail=acted(by))])

    async def retry(
        self,
        run_id: UUID,
        *,
        phase: PhaseName | None = None,
        content_type: ContentType | None = None,
        item: str | None = None,
        category: ErrorCategory | None = None,
        by: str | None = None,
        dry_run: bool = False,
    ) -> Retried:
        """Retry an ended run: its failed, blocked and skipped lanes, a phase, or some items.

        ``item`` and ``category``: only such items, in every lane where they failed. ``dry_run``
        changes nothing and returns what it would do.

        Failed items become pending with zero attempts; successful items stay. Lanes that read a
        retried lane plan new items only. A DSI lane is recomputed. A lane that was skipped without
        a provider starts if one is set up now. A cancelled run continues where it stopped. Raises
        ``UserError`` if there is nothing to retry, or if the items of a lane to be planned again
        were pruned: it would buy its data a second time.
        """
        asked = Asked(phase, content_type, item, category)
        try:
            async with self._database.transaction() as conn:
                run = await _locked(conn, run_id)
                retried = await reopen(conn, run, asked, self._clock.now(), by)
                if dry_run:
                    raise _DryRun
        except _DryRun:
            pass
        return retried

    async def wake_batch(self, payload: Mapping[str, Any]) -> None:
        """Handle ``serp_batch_processing``: wake the chunk of a provider batch, or a run.

        ``payload`` names the batch (``batch_id``, the provider's) or the run (``run_id``). An
        unknown one raises ``UserError`` and so becomes a dead letter.
        """
        async with self._database.transaction() as conn:
            if "batch_id" in payload:
                found = await webhooks.chunk_of(conn, str(payload["batch_id"]))
                if found is None:
                    raise UserError(f"batch_id={payload['batch_id']!r}: there is no such batch")
                await due.make_due(conn, found)
                await wake(conn, [WakeUp("chunk", str(found), JobPriority.HIGH)])
                return
            run_id = str(payload.get("run_id"))
            try:
                run = await runs.get(conn, UUID(run_id))
            except ValueError:
                run = None
            if run is None:
                raise UserError(f"run_id={run_id!r}: there is no such run")
            await wake(conn, [WakeUp("run", str(run.id), JobPriority.HIGH)])

    async def awaits_webhook(self, secret_path: str) -> bool:
        """Whether a batch awaits a webhook at this path. Checked before the body is read."""
        async with self._database.statement() as conn:
            return await webhooks.is_awaited(conn, secret_path)

    async def record_webhook(
        self, secret_path: str, batch_id: str, result_set_id: int, body: str
    ) -> bool:
        """Store a webhook (``body``: its JSON text) and wake its batch.

        Returns False, with no effect, if it belongs to no batch.
        """
        async with self._database.transaction() as conn:
            chunk_ids = await webhooks.record_webhook(
                conn, secret_path, batch_id, result_set_id, body
            )
            if chunk_ids is None:
                return False
            for chunk_id in chunk_ids:
                await due.make_due(conn, chunk_id)
            await wake(conn, [WakeUp("chunk", str(id_), JobPriority.HIGH) for id_ in chunk_ids])
        return True


async def _locked(conn: Connection, run_id: UUID) -> RunRow:
    run = await runs.lock(conn, run_id)
    if run is None:
        raise UserError(f"run {run_id}: there is no such run")
    return run
