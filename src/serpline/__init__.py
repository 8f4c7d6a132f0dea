"""serpline: competitive search intelligence on a schedule; nothing lost, nothing paid twice.

The public names, loaded when first used, so that importing the package costs nothing.
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
    "open_services": "serpline.app",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    """A public name, from the room it lives in."""
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'serpline' has no attribute {name!r}")
