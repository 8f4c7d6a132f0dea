"""The job queue: handlers, jobs with a payload, and the worker that runs them."""

from serpline.domain.names import JobPriority
from serpline.queueing.jobs import Handler, Job, JobEvent, JobOutcome
from serpline.queueing.manager import JobQueueManager

__all__ = ["Handler", "Job", "JobEvent", "JobOutcome", "JobPriority", "JobQueueManager"]
