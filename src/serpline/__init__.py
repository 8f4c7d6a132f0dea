"""serpline: competitive search intelligence on a schedule; nothing lost, nothing paid twice.

Public names are loaded on first use, so importing the package is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serpline.app.services import open_services
    from serpline.config.run import PipelineConfig
    from serpline.core.settings import SettingsError
    from serpline.domain.errors import UserError
    from serpline.domain.names import JobPriority, PipelineMode
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
    from serpline.domain.retry import RetryStrategy
    from serpline.domain.states import StateStatus
    from serpline.library.blocking import Project
    from serpline.library.opening import open, open_async  # noqa: A004
    from serpline.library.project import AsyncProject
    from serpline.library.states import (
        Breaker,
        Budget,
        Comparison,
        Failure,
        Imported,
        Lane,
        Schedule,
    )
    from serpline.library.tables import AsyncTable, Table
    from serpline.pipeline.orchestrator import PhaseOrchestrator
    from serpline.pipeline.service import PipelineService
    from serpline.pipeline.state_tracker import StateTracker
    from serpline.queueing.jobs import Job
    from serpline.queueing.manager import JobQueueManager
    from serpline.robustness.breakers import CircuitBreakerManager
    from serpline.robustness.retry import RetryManager
    from serpline.scheduling.service import SchedulingService

    __version__: str

# The same names for the interpreter as for type checkers above; a test compares them.
_MODULES = {
    "serpline.app.services": ("open_services",),
    "serpline.config.run": ("PipelineConfig",),
    "serpline.core.settings": ("SettingsError",),
    "serpline.domain.errors": ("UserError",),
    "serpline.domain.names": ("JobPriority", "PipelineMode"),
    "serpline.domain.results": (
        "Company",
        "Figure",
        "Keyword",
        "Ranking",
        "Run",
        "Serp",
        "ShareOfVoice",
        "Slot",
        "Spending",
    ),
    "serpline.domain.retry": ("RetryStrategy",),
    "serpline.domain.states": ("StateStatus",),
    "serpline.library.blocking": ("Project",),
    "serpline.library.opening": ("open", "open_async"),
    "serpline.library.project": ("AsyncProject",),
    "serpline.library.states": (
        "Breaker",
        "Budget",
        "Comparison",
        "Failure",
        "Imported",
        "Lane",
        "Schedule",
    ),
    "serpline.library.tables": ("AsyncTable", "Table"),
    "serpline.pipeline.orchestrator": ("PhaseOrchestrator",),
    "serpline.pipeline.service": ("PipelineService",),
    "serpline.pipeline.state_tracker": ("StateTracker",),
    "serpline.queueing.jobs": ("Job",),
    "serpline.queueing.manager": ("JobQueueManager",),
    "serpline.robustness.breakers": ("CircuitBreakerManager",),
    "serpline.robustness.retry": ("RetryManager",),
    "serpline.scheduling.service": ("SchedulingService",),
}

__all__ = [
    "AsyncProject",
    "AsyncTable",
    "Breaker",
    "Budget",
    "CircuitBreakerManager",
    "Company",
    "Comparison",
    "Failure",
    "Figure",
    "Imported",
    "Job",
    "JobPriority",
    "JobQueueManager",
    "Keyword",
    "Lane",
    "PhaseOrchestrator",
    "PipelineConfig",
    "PipelineMode",
    "PipelineService",
    "Project",
    "Ranking",
    "RetryManager",
    "RetryStrategy",
    "Run",
    "Schedule",
    "SchedulingService",
    "Serp",
    "SettingsError",
    "ShareOfVoice",
    "Slot",
    "Spending",
    "StateStatus",
    "StateTracker",
    "Table",
    "UserError",
    "__version__",
    "open",
    "open_async",
    "open_services",
]


def __getattr__(name: str) -> object:
    """Import a public name from its module."""
    if name == "__version__":
        from importlib.metadata import version

        return version("serpline")
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'serpline' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return every public name, whether it is loaded or not."""
    return sorted({*globals(), *__all__})
