"""serpline: competitive search intelligence on a schedule; nothing lost, nothing paid twice.

Public names are loaded on first use, so importing the package is cheap.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "CircuitBreakerManager": "serpline.robustness.breakers",
    "Job": "serpline.queueing.jobs",
    "JobPriority": "serpline.domain.names",
    "JobQueueManager": "serpline.queueing.manager",
    "PhaseOrchestrator": "serpline.pipeline.orchestrator",
    "PipelineConfig": "serpline.config.run",
    "PipelineMode": "serpline.domain.names",
    "PipelineService": "serpline.pipeline.service",
    "RetryManager": "serpline.robustness.retry",
    "RetryStrategy": "serpline.domain.retry",
    "SchedulingService": "serpline.scheduling.service",
    "StateStatus": "serpline.domain.states",
    "StateTracker": "serpline.pipeline.state_tracker",
    "UserError": "serpline.domain.errors",
    "open_services": "serpline.app.services",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'serpline' has no attribute {name!r}")
