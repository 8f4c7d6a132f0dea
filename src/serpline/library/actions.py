"""What people do with a project: runs, keywords, companies, schedules."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import polars as pl

from serpline.analysis.company_keys import company_key
from serpline.app.services import Services
from serpline.config.run import PipelineConfig
from serpline.core.person import person
from serpline.domain.errors import ErrorCategory, UserError
from serpline.domain.names import ContentType, PhaseName, PipelineMode
from serpline.domain.states import ENDED_RUNS
from serpline.library.asked import Texts, texts
from serpline.library.keyword_import import import_keywords
from serpline.library.states import (
    Breaker,
    Budget,
    Comparison,
    Failure,
    Imported,
    Lane,
    RunName,
    Schedule,
)
from serpline.pipeline.comparison import compare, find_side
from serpline.pipeline.filters import RELATIONS, find_run
from serpline.pipeline.repeats import RunRepeatedError
from serpline.robustness import budget
from serpline.robustness.breakers import CircuitBreakerManager
from serpline.robustness.policies import policies
from serpline.scheduling.documents import specs_from_json
from serpline.store import companies
from serpline.store.results import reports
from serpline.store.runs import failures, runs

E = TypeVar("E", bound=StrEnum)

POLL_SECONDS = 0.5


class AsyncActions:
    """The actions of people, and the state that they look at."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def start(
        self,
        config: PipelineConfig | Mapping[str, object] | None = None,
        *,
        mode: str = "manual",
        content_types: Texts | None = None,
        devices: Texts | None = None,
        landscape: str | None = None,
        limit: int | None = None,
        phases: Texts | None = None,
        force_refresh: bool | None = None,
        again: bool = False,
    ) -> UUID:
        """Start a run over the project's keywords; return its id. Workers do its work.

        ``config``: the settings of a run by their names; the other arguments replace them.
        ``limit``: the first so many keyword × market pairs. ``mode``: manual, testing or scheduled.
        Raises ``UserError`` for settings that cannot be, if there are no keywords, and unless
        ``again`` if the same was started in the last ten minutes: it would be paid twice.
        """
        chosen = _choice("mode", PipelineMode, mode)
        given = config.to_json() if isinstance(config, PipelineConfig) else dict(config or {})
        lists = {"content_types": content_types, "devices": devices, "phases": phases}
        given |= {name: list(texts(name, each)) for name, each in lists.items() if each is not None}
        options = {"landscape": landscape, "keyword_limit": limit, "force_refresh": force_refresh}
        given |= {name: value for name, value in options.items() if value is not None}
        wanted = PipelineConfig.from_json(given)
        try:
            return await self._services.pipeline.start(
                wanted, chosen, by=person(), unless_repeated=not again
            )
        except RunRepeatedError as error:
            raise UserError(f"{error}: again=True starts another") from None

    async def wait(self, run: RunName) -> str:
        """Wait until a run has ended; return its status. Raises ``UserError`` without a worker."""
        found = await self._run(run)
        while True:
            async with self._services.database.transaction() as conn:
                row = await runs.get(conn, found)
                workers = await reports.workers_alive(conn)
            if row is None:
                raise UserError(f"run {found}: there is no such run")
            if row.status in ENDED_RUNS:
                return str(row.status)
            if not workers:
                raise UserError(
                    f"run {found} is {row.status} and no worker is running: start workers with"
                    " 'serpline up' or 'serpline worker'"
                )
            await self._services.clock.sleep(POLL_SECONDS)

    async def pause(self, run: RunName) -> None:
        """Pause a run. Work in progress finishes."""
        await self._services.pipeline.pause(await self._run(run), by=person())

    async def resume(self, run: RunName) -> None:
        """Continue a paused run."""
        await self._services.pipeline.resume(await self._run(run), by=person())

    async def cancel(self, run: RunName) -> None:
        """Cancel a run. ``retry`` can reopen it."""
        await self._services.pipeline.cancel(await self._run(run), by=person())

    async def retry(
        self,
        run: RunName,
        *,
        phase: str | None = None,
        content_type: str | None = None,
        item: str | None = None,
        category: str | None = None,
    ) -> list[str]:
        """Retry the failed items of an ended run: all, or those that pass the filters.

        Returns the lanes that are open again. Raises ``UserError`` if there is nothing to retry.
        """
        kind = None if content_type is None else _choice("content_type", ContentType, content_type)
        done = await self._services.pipeline.retry(
            await self._run(run),
            phase=None if phase is None else _choice("phase", PhaseName, phase),
            content_type=kind,
            item=item,
            category=None if category is None else _choice("category", ErrorCategory, category),
            by=person(),
        )
        return done.lanes

    async def failures(
        self,
        run: RunName = "latest",
        *,
        phase: str | None = None,
        content_type: str | None = None,
        category: str | None = None,
        limit: int = 1_000,
    ) -> list[Failure]:
        """Return the failed items of a run, in the order of the data flow, at most ``limit``."""
        chosen = failures.FailureFilter(
            None if phase is None else _choice("phase", PhaseName, phase),
            None if content_type is None else _choice("content_type", ContentType, content_type),
            None if category is None else _choice("category", ErrorCategory, category),
        )
        found = await self._run(run)
        async with self._services.database.transaction() as conn:
            rows = await failures.page(conn, found, chosen, limit=limit)
        return [Failure.of(row) for row in rows]

    async def lanes(self, run: RunName = "latest") -> list[Lane]:
        """Return the lanes of a run with their progress, in the order of the data flow."""
        found = await self._run(run)
        async with self._services.database.transaction() as conn:
            return [Lane.of(view) for view in await runs.lanes(conn, found)]

    async def import_keywords(
        self,
        source: str | Path | Iterable[str],
        *,
        market: Texts | None = None,
        landscape: str | None = None,
        skip_bad_lines: bool = False,
    ) -> Imported:
        """Import keywords: a file as it is (CSV, workbook, list), or an iterable of keywords.

        ``market``: of lines that name none; an iterable needs one or several. ``landscape``: a
        named set to which they are added. A bad line refuses all, unless ``skip_bad_lines``.
        """
        return await import_keywords(
            self._services.database,
            source,
            texts("market", market),
            landscape,
            skip_bad_lines=skip_bad_lines,
        )

    async def mark_company(self, company: str, relation: str | None) -> str:
        """Mark a company as ``"ours"`` or ``"competitor"``; None removes the mark.

        ``company``: a domain or any URL of it. Returns the name that figures use.
        """
        key = company_key(company)
        if relation is not None and relation not in RELATIONS:
            raise UserError(f"relation={relation!r}: must be ours, competitor or None")
        async with self._services.database.transaction() as conn:
            await companies.mark(conn, key, relation)
        return key

    async def compare(
        self,
        content_type: str,
        before: RunName | None = None,
        after: RunName = "latest",
    ) -> Comparison:
        """Compare the DSI of two runs of organic, news or video: who gained, who lost, and why.

        ``before``, ``after``: runs, or days such as ``"2026-11-30"``: the newest tracked run with
        figures by then. ``before`` None: the tracked run before. Raises ``UserError`` if nothing
        can be compared.
        """
        kind = _choice("content_type", ContentType, content_type)
        if kind is ContentType.ALL:
            raise UserError("content_type='all' cannot be compared: choose organic, news or video")
        async with self._services.database.transaction() as conn:
            then = None if before is None else await find_side(conn, str(before), kind)
            now = await find_side(conn, str(after), kind)
            found = await compare(conn, then, now, kind)
        companies = [
            {name: str(value) if isinstance(value, UUID) else value for name, value in row.items()}
            for row in found.companies
        ]
        return Comparison(pl.DataFrame(companies, infer_schema_length=None), found.moved)

    async def schedules(self) -> list[Schedule]:
        """Return the schedules by name, without deleted ones."""
        return [Schedule.of(view) for view in await self._services.schedules.listed()]

    async def add_schedule(
        self,
        name: str,
        specification: Mapping[str, object] | Sequence[Mapping[str, object]],
        *,
        reason: str | None = None,
    ) -> Schedule:
        """Store a schedule of one specification or several. Workers start its runs from now on.

        Raises ``UserError`` for a name that is taken and for keys or values that cannot be.
        """
        specs = specs_from_json(
            [dict(each) for each in specification]
            if isinstance(specification, Sequence)
            else dict(specification)
        )
        return Schedule.of(await self._services.schedules.add(name, specs, reason=reason))

    async def trigger(self, schedule: str, content_types: Texts | None = None) -> list[UUID]:
        """Start the runs of a schedule now, whether it is due or paused; return their ids."""
        chosen = texts("content_types", content_types)
        return await self._services.schedules.trigger(schedule, chosen, by=person())

    async def pause_schedule(self, schedule: str, *, reason: str | None = None) -> None:
        """Start no more runs of a schedule until it is resumed. Running runs go on."""
        await self._services.schedules.pause(schedule, reason=reason)

    async def resume_schedule(self, schedule: str) -> None:
        """Start runs of a schedule again, from the next time on."""
        await self._services.schedules.resume(schedule)

    async def breakers(self) -> list[Breaker]:
        """Return the circuit breakers that any process has used, by name."""
        manager = CircuitBreakerManager(self._services.database)
        try:
            return [
                Breaker(
                    row.name,
                    str(row.breaker.state),
                    row.breaker.failure_count,
                    row.breaker.open_until,
                )
                for row in await manager.list_all()
            ]
        finally:
            await manager.close()

    async def budgets(self) -> list[Budget]:
        """Return the budgets of the current day and month of every provider."""
        known = policies(self._services.settings)
        async with self._services.database.transaction() as conn:
            rows = await budget.usage(conn, known, self._services.clock.now())
        return [
            Budget(
                provider=row["provider"],
                scope=row["scope"],
                limit=row["limit_credits"],
                reserved=row["reserved"],
                spent=row["spent"],
                left=row["left"],
                waiting_chunks=row["waiting_chunks"],
            )
            for row in rows
        ]

    async def _run(self, given: RunName) -> UUID:
        name = str(given)
        async with self._services.database.transaction() as conn:
            if name.strip().lower() != "latest":
                return await find_run(conn, name)
            latest = await reports.latest_run(conn)
        if latest is None:
            raise UserError("there is no run yet")
        return latest


def _choice(name: str, values: type[E], given: str) -> E:
    try:
        return values(given.strip().lower())
    except ValueError:
        raise UserError(f"{name}={given!r}: must be one of {', '.join(values)}") from None
