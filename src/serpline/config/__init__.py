"""Configuration of runs and schedules: keys, bounds, defaults and error messages."""
