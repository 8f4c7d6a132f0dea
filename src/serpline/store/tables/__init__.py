"""All tables and functions. Importing this package registers them with ``metadata``."""

from serpline.store.tables import (
    functions,
    guards,
    housekeeping,
    projects,
    queueing,
    results,
    runs,
    schedules,
)
from serpline.store.tables.base import metadata

__all__ = [
    "functions",
    "guards",
    "housekeeping",
    "metadata",
    "projects",
    "queueing",
    "results",
    "runs",
    "schedules",
]
