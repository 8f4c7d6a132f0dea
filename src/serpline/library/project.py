"""A project for asynchronous programs."""

from typing_extensions import Unpack

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
from serpline.library.actions import AsyncActions
from serpline.library.asked import Asked, read_filters
from serpline.library.tables import AsyncTable, R


class AsyncProject(AsyncActions):
    """An open project: its tables of results, and the actions of people.

    A table is read when its rows are asked for. Its filters are keywords (``Asked``): run,
    content_type, market, device, keyword, tag, landscape, company, ours, competitors, since, until.
    """

    def rankings(self, **asked: Unpack[Asked]) -> AsyncTable[Ranking]:
        """One row per result of a search page, and per search without results."""
        return self._table(Ranking, asked)

    def serps(self, **asked: Unpack[Asked]) -> AsyncTable[Serp]:
        """One row per planned search: keyword, market, device and content type."""
        return self._table(Serp, asked)

    def dsi(self, **asked: Unpack[Asked]) -> AsyncTable[Figure]:
        """The Digital Share Index of each company, with every component."""
        return self._table(Figure, asked)

    def share_of_voice(self, **asked: Unpack[Asked]) -> AsyncTable[ShareOfVoice]:
        """The share of voice of each company, by its three usual denominators."""
        return self._table(ShareOfVoice, asked)

    def keywords(self, **asked: Unpack[Asked]) -> AsyncTable[Keyword]:
        """One row per keyword and market of the project, with its newest volume."""
        return self._table(Keyword, asked)

    def companies(self, **asked: Unpack[Asked]) -> AsyncTable[Company]:
        """One row per company that is marked or has a profile."""
        return self._table(Company, asked)

    def runs(self, **asked: Unpack[Asked]) -> AsyncTable[Run]:
        """One row per run, the newest first."""
        return self._table(Run, asked)

    def slots(self, **asked: Unpack[Asked]) -> AsyncTable[Slot]:
        """One row per time of a schedule and content type, with what became of it."""
        return self._table(Slot, asked)

    def spend(self, **asked: Unpack[Asked]) -> AsyncTable[Spending]:
        """Calls to providers and their credits, by day, run, phase, content type and provider."""
        return self._table(Spending, asked)

    def _table(self, row: type[R], asked: Asked) -> AsyncTable[R]:
        return AsyncTable(self._services.database, row, read_filters(asked))
