"""The third portion of the tick: start due slots, as many runs at once as allowed.

Due slots are read once for a portion of runs. Each run then starts in a transaction of its own,
which locks its slots, judges them again and counts the running runs.

A slot and its run commit together: the transaction that makes the slot *started* creates the run.
So a crash leaves the slot due, and the next tick starts it. A slot whose run cannot be created is
*refused* with the reason, and is not tried again.
"""

from collections.abc import Hashable, Sequence
from datetime import datetime
from itertools import islice

from serpline.core.logging import get
from serpline.domain.errors import UserError
from serpline.domain.names import PipelineMode
from serpline.domain.schedules import SlotReason
from serpline.domain.states import ScheduleStatus, SlotOutcome
from serpline.pipeline.service import PipelineService
from serpline.scheduling.documents import stored_specs
from serpline.scheduling.endings import ended_events
from serpline.scheduling.merging import group_of
from serpline.scheduling.policy import Halt, Verdict, Waiting, judge
from serpline.scheduling.slot_runs import config_of, run_id_of
from serpline.scheduling.spec import Overlap
from serpline.store.database import Connection, Database, DatabaseUnavailable, TransactionConflict
from serpline.store.runs import events
from serpline.store.runs.events import Event
from serpline.store.schedules import schedules, starting
from serpline.store.schedules.slots import SlotKey
from serpline.store.schedules.starting import DueRow, Ending

# The most due slots that one transaction judges.
SLOTS_MAX = 500
_REFUSED = SlotOutcome.REFUSED
_STARTED = {
    SlotReason.JITTER: "started after its jitter",
    SlotReason.PREVIOUS_RUN: "started after the run of an earlier slot had ended",
    SlotReason.NO_PLACE: "started when fewer scheduled runs were running",
}

log = get(__name__)


class Starter:
    """Starts the runs of due slots; at most ``runs_max`` scheduled runs are running at once."""

    def __init__(self, database: Database, pipeline: PipelineService, runs_max: int) -> None:
        self._database = database
        self._pipeline = pipeline
        self._runs_max = runs_max

    async def start_all(self, now: datetime) -> None:
        """Start what may start now, each run in a transaction of its own."""
        while await self._start_portion(now):
            pass

    async def _start_portion(self, now: datetime) -> bool:
        """Judge a portion of due slots and start its runs; True if more may start now."""
        async with self._database.transaction() as conn:
            if not await starting.has_due(conn, now) or not await starting.hold(conn):
                return False
            places = max(0, self._runs_max - await starting.count_running(conn))
            rows = await starting.due(conn, now, has_place=places > 0, limit=SLOTS_MAX)
            verdicts = [(row, _judge(row, now)) for row in rows]
            # The first slot of each run, in the order in which they start.
            first: dict[Hashable, DueRow] = {}
            for row, verdict in verdicts:
                if _starts(verdict):
                    first.setdefault(_run_of(row), row)
            chosen = dict(islice(first.items(), places))
            endings = [
                _ending(row.key, self._no_place() if _starts(verdict) else verdict)
                for row, verdict in verdicts
                if not _starts(verdict)
                or (_run_of(row) not in chosen and row.reason_code != SlotReason.NO_PLACE)
            ]
            await events.append(conn, await _end(conn, endings, now))
        started = []
        for row in chosen.values():
            outcome = await self._start_run(row, now)
            if outcome is None:
                return False
            started.append(outcome)
        # A refused run leaves its place to another. A full portion may hide slots that can start.
        is_cut = len(rows) == SLOTS_MAX or (len(first) > len(chosen) and _REFUSED in started)
        return is_cut and bool(endings or {SlotOutcome.STARTED, _REFUSED}.intersection(started))

    async def _start_run(self, row: DueRow, now: datetime) -> SlotOutcome | None:
        """Start the run of ``row`` and of the slots that share it; return what became of them.

        They stay due if they may not start any more. None: another process starts slots, or too
        many runs are running.
        """
        sharing: list[DueRow] = []
        try:
            async with self._database.transaction() as conn:
                if not await starting.hold(conn):
                    return None
                if await starting.count_running(conn) >= self._runs_max:
                    return None
                sharing = await _lock_sharing(conn, row, now)
                if not sharing:
                    return SlotOutcome.DUE
                await self._create(conn, sharing, now)
                return SlotOutcome.STARTED
        except (DatabaseUnavailable, TransactionConflict):
            raise
        except Exception as error:
            if not sharing:
                raise
            await self._refuse(sharing, error, now)
            return _REFUSED

    async def _create(self, conn: Connection, sharing: Sequence[DueRow], now: datetime) -> None:
        """Start locked slots and create the run that they share; ends the transaction."""
        first = sharing[0]
        name, instant, _ = first.key
        content_types = sorted(row.key.content_type for row in sharing)
        specs = stored_specs(await schedules.specs_of(conn, name, first.version))
        chosen = {row.key.content_type: specs[row.spec_no] for row in sharing}
        is_only_group = len({group_of(spec) for spec in specs}) == 1
        is_late_part = await starting.has_run(conn, name, instant, first.run_group)
        run_id = run_id_of(
            name,
            instant,
            "" if is_only_group else first.run_group,
            content_types if is_late_part else (),
        )
        reasons = {row.key: _started_reason(row) for row in sharing}
        if await starting.start(conn, reasons, run_id, now) != len(reasons):
            raise TransactionConflict("another process has started a slot")
        detail = {
            "schedule": name,
            "scheduled_for": instant.isoformat(),
            "content_types": [str(kind) for kind in content_types],
            "late_seconds": round((now - instant).total_seconds(), 3),
        }
        await self._pipeline.create(
            conn,
            run_id,
            config_of(name, specs, chosen, instant, instant),
            PipelineMode.SCHEDULED,
            more_events=[Event("slot.started", run_id, detail=detail)],
        )
        log.info("slot.started", action="slot.started", run=str(run_id), **detail)

    async def _refuse(self, sharing: Sequence[DueRow], error: Exception, now: datetime) -> None:
        """End slots whose run cannot be created, so that they are not tried for ever."""
        if isinstance(error, UserError):
            verdict = Verdict(SlotOutcome.REFUSED, SlotReason.REFUSED, str(error))
        else:
            schedule = sharing[0].key.schedule_id
            log.error("slot.error", action="slot.error", schedule=schedule, exc_info=error)
            reason = f"internal error: {type(error).__name__}; the log has the details"
            verdict = Verdict(SlotOutcome.REFUSED, SlotReason.ERROR, reason)
        async with self._database.transaction() as conn:
            refused = await _end(conn, [_ending(row.key, verdict) for row in sharing], now)
            await events.append(conn, refused)

    def _no_place(self) -> Verdict:
        reason = f"waits: {self._runs_max} scheduled runs are running (SERPLINE_SCHEDULED_RUNS_MAX)"
        return Verdict(SlotOutcome.DUE, SlotReason.NO_PLACE, reason)


async def _lock_sharing(conn: Connection, row: DueRow, now: datetime) -> list[DueRow]:
    """Lock the slots that start with ``row`` and share its run."""
    key = row.key
    locked = await starting.lock_group(conn, key.schedule_id, key.scheduled_for, row.run_group, now)
    ready = [each for each in locked if _starts(_judge(each, now))]
    return [each for each in ready if _run_of(each) == _run_of(row)]


def _run_of(row: DueRow) -> Hashable:
    """The same for slots that share a run. An edit may lie between two slots of one instant."""
    key = row.key
    return key.schedule_id, key.scheduled_for, row.run_group, row.version


def _starts(verdict: Verdict) -> bool:
    return verdict.outcome is SlotOutcome.STARTED


def _judge(row: DueRow, now: datetime) -> Verdict:
    kind = row.key.content_type
    lanes = {} if row.lane_pause_reason is None else {kind: row.lane_pause_reason}
    halt = Halt.of(row.status, row.pause_reason, lanes)
    slot = Waiting(
        overlap=Overlap(row.overlap),
        is_caught_up=row.caught_up,
        deadline_at=row.deadline_at,
        running=row.running,
        ahead=row.ahead,
        is_deleted=row.status is ScheduleStatus.DELETED,
        halted=halt.reason(kind),
    )
    return judge(slot, now)


def _started_reason(row: DueRow) -> tuple[str, str]:
    if row.caught_up:
        return SlotReason.CAUGHT_UP, "started late: no process looked at schedules at its time"
    code = SlotReason(row.reason_code)
    return code, _STARTED.get(code, "started on time")


def _ending(key: SlotKey, verdict: Verdict) -> Ending:
    return Ending(key, verdict.outcome, verdict.code, verdict.reason)


async def _end(conn: Connection, endings: Sequence[Ending], now: datetime) -> list[Event]:
    ended = await starting.end(conn, endings, now)
    return ended_events(each for each in endings if each.key in ended)
