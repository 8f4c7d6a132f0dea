"""The job queue's tables: wake-ups, jobs, dead letters."""
