"""All tables; importing this package registers every one with ``metadata``."""

from serpline.store.tables import guards, projects, queueing, results, runs
from serpline.store.tables.base import metadata

__all__ = ["guards", "metadata", "projects", "queueing", "results", "runs"]
