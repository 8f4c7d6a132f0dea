"""All tables and functions; importing this package registers every one with ``metadata``."""

from serpline.store.tables import functions, guards, housekeeping, projects, queueing, results, runs
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
]
