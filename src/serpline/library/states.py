"""What the Python face returns besides rows of results."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from serpline.domain.phases import LaneView

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Lane:
    """One phase of one content type in a run, with the numbers of its items."""

    phase: str
    content_type: str
    status: str
    planned: int
    completed: int
    failed: int
    skipped: int

    @classmethod
    def of(cls, view: LaneView) -> "Lane":
        """Make it of a lane as stored."""
        return cls(
            str(view.key.phase),
            str(view.key.content_type),
            str(view.status),
            view.planned,
            view.completed,
            view.failed,
            view.skipped,
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that failed. ``keyword``: None where the item is none. ``attempts``: calls made."""

    phase: str
    content_type: str
    item: str
    keyword: str | None
    attempts: int
    category: str | None
    error: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Failure":
        """Make it of a failed item as stored."""
        return cls(
            row["phase_name"],
            row["content_type"],
            row["item"],
            row["keyword"],
            row["attempts"],
            row["error_category"],
            row["error"],
        )


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule. ``next_at``: its next time in UTC; None if it is paused or has none."""

    name: str
    status: str
    version: int
    content_types: tuple[str, ...]
    next_at: datetime | None
    pause_reason: str | None

    @classmethod
    def of(cls, view: Mapping[str, Any]) -> "Schedule":
        """Make it of a schedule as shown."""
        return cls(
            view["id"],
            view["status"],
            view["version"],
            tuple(view["content_types"]),
            None if view["next_at"] is None else datetime.fromisoformat(view["next_at"]),
            view["pause_reason"],
        )


@dataclass(frozen=True, slots=True)
class Breaker:
    """A provider's circuit breaker. ``open_until``: when calls are tried again; None: not open."""

    name: str
    state: str
    failures: int
    open_until: datetime | None


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget in the provider's own credits. ``limit`` and ``left``: None without a limit.

    ``scope``: the day or month. ``waiting_chunks``: portions of work that wait for credits.
    """

    provider: str
    scope: str
    limit: Decimal | None
    reserved: Decimal
    spent: Decimal
    left: Decimal | None
    waiting_chunks: int


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import of keywords did. ``pairs`` of keyword and market; ``new``: were not there.

    ``problems``: the first ten lines that were left out; ``problem_count`` counts all. ``notes``:
    what to check, such as an encoding that is a guess, and sheets that were not read.
    """

    pairs: int
    new: int
    duplicates: int
    problem_count: int
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs of a content type. ``companies``: each change of DSI, split over its components.

    ``keywords``: how each company moved for each keyword: new, lost, up, down or same.
    """

    companies: "pl.DataFrame"
    keywords: "pl.DataFrame"


RunName = str | UUID
"""A run's id, its first characters, or ``"latest"``."""
