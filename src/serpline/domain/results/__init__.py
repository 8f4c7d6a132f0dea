"""The tables of results as people and programs read them: one frozen class per view.

The view of a class is in the schema ``serpline_v1``. Its comments, the data dictionary, exports and
Python types come from the class: docstring, fields, descriptions, units.
"""

from serpline.domain.results.columns import Column, Row, columns_of
from serpline.domain.results.figures import Figure, ShareOfVoice
from serpline.domain.results.operation import Run, Slot, Spending
from serpline.domain.results.project import Company, Keyword
from serpline.domain.results.searches import Ranking, Serp

ROWS: tuple[type[Row], ...] = (
    Ranking,
    Serp,
    Figure,
    ShareOfVoice,
    Keyword,
    Company,
    Run,
    Slot,
    Spending,
)
"""The classes in the order of the data dictionary."""

__all__ = [
    "ROWS",
    "Column",
    "Company",
    "Figure",
    "Keyword",
    "Ranking",
    "Row",
    "Run",
    "Serp",
    "ShareOfVoice",
    "Slot",
    "Spending",
    "columns_of",
]
