"""The table of what each phase needs, as ``doctor`` and dry runs show it."""

from collections.abc import Collection, Iterable
from typing import Any

from serpline.cli.tables import Column, show_table
from serpline.domain.names import PhaseName
from serpline.domain.phase_inputs import PHASE_INPUTS, lack_of


def phase_rows(
    available: Collection[str], phases: Iterable[PhaseName] = tuple(PhaseName)
) -> list[dict[str, Any]]:
    """Return one object per phase. ``lack``: why it has no provider and what is missing, or None.

    ``available``: the providers that are set up.
    """
    return [
        {
            "phase": phase,
            "need": PHASE_INPUTS[phase].need,
            "providers": PHASE_INPUTS[phase].sources,
            "reads": dict(PHASE_INPUTS[phase].reads),
            "without": PHASE_INPUTS[phase].without,
            "lack": lack_of(phase, available),
        }
        for phase in phases
    ]


def show_phases(rows: list[dict[str, Any]]) -> None:
    """Print the table. A phase without a provider is skipped, or searches are blocked."""
    columns: list[str | Column] = [
        Column("phase", wraps=False),
        "need",
        Column("providers", drop=1),
        "set up",
        "without it",
    ]
    cells = [
        [row["phase"], row["need"], row["providers"], _is_set_up(row), row["without"]]
        for row in rows
    ]
    show_table(columns, cells, title="What each phase needs")


def _is_set_up(row: dict[str, Any]) -> str:
    return "no" if row["lack"] else "yes"
