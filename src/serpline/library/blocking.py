"""A project for programs without an event loop, and for notebooks, which have a running one."""

import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import ParamSpec, Self, TypeVar
from uuid import UUID

from anyio.from_thread import start_blocking_portal
from typing_extensions import Unpack

from serpline.app.services import open_services
from serpline.config.run import PipelineConfig
from serpline.core.settings import Settings
from serpline.domain.errors import UserError
from serpline.domain.results import (
    Company,
    Figure,
    Keyword,
    Ranking,
    Run,
    Serp,
    ShareOfVoice,
    Slot,
    Spending,
)
from serpline.library.asked import Asked, Texts
from serpline.library.project import AsyncProject
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
from serpline.library.tables import AsyncTable, R, Table

P = ParamSpec("P")
T = TypeVar("T")

POOL_SIZE = 2


class Project:
    """An open project: its tables of results, and the actions of people.

    A table is read when its rows are asked for. Its filters are keywords (``Asked``): run,
    content_type, market, device, keyword, tag, landscape, company, ours, competitors, since, until.

    Use it in a ``with`` block, or call ``close``. Otherwise it is closed when the program ends. It
    works in an event loop of its own thread, so it may be used where a loop is running.
    """

    def __init__(self, settings: Settings) -> None:
        """Prefer ``serpline.open``. Raises ``UserError`` as ``open_services`` does."""
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal(name="serpline"))
            opening = open_services(settings, pool_size=POOL_SIZE)
            services = stack.enter_context(self._portal.wrap_async_context_manager(opening))
            self._project = AsyncProject(services)
            # Also at the end of the program, in which the thread would not end by itself.
            self._close = weakref.finalize(self, stack.pop_all().close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread. A second call does nothing."""
        self._close()

    def rankings(self, **asked: Unpack[Asked]) -> Table[Ranking]:
        """One row per result of a search page, and per search without results."""
        return self._table(self._project.rankings(**asked))

    def serps(self, **asked: Unpack[Asked]) -> Table[Serp]:
        """One row per planned search: keyword, market, device and content type."""
        return self._table(self._project.serps(**asked))

    def dsi(self, **asked: Unpack[Asked]) -> Table[Figure]:
        """The Digital Share Index of each company, with every component."""
        return self._table(self._project.dsi(**asked))

    def share_of_voice(self, **asked: Unpack[Asked]) -> Table[ShareOfVoice]:
        """The share of voice of each company, by its three usual denominators."""
        return self._table(self._project.share_of_voice(**asked))

    def keywords(self, **asked: Unpack[Asked]) -> Table[Keyword]:
        """One row per keyword and market of the project, with its newest volume."""
        return self._table(self._project.keywords(**asked))

    def companies(self, **asked: Unpack[Asked]) -> Table[Company]:
        """One row per company that is marked or has a profile."""
        return self._table(self._project.companies(**asked))

    def runs(self, **asked: Unpack[Asked]) -> Table[Run]:
        """One row per run, the newest first."""
        return self._table(self._project.runs(**asked))

    def slots(self, **asked: Unpack[Asked]) -> Table[Slot]:
        """One row per time of a schedule and content type, with what became of it."""
        return self._table(self._project.slots(**asked))

    def spend(self, **asked: Unpack[Asked]) -> Table[Spending]:
        """Calls to providers and their credits, by day, run, phase, content type and provider."""
        return self._table(self._project.spend(**asked))

    def start(
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
        return self._call(
            self._project.start,
            config,
            mode=mode,
            content_types=content_types,
            devices=devices,
            landscape=landscape,
            limit=limit,
            phases=phases,
            force_refresh=force_refresh,
            again=again,
        )

    def wait(self, run: RunName) -> str:
        """Wait until a run has ended; return its status. Raises ``UserError`` without a worker."""
        return self._call(self._project.wait, run)

    def pause(self, run: RunName) -> None:
        """Pause a run. Work in progress finishes."""
        self._call(self._project.pause, run)

    def resume(self, run: RunName) -> None:
        """Continue a paused run."""
        self._call(self._project.resume, run)

    def cancel(self, run: RunName) -> None:
        """Cancel a run. ``retry`` can reopen it."""
        self._call(self._project.cancel, run)

    def retry(
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
        return self._call(
            self._project.retry,
            run,
            phase=phase,
            content_type=content_type,
            item=item,
            category=category,
        )

    def failures(
        self,
        run: RunName = "latest",
        *,
        phase: str | None = None,
        content_type: str | None = None,
        category: str | None = None,
        limit: int = 1_000,
    ) -> list[Failure]:
        """Return the failed items of a run, in the order of the data flow, at most ``limit``."""
        return self._call(
            self._project.failures,
            run,
            phase=phase,
            content_type=content_type,
            category=category,
            limit=limit,
        )

    def lanes(self, run: RunName = "latest") -> list[Lane]:
        """Return the lanes of a run with their progress, in the order of the data flow."""
        return self._call(self._project.lanes, run)

    def import_keywords(
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
        return self._call(
            self._project.import_keywords,
            source,
            market=market,
            landscape=landscape,
            skip_bad_lines=skip_bad_lines,
        )

    def mark_company(self, company: str, relation: str | None) -> str:
        """Mark a company as ``"ours"`` or ``"competitor"``; None removes the mark.

        ``company``: a domain or any URL of it. Returns the name that figures use.
        """
        return self._call(self._project.mark_company, company, relation)

    def compare(
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
        return self._call(self._project.compare, content_type, before, after)

    def schedules(self) -> list[Schedule]:
        """Return the schedules by name, without deleted ones."""
        return self._call(self._project.schedules)

    def add_schedule(
        self,
        name: str,
        specification: Mapping[str, object] | Sequence[Mapping[str, object]],
        *,
        reason: str | None = None,
    ) -> Schedule:
        """Store a schedule of one specification or several. Workers start its runs from now on.

        Raises ``UserError`` for a name that is taken and for keys or values that cannot be.
        """
        return self._call(self._project.add_schedule, name, specification, reason=reason)

    def trigger(self, schedule: str, content_types: Texts | None = None) -> list[UUID]:
        """Start the runs of a schedule now, whether it is due or paused; return their ids."""
        return self._call(self._project.trigger, schedule, content_types)

    def pause_schedule(self, schedule: str, *, reason: str | None = None) -> None:
        """Start no more runs of a schedule until it is resumed. Running runs go on."""
        self._call(self._project.pause_schedule, schedule, reason=reason)

    def resume_schedule(self, schedule: str) -> None:
        """Start runs of a schedule again, from the next time on."""
        self._call(self._project.resume_schedule, schedule)

    def breakers(self) -> list[Breaker]:
        """Return the circuit breakers that any process has used, by name."""
        return self._call(self._project.breakers)

    def budgets(self) -> list[Budget]:
        """Return the budgets of the current day and month of every provider."""
        return self._call(self._project.budgets)

    def _table(self, table: AsyncTable[R]) -> Table[R]:
        return Table(self, table)

    def _call(self, work: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work in the project's thread. Ctrl-C cancels it."""
        if not self._close.alive:
            raise UserError("the project is closed: open it again")
        future: Future[T] = self._portal.start_task_soon(partial(work, *args, **kwargs))
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise
