"""The job queue: a registry of handlers, jobs with a payload, and the worker that serves them."""

from serpline.domain.names import JobPriority
from serpline.queueing.jobs import Handler, Job, JobEvent, JobOutcome
from serpline.queueing.manager import JobQueueManager

__all__ = ["Handler", "Job", "JobEvent", "JobOutcome", "JobPriority", "JobQueueManager"]
