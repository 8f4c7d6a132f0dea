"""All tables and functions; importing this package registers every one with ``metadata``."""

from serpline.store.tables import functions, guards, projects, queueing, results, runs
from serpline.store.tables.base import metadata

__all__ = ["functions", "guards", "metadata", "projects", "queueing", "results", "runs"]
