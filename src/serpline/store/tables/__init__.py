"""All tables and functions. Importing this package registers them with ``metadata``."""

from serpline.store.tables import (
    batches,
    functions,
    guards,
    housekeeping,
    notifications,
    projects,
    provider_schedules,
    queueing,
    results,
    runs,
    schedules,
    views,
)
from serpline.store.tables.base import metadata

__all__ = [
    "batches",
    "functions",
    "guards",
    "housekeeping",
    "metadata",
    "notifications",
    "projects",
    "provider_schedules",
    "queueing",
    "results",
    "runs",
    "schedules",
    "views",
]
