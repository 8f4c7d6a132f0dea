"""What people configure: the keys of runs and schedules, their bounds, defaults and errors."""
